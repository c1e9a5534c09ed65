"""Recurrent networks and attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unitgraph import random_masks

from jacprobe.masks import Masks
from jacprobe.pruning.effective import effective_masks


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.place = nn.Parameter(torch.randn(5, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.fc(self.layer(self.embed(tokens) + self.place).mean(1))


def test_a_transformer_on_tokens_is_followed():
    net, tokens = Attention(), torch.tensor([[1, 2, 3, 4, 5]])
    dense = random_masks(net, 2.0, kinds=("weight", "in_proj_weight"))
    assert effective_masks(net, dense, tokens) == dense
    cut = Masks({**dense, "layer.linear2.weight": torch.zeros(8, 16, dtype=torch.bool)})
    effective = effective_masks(net, cut, tokens)
    assert not effective["layer.linear1.weight"].any()
    assert effective["layer.self_attn.in_proj_weight"].all()


# against derivatives: of an odd net without biases a weight is on a path where it changes the derivative by the input


def changing_a_derivative(model, masks, inputs):
    """Return the kept entries that the derivative of the output by the input depends on, at random weights."""
    model = model.double()
    weights = dict(model.named_parameters())
    found = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, mask in masks.items():
                weights[name].copy_(torch.randn(mask.shape, generator=generator) * mask)
        point = torch.randn(inputs.shape, generator=generator).double().requires_grad_()
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):  # whose kernels have no second derivative
            output = model(point)
        (first,) = torch.autograd.grad(output.sum(), point, create_graph=True)
        number = (first * torch.randn(first.shape, generator=generator)).sum()
        gradients = torch.autograd.grad(number, [weights[name] for name in masks])
        for (name, mask), gradient in zip(masks.items(), gradients, strict=True):
            found[name] |= mask & (gradient.abs() > 1e-12)
    return Masks(found)


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.layer = kind(3, 4, batch_first=True, bias=False, **options)
        self.fc = nn.Linear(8 if options.get("bidirectional") else 4, 2, bias=False)

    def forward(self, inputs):
        return self.fc(self.layer(inputs)[0][:, 1])  # with later steps that nothing reads but a backward layer


@pytest.mark.parametrize(
    ("kind", "options"),
    [(nn.RNN, {"num_layers": 2, "bidirectional": True}), (nn.LSTM, {"bidirectional": True}), (nn.GRU, {})],
    ids=["two layers both ways", "LSTM both ways", "GRU"])
def test_recurrent_layers_are_followed_step_by_step(kind, options):
    net, inputs = Recurrent(kind, **options), torch.ones(1, 3, 3)
    for seed in range(2):
        masks = random_masks(net, 0.35, seed, kinds=[name for name, _ in net.layer.named_parameters()] + ["weight"])
        expected = changing_a_derivative(Recurrent(kind, **options), masks, inputs)
        found = effective_masks(net, masks, inputs)
        assert expected <= found <= masks  # a gate counts even where the state behind it is zero by its own weights
        if kind is nn.RNN:
            assert found == expected < masks


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_hidden_unit_that_is_never_read_takes_its_weights_along(kind):
    net = Recurrent(kind)
    dense = random_masks(net, 2.0, kinds=("weight_ih_l0", "weight_hh_l0", "weight"))
    hidden, last = dense["layer.weight_hh_l0"].clone(), dense["fc.weight"].clone()
    hidden[:, 3], last[:, 3] = False, False
    expected = {"layer.weight_ih_l0": dense["layer.weight_ih_l0"].clone(), "layer.weight_hh_l0": hidden.clone()}
    for rows in expected.values():
        rows[3::4] = False  # those of unit 3 in each gate
    found = effective_masks(net, Masks({**dense, "layer.weight_hh_l0": hidden, "fc.weight": last}), torch.ones(1, 4, 3))
    assert found == Masks({**expected, "fc.weight": last})


SHUT = torch.ones(5, 5, dtype=torch.bool).triu(1)
CAUSAL = {
    "causal attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "a bool mask": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=~SHUT),
    "filled scores": lambda q, k, v: (q @ k.mT / 2).masked_fill(SHUT, -torch.inf).softmax(-1) @ v,
    "chosen scores": lambda q, k, v: torch.where(SHUT, torch.tensor(-torch.inf).to(q), q @ k.mT).softmax(-1) @ v,
    "shifted scores": lambda q, k, v: (q @ k.mT - 1e9 * SHUT.to(q)).softmax(-1) @ v,
    "added mask": lambda q, k, v: (torch.full((5, 5), -1e9).triu(1).to(q) + q @ k.mT).softmax(-1) @ v,
    "exponentials": lambda q, k, v: F.normalize((q @ k.mT).masked_fill(SHUT, -torch.inf).exp(), p=1, dim=-1) @ v,
    "linear attention": lambda q, k, v: (q @ k.mT).tril() @ v,
    "masked products": lambda q, k, v: (q @ k.mT * ~SHUT) @ v,
}


class Reader(nn.Module):
    """Attention over five places, of which the first ones are read."""

    def __init__(self, attend, place=1):
        super().__init__()
        self.attend, self.place = attend, place
        self.places, self.query, self.key, self.value, self.fc = (
            nn.Linear(*size, bias=False) for size in ((3, 20), (4, 4), (4, 4), (4, 4), (4, 1)))

    def forward(self, inputs):
        places = torch.tanh(self.places(inputs)).reshape(-1, 5, 4)
        attended = self.attend(self.query(places), self.key(places), self.value(places))
        return self.fc(attended[:, self.place])


@pytest.mark.parametrize("attend", CAUSAL.values(), ids=CAUSAL)
def test_a_causal_mask_hides_what_comes_later(attend):
    net, inputs = Reader(attend), torch.ones(1, 3)
    masks = random_masks(net, 0.7, seed=1)
    expected = changing_a_derivative(Reader(attend), masks, inputs)
    assert not expected["places.weight"][8:].any()
    assert effective_masks(net, masks, inputs) == expected


def test_the_one_place_that_attention_may_see_needs_no_scores():
    net = Reader(CAUSAL["filled scores"], place=0)
    found = effective_masks(net, random_masks(net, 2.0), torch.ones(1, 3))
    assert not (found["query.weight"].any() or found["key.weight"].any())
    assert found["value.weight"].all()


@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_with_a_causal_mask_hides_what_comes_later(need_weights):
    attention = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    net = Reader(lambda q, k, v: attention(q, k, v, attn_mask=mask, need_weights=need_weights)[0])
    net.attention = attention
    found = effective_masks(net, random_masks(net, 2.0), torch.ones(1, 3))["places.weight"]
    assert found[:8].all()
    assert not found[8:].any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_on_a_gpu_have_the_same_paths(kind):
    net, inputs = Recurrent(kind, num_layers=2), torch.ones(1, 4, 3)
    masks = random_masks(net, 0.35, kinds=[name for name, _ in net.layer.named_parameters()] + ["weight"])
    assert effective_masks(net.cuda(), masks, inputs.cuda()) == effective_masks(net.cpu(), masks, inputs)
