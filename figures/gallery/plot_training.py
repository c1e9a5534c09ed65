"""What an isometric start is worth: loss and accuracy of a pruned network in training, as it is and repaired."""

import pandas as pd
import torch

import jacprobe as jp

images, labels = jp.load_data("digits")
net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
pruned = jp.prune(net, "snip", sparsity=0.7, data=(images, labels)).apply(net)
repaired = jp.isometrize(pruned, objective="spread", max_steps=200).model
rows = []
for name, model in {"pruned": pruned, "repaired": repaired}.items():
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(100):
        outputs = model(images)
        loss = torch.nn.functional.cross_entropy(outputs, labels)
        accuracy = (outputs.argmax(1) == labels).float().mean()
        rows.append({"step": step, "loss": loss.item(), "accuracy": accuracy.item(), "start": name})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
figure = jp.plot_training(pd.DataFrame(rows), y=["loss", "accuracy"], hue="start")
figure.savefig("plot_training.png", dpi=120)
