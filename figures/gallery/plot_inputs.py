"""On which inputs does a layer stretch signals most unevenly? The worst input is named."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
result = jp.spectra(net, images[:100])
figure = jp.plot_inputs(result, segments=["fc2", "fc4", "fc6", "end_to_end"])
figure.savefig("plot_inputs.png", dpi=120)
