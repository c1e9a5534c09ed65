"""All layers on axes of your own: `draw_layers`, `draw_ridges`, `draw_quantiles`, `draw_depth` in one figure."""

from matplotlib.figure import Figure

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.9, data=(images, labels)).apply(net)
result = jp.spectra(pruned, images[:50])
figure = Figure(figsize=(9, 7), layout="constrained")
(a, b), (c, d) = figure.subplots(2, 2)
jp.draw_layers(result, ax=a)
jp.draw_ridges(result, ax=b)
jp.draw_quantiles(result, ax=c)
jp.draw_depth(result, ax=d)
figure.savefig("draw_all_layers.png", dpi=120)
