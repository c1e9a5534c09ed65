"""How are the values of some layers distributed, and is that what theory expects? Zeros have a bar of their own."""

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.build("mlp-5-relu", input_shape=(1, 8, 8), num_classes=10, width=300)
net = jp.initialize(net, "critical", seed=0)
laws = jp.theory.spectrum(net, inputs=images[:50])
result = jp.spectra(net, images[:50])
figure = jp.plot_spectrum(result, theory=laws, segments=["fc1", "fc2", "fc4", "end_to_end"])
figure.savefig("plot_spectrum.png", dpi=120)
