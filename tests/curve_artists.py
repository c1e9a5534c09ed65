"""What the artists of curves and points show: for the tests of statistics."""


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found.get_xydata().tolist()


def marks(ax, label):
    return [offset.tolist() for c in ax.collections if c.get_label() == label for offset in c.get_offsets().data]
