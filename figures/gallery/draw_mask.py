"""Which weights of a layer are left? One mask, a row per output; black is removed."""

from matplotlib.figure import Figure

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
figure = Figure(figsize=(7, 3.2), layout="constrained")
for ax, level in zip(figure.subplots(1, 3), (0.5, 0.9, 0.98), strict=True):
    masks = jp.prune(net, "snip", sparsity=level, data=(images, labels))
    jp.draw_mask(masks["fc1.weight"], ax=ax).set_title(f"fc1, {level:.0%} removed")
figure.savefig("draw_mask.png", dpi=120)
