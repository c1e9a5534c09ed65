"""All layers of a deep network at a glance: a column per layer, white where signals keep their length."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.build("resnet-56", input_shape=(1, 8, 8), num_classes=10, seed=0)
result = jp.spectra(net, images[:2])
figure = jp.plot_quantiles(result, title="ResNet-56")
figure.savefig("plot_quantiles.png", dpi=120)
