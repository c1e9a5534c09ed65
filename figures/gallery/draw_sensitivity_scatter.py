"""Scores as points in a strip per layer, on axes of your own: the last layer holds the most sensitive connections."""

from matplotlib.figure import Figure

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "vs-l", seed=0)
scores = jp.scores(net, "snip", data=(images, labels))
figure = Figure(figsize=(7, 3.2), layout="constrained")
jp.draw_sensitivity_scatter(scores, ax=figure.subplots())
figure.savefig("draw_sensitivity_scatter.png", dpi=120)
