"""How much of a signal is left from input to output, the sparser the network, for three ways of pruning?"""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
levels = [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95]
results = {method: {} for method in ("snip", "magnitude", "random")}
for method in results:
    for level in levels:
        masks = jp.prune(net, method, sparsity=level, data=(images, labels) if method == "snip" else None, seed=1)
        results[method][level] = jp.spectra(masks.apply(net), images[:50])
figure = jp.plot_sparsity(results, statistics=["mean", "cond"])
figure.savefig("plot_sparsity.png", dpi=120)
