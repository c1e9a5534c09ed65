"""Which weights does pruning take? Connection sensitivity of every layer, and the masks at two sparsities."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
scores = jp.scores(net, "snip", data=(images, labels))
masks = {f"{level:.0%}": jp.prune(net, "snip", sparsity=level, data=(images, labels)) for level in (0.5, 0.9)}
figure = jp.plot_sensitivity(scores, masks)
figure.savefig("plot_sensitivity.png", dpi=120)
