"""Sorted singular values of every layer against the band of layerwise dynamical isometry."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.7, data=(images, labels)).apply(net)
models = {"dense": net, "pruned": pruned, "repaired": jp.isometrize(pruned, objective="spread", max_steps=200).model}
results = {name: jp.spectra(model, images[:100]) for name, model in models.items()}
figure = jp.plot_scree(results, segments=["fc1", "fc4", "fc7", "end_to_end"])
figure.savefig("plot_scree.png", dpi=120)
