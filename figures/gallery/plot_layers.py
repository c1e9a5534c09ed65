"""How does each layer stretch signals, before and after pruning? Violins of the singular values, layer by layer."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.9, data=(images, labels)).apply(net)
results = {"dense": jp.spectra(net, images[:100]), "pruned": jp.spectra(pruned, images[:100])}
figure = jp.plot_layers(results, title="tanh MLP-7")
figure.savefig("plot_layers.png", dpi=120)
