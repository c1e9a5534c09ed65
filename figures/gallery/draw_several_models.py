"""Several models on axes of your own: `draw_comparison`, `draw_sparsity`, `draw_correlation` and `draw_training`."""

import pandas as pd
import torch
from matplotlib.figure import Figure

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-5-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
spectra, losses = {}, []
for level in (0.0, 0.5, 0.8, 0.9):
    model = jp.prune(net, "snip", sparsity=level, data=(images, labels)).apply(net)
    spectra[level] = jp.spectra(model, images[:50])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(60):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        losses.append({"step": step, "loss": loss.item(), "removed": f"{level:.0%}"})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
figure = Figure(figsize=(10, 7), layout="constrained")
(a, b), (c, d) = figure.subplots(2, 2)
named = {f"{level:.0%}": result for level, result in spectra.items()}
jp.draw_comparison({name: named[name] for name in ("0%", "90%")}, ax=a)
jp.draw_sparsity(spectra, ax=b)
jp.draw_correlation(named, x="mean", y="ldi", ax=c, names=False)
jp.draw_training(pd.DataFrame(losses), hue="removed", ax=d).legend()
figure.savefig("draw_several_models.png", dpi=120)
