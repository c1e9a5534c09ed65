import json

import pytest
import torch
from torch import nn

import jacprobe as jp


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.pt"
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), "orthogonal", seed=0)
    jp.save_model(net, path, provenance={"initialiser": "orthogonal"})
    return path


def refused(outcome, *words: str, status: int = 1) -> None:
    assert outcome.status == status
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("jacprobe: ")
    for word in words:
        assert word in outcome.err


def masks_in(path):
    return jp.Masks.of(jp.load_model(path))


# what it writes


def test_the_written_masks_are_those_of_python(run, model_file):
    outcome = run("prune", model_file, "--sparsity", 0.9, "--data", "digits", "--output", "pruned.pt")
    assert outcome.status == 0, outcome.err
    net = jp.load_model(model_file)
    expected = jp.prune(net, "snip", sparsity=0.9, data=jp.load_data("digits"))
    assert masks_in("pruned.pt") == expected
    pruned = jp.load_model("pruned.pt")
    jp.assert_masked(pruned)
    for name, mask in expected.items():
        assert torch.equal(pruned.get_submodule(name.removesuffix(".weight")).weight[mask],
                           net.get_parameter(name)[mask])


@pytest.mark.parametrize(
    ("options", "arguments"),
    {
        "magnitude by layers": (["--method", "magnitude", "--allocation", "erk"], {"allocation": "erk"}),
        "the paper's set": (["--method", "magnitude", "--prunable", "paper"], {"prunable": "paper"}),
        "named": (["--method", "magnitude", "--prunable", "fc1.weight", "--prunable", "fc3*"],
                  {"prunable": ["fc1.weight", "fc3*"]}),
        "protected": (["--method", "magnitude", "--protect", "fc1", "--protect", "fc3"],
                      {"protected": ["fc1", "fc3"]}),
        "kept": (["--method", "magnitude", "--min-kept", "300"], {"min_kept": 300}),
        "random": (["--method", "random", "--seed", "3", "--device", "cpu"], {"method": "random", "seed": 3}),
        "rounds": (["--method", "synflow", "--num-rounds", "4", "--schedule", "linear"],
                   {"method": "synflow", "num_rounds": 4, "schedule": "linear"}),
        "revival": (["--data", "digits", "--num-inputs", "50", "--num-rounds", "3", "--schedule", "exponential",
                     "--revival"], {"method": "snip", "data": 50, "num_rounds": 3, "schedule": "exponential",
                                    "revival": True}),
        "unlabelled": (["--data", "random", "--num-inputs", "20", "--loss", "uniform", "--batch-norm", "eval",
                        "--argument", "accumulate=absolute", "--argument", "temperature=2"],
                       {"method": "snip", "data": 20, "loss": "uniform", "batch_norm": "eval",
                        "accumulate": "absolute", "temperature": 2}),
    }.values(),
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_reach_python(run, model_file, options, arguments):
    outcome = run("prune", model_file, "--sparsity", 0.7, *options, "--output", "pruned.pt")
    assert outcome.status == 0, outcome.err
    chosen = {"method": "magnitude", **arguments}
    if "data" in chosen:
        name = "random" if "loss" in chosen else "digits"
        data = jp.load_data(name, num=chosen["data"], input_shape=(1, 8, 8))
        chosen["data"] = data.images if name == "random" else data
    assert masks_in("pruned.pt") == jp.prune(jp.load_model(model_file), chosen.pop("method"), sparsity=0.7, **chosen)


def test_provenance_is_kept_and_added_to(run, model_file):
    run("prune", model_file, "--sparsity", 0.5, "--data", "digits", "--output", "pruned.pt")
    facts = jp.read_checkpoint("pruned.pt").provenance
    assert facts["initialiser"] == "orthogonal"
    assert facts["pruning"]["method"] == "snip"
    assert facts["pruning"]["sparsity"] == 0.5
    assert facts["pruning"]["data"] == "1437 inputs from digits (train)"


def test_masks_can_be_saved_applied_and_give_their_counts(run, model_file):
    run("prune", model_file, "--sparsity", 0.8, "--data", "digits", "--output", "pruned.pt", "--save-masks",
        "masks.safetensors")
    saved = jp.read_masks("masks.safetensors")
    assert saved == masks_in("pruned.pt")
    assert saved.provenance["method"] == "snip"
    assert run("prune", model_file, "--masks", "masks.safetensors", "--output", "again.pt").status == 0
    assert masks_in("again.pt") == saved
    outcome = run("prune", model_file, "--method", "random", "--sparsity", 0.8, "--allocation", "masks.safetensors",
                  "--output", "random.pt")
    assert outcome.status == 0
    assert masks_in("random.pt").layer_sparsity() == saved.layer_sparsity()
    assert masks_in("random.pt") != saved


def test_a_pruned_model_can_be_pruned_further(run, model_file):
    for before, after, sparsity in ((model_file, "half.pt", 0.5), ("half.pt", "tenth.pt", 0.9)):
        run("prune", before, "--method", "magnitude", "--sparsity", sparsity, "--output", after)
    assert masks_in("tenth.pt") < masks_in("half.pt")
    assert masks_in("tenth.pt").num_kept == 1740


def test_a_state_dict_stays_one_and_is_probed_with_its_masks(run, model_file, tmp_path):
    torch.save(jp.load_model(model_file).state_dict(), "weights.pt")
    (tmp_path / "mynets.py").write_text(
        "import jacprobe as jp\ndef small():\n    net = jp.build('mlp-3-tanh', input_shape=(1, 8, 8))\n"
        "    del net.jacprobe_spec\n    return net\n")
    for output in ("pruned.pt", "pruned.safetensors"):
        outcome = run("prune", "weights.pt", "--model", "mynets:small", "--method", "magnitude", "--sparsity", 0.5,
                      "--output", output)
        assert outcome.status == 0, outcome.err
        found = jp.read_checkpoint(output).masks
        assert found == jp.prune(jp.load_model(model_file), "magnitude", sparsity=0.5)
        assert run("spectrum", output, "--model", "mynets:small", "--input-shape", "1,8,8").status == 0


def test_a_pickled_module_stays_one_and_is_probed_with_its_masks(run):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))
    torch.save(net, "module.pt")
    outcome = run("prune", "module.pt", "--data", "digits", "--sparsity", 0.75, "--prunable", "paper", "--output",
                  "pruned.pt")
    assert outcome.status == 0, outcome.err
    assert masks_in("pruned.pt") == jp.prune(net, "snip", sparsity=0.75, data=jp.load_data("digits"), prunable="paper")
    assert run("spectrum", "pruned.pt", "--data", "digits", "--num-inputs", 2).status == 0
    loaded = torch.load("pruned.pt", weights_only=False)
    assert isinstance(loaded, nn.Sequential)
    assert int((loaded[1].weight != 0).sum()) == int(masks_in("pruned.pt")["1.weight"].sum())


# what it prints


def test_the_table_counts_every_parameter_and_the_totals_follow(run, model_file):
    outcome = run("prune", model_file, "--sparsity", 0.9, "--data", "digits", "--output", "pruned.pt")
    masks = masks_in("pruned.pt")
    lines = outcome.out.splitlines()
    assert lines[0] == "model.pt: snip on 1437 inputs from digits (train)"
    for name, mask in masks.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        kept, total = int(mask.sum()), mask.numel()
        shape = "x".join(map(str, mask.shape))
        assert line.split()[1:7] == [shape, str(kept), "of", str(total), f"{100 * kept / total:.2f}", "%"]
    assert any(line.startswith("1740 of 17400 weights kept, sparsity 0.9; ") for line in lines)
    assert lines[-1] == "Wrote pruned.pt."


def test_each_flag_is_one_warning_line(run, model_file):
    outcome = run("prune", model_file, "--sparsity", 1, "--method", "magnitude", "--output", "pruned.pt")
    report = jp.mask_report(jp.load_model("pruned.pt"), input_shape=(1, 8, 8))
    warnings = [line for line in outcome.out.splitlines() if line.startswith("Warning: ")]
    assert warnings == [f"Warning: {flag}." for flag in report.flags]
    assert any("disconnected" in line for line in warnings)


def test_counts_are_shown_where_paths_are_not_known(run):
    torch.save(nn.Sequential(nn.Linear(6, 4)), "module.pt")
    outcome = run("prune", "module.pt", "--method", "magnitude", "--sparsity", 0.5, "--output", "pruned.pt")
    assert outcome.status == 0
    assert "12 of 24 weights kept, sparsity 0.5\n" in outcome.out
    assert outcome.err == "module.pt: no paths, ranks and flags; they need --input-shape or --data.\n"


def test_json_is_exactly_one_document(run, model_file):
    outcome = run("prune", model_file, "--sparsity", 0.9, "--data", "digits", "--output", "pruned.pt", "--json")
    document = json.loads(outcome.out)
    masks = masks_in("pruned.pt")
    assert document["totals"]["num_kept"] == 1740
    assert document["totals"]["digest"] == masks.digest
    assert {row["parameter"]: row["kept"] for row in document["parameters"]} == {
        name: int(mask.sum()) for name, mask in masks.items()}
    assert document["model"]["output"] == "pruned.pt"
    assert document["provenance"]["data"] == "1437 inputs from digits (train)"
    assert isinstance(document["flags"], list)


# refusals


def test_nothing_is_replaced_unless_told(run, model_file, tmp_path):
    arguments = ("prune", model_file, "--sparsity", 0.5, "--method", "magnitude", "--output", "pruned.pt")
    assert run(*arguments).status == 0
    before = (tmp_path / "pruned.pt").read_bytes()
    refused(run(*arguments), "must not exist yet")
    assert (tmp_path / "pruned.pt").read_bytes() == before
    assert run(*arguments, "--overwrite").status == 0
    assert (tmp_path / "pruned.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    {
        "no data": (["--sparsity", "0.5"], "`--data` must be given for 'snip'"),
        "no labels": (["--sparsity", "0.5", "--data", "random"], "`--data` must give (inputs, labels)"),
        "sparsity": (["--sparsity", "2", "--data", "digits"], "`--sparsity` must lie in [0, 1]; got 2.0"),
        "method": (["--sparsity", "0.5", "--method", "snap"], "Did you mean 'snip'?"),
        "loss": (["--sparsity", "0.5", "--data", "digits", "--loss", "hinge"], "`--loss` must be one of labels"),
        "argument": (["--sparsity", "0.5", "--method", "magnitude", "--argument", "a=1"], "`--argument` must be those"),
        "allocation": (["--sparsity", "0.5", "--method", "random", "--allocation", "x"], "`--allocation` must be one"),
        "schedule": (["--sparsity", "0.5", "--method", "random", "--schedule", "x"], "`--schedule` must be one of"),
        "batch norm": (["--sparsity", "0.5", "--method", "random", "--batch-norm", "x"], "`--batch-norm` must be one"),
        "protect": (["--sparsity", "0.5", "--method", "random", "--protect", "fc9"], "`--protect` must be one of"),
        "prunable": (["--sparsity", "0.5", "--method", "random", "--prunable", "fc9*"], "`--prunable` must be one of"),
        "device": (["--sparsity", "0.5", "--method", "random", "--device", "tpu"], "`--device` must be one of cpu"),
        "masks": (["--masks", "none.npz"], "`none.npz` must be"),
        "mask quotas": (["--sparsity", "0.5", "--method", "random", "--allocation", "no.npz"], "`no.npz` must be"),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_library_refuses_is_one_line_and_nothing_is_written(run, model_file, tmp_path, options, words):
    refused(run("prune", model_file, *options, "--output", "pruned.pt", "--save-masks", "masks.npz"), words)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize(
    ("options", "words"),
    {
        "neither": ([], "either --sparsity or --masks must be given; got neither"),
        "both": (["--sparsity", "0.5", "--masks", "m.npz"], "either --sparsity or --masks must be given; got both"),
        "argument": (["--sparsity", "0.5", "--argument", "temperature"], "--argument must be NAME=VALUE; got 'tempera"),
        "shape": (["--sparsity", "0.5", "--input-shape", "a"], "--input-shape must be numbers such as 1,28,28"),
        "mask suffix": (["--sparsity", "0.5", "--save-masks", "m.pt"], "--save-masks must end in .safetensors, .npz"),
        "one file": (["--sparsity", "0.5", "--save-masks", "out.npz"], "--save-masks must differ from --output"),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_misuse_has_status_2(run, model_file, options, words):
    refused(run("prune", model_file, *options, "--output", "out.npz"), words, status=2)


def test_output_is_needed(run, model_file):
    refused(run("prune", model_file, "--sparsity", 0.5), "--output", status=2)


def test_masks_that_do_not_fit_are_refused(run, model_file):
    jp.write_masks(jp.Masks({"fc9.weight": torch.ones(2, 2, dtype=torch.bool)}), "masks.npz")
    refused(run("prune", model_file, "--masks", "masks.npz", "--output", "pruned.pt"), "fc9.weight")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_scored_on_a_gpu_is_written_for_any_machine(run, model_file):
    outcome = run("prune", model_file, "--sparsity", 0.9, "--data", "digits", "--device", "cuda", "--output",
                  "pruned.pt")
    assert outcome.status == 0, outcome.err
    expected = jp.prune(jp.load_model(model_file), "snip", sparsity=0.9, data=jp.load_data("digits"))
    assert masks_in("pruned.pt").overlap(expected)["overlap"].min() > 0.99
