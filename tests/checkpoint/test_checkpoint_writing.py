"""jacprobe checkpoints as written."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.checkpoint import read_checkpoint
from jacprobe.errors import ArgumentError, DtypeError, OutputError

MASKS = jp.Masks({"fc1.weight": torch.eye(3, 4).bool(), "fc3.weight": torch.zeros(2, 3).bool()})


@pytest.fixture
def mlp():
    return jp.build("mlp-3-tanh", input_shape=(1, 2, 2), num_classes=2, width=3, seed=1)


def test_a_file_holds_plain_data_only(mlp, tmp_path):
    path = jp.save_model(MASKS.apply(mlp), str(tmp_path / "model.pt"), provenance={"method": "snip", "steps": [1, 2]})
    payload = torch.load(path, weights_only=True)
    assert (payload["format"], payload["version"], payload["input_shape"]) == ("jacprobe", 1, [1, 2, 2])
    assert payload["model"] == mlp.jacprobe_spec
    assert list(payload["state_dict"]) == list(mlp.state_dict())
    assert torch.equal(payload["state_dict"]["fc1.weight"], mlp.fc1.weight * torch.eye(3, 4))
    assert torch.equal(payload["masks"]["fc1.weight"], torch.eye(3, 4).bool())
    assert payload["provenance"] == {
        "jacprobe": jp.__version__, "torch": str(torch.__version__), "method": "snip", "steps": [1, 2]
    }


def test_saving_and_loading_gives_the_same_pruned_model(mlp, tmp_path):
    pruned = MASKS.apply(mlp)
    path = jp.save_model(pruned, tmp_path / "model.pt", input_shape=(1, 4, 1))
    checkpoint, loaded = read_checkpoint(path), jp.load_model(path)
    assert (checkpoint.format, checkpoint.masks, checkpoint.input_shape) == ("jacprobe checkpoint", MASKS, (1, 4, 1))
    assert checkpoint.spec == mlp.jacprobe_spec
    assert jp.Masks.of(loaded) == MASKS
    inputs = torch.randn(5, 1, 2, 2)
    assert torch.equal(loaded(inputs), pruned(inputs))
    assert {name for name, tensor in loaded.named_parameters()} == {name for name, _ in pruned.named_parameters()}


def test_a_model_pruned_by_torch_is_saved_with_its_masks(mlp, tmp_path):
    prune.custom_from_mask(mlp.fc1, "weight", MASKS["fc1.weight"])
    path = jp.save_model(mlp, tmp_path / "model.pt")
    assert read_checkpoint(path).masks == jp.Masks({"fc1.weight": MASKS["fc1.weight"]})


def test_the_same_model_gives_the_same_bytes_under_any_name(mlp, tmp_path):
    one, other = jp.save_model(mlp, tmp_path / "a.pt"), jp.save_model(mlp, tmp_path / "b.pt")
    assert one.read_bytes() == other.read_bytes()


def test_saving_leaves_the_model_alone(mlp, tmp_path):
    before = {name: tensor.clone() for name, tensor in mlp.state_dict().items()}
    jp.save_model(mlp, tmp_path / "model.pt")
    assert mlp.training
    assert all(torch.equal(mlp.state_dict()[name], tensor) for name, tensor in before.items())


def test_an_existing_file_is_kept_unless_overwriting(mlp, tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("mine")
    with pytest.raises(OutputError, match="must not exist yet"):
        jp.save_model(mlp, path)
    assert path.read_text() == "mine"
    jp.save_model(mlp, path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
    assert read_checkpoint(path).format == "jacprobe checkpoint"


def test_what_cannot_be_saved_is_one_line_and_writes_nothing(mlp, tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got OrderedDict"):
        jp.save_model(mlp.state_dict(), path)
    with pytest.raises(ArgumentError, match=r"must be one of jacprobe's networks; got Linear.*torch.save.*`model`"):
        jp.save_model(nn.Linear(2, 2), path)
    with pytest.raises(ArgumentError, match=r"`provenance` must hold what JSON can hold; .*Tensor"):
        jp.save_model(mlp, path, provenance={"a": torch.ones(1)})
    mlp.fc3 = nn.Linear(3, 5)
    with pytest.raises(ArgumentError, match=r"must still be 'mlp-3-tanh'; shapes differ: 'fc3.weight' is \(5, 3\)"):
        jp.save_model(mlp, path)
    assert not path.exists()
