"""Names and numbers as a figure writes them: literally, and short."""

from __future__ import annotations

_MAX_NAME = 22


def layer_name(name: str) -> str:
    """Return a name with the word that bare numbers lack, which the layers of ``nn.Sequential`` have for names.

    Examples
    --------
    >>> layer_name("2.0"), layer_name("fc2")
    ('layer 2.0', 'fc2')
    """
    return f"layer {name}" if name.replace(".", "").isdigit() else name


def elide(name: str) -> str:
    """Return `name` with its middle left out where it is long: the end tells layers apart.

    Examples
    --------
    >>> elide("stage1.0.conv1"), elide("encoder.layers.10.self_attn.out_proj")
    ('stage1.0.conv1', 'encode…attn.out_proj')
    """
    return name if len(name) <= _MAX_NAME else f"{name[:6]}…{name[6 - _MAX_NAME + 3:]}"


def short_name(name: str) -> str:
    """Return the name of a layer for that of its weight; other parameters keep theirs.

    Examples
    --------
    >>> short_name("fc1.weight"), short_name("fc1.bias"), short_name("weight")
    ('fc1', 'fc1.bias', 'weight')
    """
    return name.removesuffix(".weight")


def plain_number(value: float, _position: int = 0, form: str = "g") -> str:
    """Return a number as briefly as an axis wants it, by a `form` of Python's.

    Examples
    --------
    >>> [plain_number(value) for value in (0.5, 2.5e-4, 1e-5, 2e10)]
    ['0.5', '2.5e-4', '1e-5', '2e10']
    """
    if form == "g" and 0 < abs(value) < 1e-3:  # all small numbers on an axis are of one kind
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:{form}}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def percent(share: float) -> str:
    """Return a share in [0, 1] as a whole number of percent; 0 and 100 only where exact.

    Examples
    --------
    >>> [percent(share) for share in (0, 0.001, 0.504, 0.999, 1)]
    ['0', '<1', '50', '>99', '100']
    """
    if 0 < share < 0.005:
        return "<1"
    return ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"


def legend_text(name: object) -> str:
    """Return `name` as a legend shows it literally: no formula, and not hidden by a leading underscore.

    Examples
    --------
    >>> legend_text("_a$b$")
    ' _a\\\\$b\\\\$'
    """
    text = str(name)
    return (f" {text}" if text.startswith("_") else text).replace("$", r"\$")
