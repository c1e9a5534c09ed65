"""Histograms of the scores of each layer, and of what a mask keeps of them, on axes of your own."""

from matplotlib.figure import Figure

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
scores = jp.scores(net, "snip", data=(images, labels))
masks = jp.prune(net, "snip", sparsity=0.9, data=(images, labels))
figure = Figure(figsize=(7, 4), layout="constrained")
jp.draw_sensitivity(scores, masks=masks, ax=figure.subplots())
figure.savefig("draw_sensitivity.png", dpi=120)
