"""What a value shows of itself: one glance, no tensors; in a notebook a small table, names escaped."""

import pytest
import torch
from oracles import seeded_normal
from torch import nn

import jacprobe as jp

EVIL = "<script>fc</script>"
INPUTS = seeded_normal(4, 6)


def network():
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module(EVIL, nn.Linear(6, 5))
    net.add_module("act", nn.Tanh())
    net.add_module("last", nn.Linear(5, 3))
    return net


def found(method="auto"):
    return jp.spectra(network(), INPUTS, kind="layers", method=method, num_probes=4)


def masks():
    return jp.prune(network(), "magnitude", sparsity=0.4)


VALUES = {
    "spectra": (found, "SpectrumSet of 2 segments"),
    "spectrum": (lambda: found()[EVIL], f"Spectrum({EVIL}, layer, 5x6: 4 inputs, mean 0."),
    "estimate": (lambda: found("moments")[EVIL], f"Spectrum({EVIL}, layer, 5x6: 4 inputs, mean square 0."),
    "density": (lambda: found("density")[EVIL].density, "Density of 5 values x 4 inputs: mean 0."),
    "moments": (lambda: found("moments")[EVIL].moments, "Moments of 4 inputs: mean square 0."),
    "masks": (masks, "Masks(2 parameters, 27 of 45 kept, sparsity 0.4)"),
    "report": (lambda: jp.mask_report(network(), masks(), input_shape=(6,)),
               "MaskReport of 2 parameters\n27 of 45 weights kept"),
    "control": (lambda: jp.controls(network(), masks(), only=["random"])["random"], "Control(Sequential, Masks(2 "),
    "rewound": (lambda: jp.prune_iteratively(network(), lambda net: net, sparsity=0.4, num_rounds=2),
                "Rewound(Sequential, 2 rounds, Masks(2 parameters"),
    "data": (lambda: jp.load_data("digits", num=9), "Data(9 x 1 x 8 x 8 float32, labels of"),
    "repair": (lambda: jp.isometrize(masks().apply(network()), method="rescale"), "Repair of 2 layers: orthogonality"),
    "law": (lambda: jp.theory.product_law([jp.theory.LayerLaw(9, 9)]), "SpectralLaw on [0, 2]: mean 0.8488, std"),
    "layer law": (lambda: jp.theory.LayerLaw(9, 9, slope=jp.theory.activation("tanh").slope_law(1.0)),
                  "LayerLaw(out_dim=9, in_dim=9, weight='gaussian', sigma_w2=1.0, slope=SlopeLaw of"),
    "critical point": (lambda: jp.theory.critical_point("tanh", q=0.5), "CriticalPoint(sigma_w2=1.68797"),
    "monitor": (lambda: jp.Monitor(network(), INPUTS), "Monitor of Sequential: mean, std, max, mean_square"),
    "training run": (lambda: jp.train(network(), (INPUTS, torch.arange(4) % 3), training=jp.Training(
        iterations=3, batch_size=2)), "TrainingRun(Sequential, 3 iterations, no test data, "),
}
WITHOUT_TABLE = {"density", "moments", "control", "data", "law", "layer law", "critical point"}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_fits_one_glance(name):
    make, beginning = VALUES[name]
    value = make()
    text = repr(value)
    assert text.startswith(beginning) and "tensor(" not in text and len(text) < 1200
    if name not in WITHOUT_TABLE:
        page = value._repr_html_()
        assert "<table" in page and "<script>" not in page and "tensor(" not in page
        assert "&lt;script&gt;" in page or name in ("rewound", "training run")
