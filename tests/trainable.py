"""Small classifiers and labelled samples, and training as anyone would write it: the oracle of ``jacprobe.train``."""

import torch
from torch import nn

from jacprobe.masks import Masks
from jacprobe.training.data import Order


def make_samples(num=60, shape=(1, 6, 6), seed=0, dtype=torch.float32, num_classes=3):
    """Images whose class is where they are bright, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % num_classes
    images = torch.randn(num, *shape, generator=generator, dtype=torch.float64)
    images[torch.arange(num), ..., 0] += 2.0 * labels.view(-1, *[1] * (len(shape) - 1))
    return images.to(dtype), labels


def make_mlp(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    return net.to(dtype)


def make_convnet(seed=0, dtype=torch.float32, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(),
                         nn.Linear(64, 3)).to(dtype)


def some_masks(net, seed=0, names=None, share=0.5):
    """Random masks of all weights of linear and convolutional layers, and their biases."""
    generator = torch.Generator().manual_seed(seed)
    layers = {name: module for name, module in net.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    wanted = names or [f"{name}.{kind}" for name in layers for kind in ("weight", "bias")]
    shapes = {name: tensor.shape for name, tensor in net.named_parameters()}
    return Masks({name: torch.rand(shapes[name], generator=generator) < share for name in wanted})


def eager_losses(net, samples, training, *, penalised):
    """Train `net` in place, masks and all, by ``torch.optim.SGD`` and a schedule; return the loss of every batch.

    `penalised` are the parameters in the penalty; weight decay is twice its factor.
    """
    inputs, labels = samples
    chosen = [parameter for parameter in net.parameters() if parameter.requires_grad]
    ids = {id(parameter) for parameter in penalised}
    groups = [{"params": [p for p in chosen if id(p) in ids], "weight_decay": 2 * training.l2},
              {"params": [p for p in chosen if id(p) not in ids], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.SGD(groups, lr=training.rate, momentum=training.momentum, foreach=False)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, training.drop_every or 10**9, 1 / training.drop_factor)
    order = Order(len(inputs), training.batch_size, training.order_seed)
    net.train()
    losses = []
    for iteration in range(1, training.iterations + 1):
        chosen = order.batch(iteration)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses
