"""How do statistics of the layers change with depth?"""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.7, data=(images, labels)).apply(net)
models = {"dense": net, "pruned": pruned, "repaired": jp.isometrize(pruned, objective="spread", max_steps=200).model}
results = {name: jp.spectra(model, images[:100]) for name, model in models.items()}
figure = jp.plot_depth(results, statistics=["mean", "ldi"])
figure.savefig("plot_depth.png", dpi=120)
