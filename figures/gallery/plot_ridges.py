"""The same values as ridges, for networks with many layers; the bars at the right are structural zeros."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.9, data=(images, labels)).apply(net)
results = {"dense": jp.spectra(net, images[:100]), "pruned": jp.spectra(pruned, images[:100])}
figure = jp.plot_ridges(results)
figure.savefig("plot_ridges.png", dpi=120)
