"""Which share of the singular values is at most x? Exactly, and estimated by random probes with a certified band."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("lenet-300-100", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
results = {"exact": jp.spectra(net, images[:20]),
           "estimated": jp.spectra(net, images[:20], method="density", num_probes=8)}
figure = jp.plot_ecdf(results)
figure.savefig("plot_ecdf.png", dpi=120)
