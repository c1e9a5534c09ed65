"""One layer on axes of your own: `draw_spectrum`, `draw_scree`, `draw_ecdf` and `draw_inputs` in one figure."""

from matplotlib.figure import Figure

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.9, data=(images, labels)).apply(net)
layers = {"dense": jp.spectra(net, images[:50])["fc3"], "pruned": jp.spectra(pruned, images[:50])["fc3"]}
figure = Figure(figsize=(8, 6), layout="constrained")
(a, b), (c, d) = figure.subplots(2, 2)
jp.draw_spectrum(layers, ax=a).legend()
jp.draw_scree(layers, ax=b)
jp.draw_ecdf(layers, ax=c)
jp.draw_inputs(layers["dense"], ax=d)
figure.savefig("draw_one_layer.png", dpi=120)
