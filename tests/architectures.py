"""Networks of every wiring that the probe must see through, small enough for the slow oracle."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm

from jacprobe.models import build


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.fc(self.fc(x).tanh()).tanh())


class Functional(nn.Module):
    """Activations and pooling as functions, a view before the last layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3), nn.Linear(8, 4)

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        x = functional.max_pool2d(functional.elu(self.conv2(x)), 2)
        return functional.log_softmax(self.fc(x.view(len(x), -1)), dim=1)


class PreNormBlock(nn.Module):
    def __init__(self, dim=4):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 2, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(dim, 8), nn.Linear(8, dim)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Residual(nn.Module):
    """In-place sums and ReLUs, as in torchvision."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.fc2(self.relu(self.fc1(x)))
        y += x
        return self.out(self.relu(y))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(5, 6), nn.Tanh())
        self.left, self.right, self.out = nn.Linear(3, 4), nn.Linear(3, 2), nn.Linear(6, 3)

    def forward(self, x):
        left, right = self.stem(x).chunk(2, 1)
        return self.out(torch.cat([self.left(left), self.right(right).sin()], 1))


class AwkwardNames(nn.Module):
    """Modules called as the sites are."""

    def __init__(self):
        super().__init__()
        self.input, self.model, self.output = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.block = nn.ModuleDict({"input": nn.Linear(4, 4)})
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = self.input(x).tanh() + x
        x = self.model(x).tanh() + x
        x = self.block["input"](x).tanh() + x
        return self.last(self.output(x).tanh() + x)


class MixedPrecision(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(self.a(x).double().tanh().to(x.dtype))


class Upsampling(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 2, 3, stride=2, padding=1)

    def forward(self, x):
        return self.up(x, output_size=[6, 6]).tanh()


def _mlp(*activations):
    layers = []
    for activation in activations:
        layers += [nn.Linear(5, 5), activation]
    return nn.Sequential(*layers, nn.Linear(5, 3))


def _pruned():
    net = _mlp(nn.Tanh(), nn.Tanh())
    prune.l1_unstructured(net[0], "weight", 0.5)
    prune.ln_structured(net[2], "weight", 0.4, n=2, dim=0)
    return net


def _parametrized():
    net = _mlp(nn.Tanh(), nn.ReLU())
    parametrizations.weight_norm(net[0])
    parametrizations.orthogonal(net[2])
    parametrizations.spectral_norm(net[4])
    return net


# name: (factory, shape of one sample, chooser of the output)
ARCHITECTURES = {
    "mlp": (lambda: _mlp(nn.Tanh(), nn.ReLU(), nn.Sigmoid()), (5,), None),
    "mlp of other activations": (lambda: _mlp(nn.GELU(), nn.PReLU(), nn.ELU(), nn.LeakyReLU(0.1)), (5,), None),
    "in-place relu": (lambda: _mlp(nn.ReLU(inplace=True), nn.ELU(inplace=True)), (5,), None),
    "softmax and layer norm": (lambda: _mlp(nn.Softmax(1), nn.LayerNorm(5)), (5,), None),
    "batch norm": (lambda: _mlp(nn.BatchNorm1d(5), nn.Sequential(nn.BatchNorm1d(5), nn.ReLU())), (5,), None),
    "dropout": (lambda: _mlp(nn.Dropout(), nn.Tanh()), (5,), None),
    "one linear layer": (lambda: nn.Linear(4, 3), (4,), None),
    "one number in and out": (lambda: nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1)), (1,), None),
    "wide output": (lambda: nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 12), nn.Softmax(1)), (3,), None),
    "tokens then flat": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(20, 6), nn.Tanh()),
                         (5, 3), None),
    "tokens": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (5, 3), None),
    "reused": (Reused, (5,), None),
    "functional": (Functional, (1, 6, 6), None),
    "residual": (Residual, (6,), None),
    "branches": (Branches, (5,), None),
    "awkward names": (AwkwardNames, (4,), None),
    "mixed precision": (MixedPrecision, (4,), None),
    "attention block": (PreNormBlock, (3, 4), None),
    "transformer encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), (3, 4), None),
    "lstm": (lambda: nn.LSTM(3, 4, batch_first=True), (5, 3), lambda out: out[0][:, -1]),
    "dilated, grouped, circular": (lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.Tanh(), nn.Conv2d(4, 4, 3, groups=2, stride=2), nn.ReLU(),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular")), (2, 5, 5), None),
    "transposed convolutions": (lambda: nn.Sequential(
        nn.ConvTranspose2d(2, 2, 2, stride=2), nn.GELU(), nn.ConvTranspose2d(2, 1, 3, groups=1)), (2, 2, 2), None),
    "upsampling to a size": (Upsampling, (1, 3, 3), None),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.AdaptiveAvgPool1d(2)), (2, 6), None),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.Tanh(), nn.MaxPool3d(2)), (1, 3, 3, 3), None),
    "pool tail": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3),
                                        nn.Unflatten(1, (3, 1)), nn.AvgPool1d(1)), (1, 6, 6), None),
    "pruned by torch": (_pruned, (5,), None),
    "parametrized": (_parametrized, (5,), None),
    "old spectral norm": (lambda: nn.Sequential(spectral_norm(nn.Linear(4, 4)), nn.Tanh()), (4,), None),
    "lenet-5": (lambda: build("lenet-5", input_shape=(1, 6, 6)), (1, 6, 6), None),
    "resnet-20": (lambda: build("resnet-20", input_shape=(1, 4, 4), block_size=1), (1, 4, 4), None),
    "wrn-16-1": (lambda: build("wrn-16-1", input_shape=(1, 4, 4)), (1, 4, 4), None),
    "vgg16-bn": (lambda: build("vgg16-bn", input_shape=(1, 8, 8), width=2), (1, 8, 8), None),
    "mlp-7-tanh": (lambda: build("mlp-7-tanh", input_shape=(1, 5, 5), width=12), (1, 5, 5), None),
}
