import json

import pytest
import torch
from torch import nn

import jacprobe as jp

quiet = pytest.mark.filterwarnings("ignore::jacprobe.errors.JacprobeWarning")


@pytest.fixture
def pruned_file(tmp_path):
    path = tmp_path / "pruned.pt"
    net = jp.initialize(jp.build("mlp-3-relu", input_shape=(1, 4, 4), width=20), "orthogonal", seed=0)
    pruned = jp.prune(net, "random", sparsity=0.4, seed=0).apply(net)
    jp.save_model(pruned, path, provenance={"initialiser": "orthogonal"})
    return path


def refused(outcome, *words: str, status: int = 1) -> None:
    assert outcome.status == status
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("jacprobe: ")
    for word in words:
        assert word in outcome.err


def same(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize(
    ("options", "arguments"),
    {
        "default": ([], {}),
        "control": (["--method", "equilibrate"], {"method": "equilibrate"}),
        "critical": (["--method", "criticality"], {"method": "criticality"}),
        "critical, given": (["--method", "criticality", "--gain", "1"], {"method": "criticality", "gain": 1.0}),
        "paper": (["--method", "paper-sgd", "--max-steps", "20", "--rate", "0.05"],
                  {"method": "paper-sgd", "max_steps": 20, "rate": 0.05}),
        "spread": (["--objective", "spread", "--strength", "0.3"], {"objective": "spread", "strength": 0.3}),
        "theory": (["--gain", "theory", "--tolerance", "1e-3"], {"gain": "theory", "tolerance": 1e-3}),
        "number": (["--gain", "1.5", "--device", "cpu"], {"gain": 1.5}),
    }.values(),
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@quiet
def test_the_written_model_is_that_of_python(run, pruned_file, options, arguments):
    outcome = run("isometrize", pruned_file, *options, "--output", "repaired.pt")
    assert outcome.status == 0, outcome.err
    expected = jp.isometrize(jp.load_model(pruned_file), **arguments).model
    assert same(expected, jp.load_model("repaired.pt"))


@quiet
def test_provenance_says_how(run, pruned_file):
    run("isometrize", pruned_file, "--gain", "theory", "--output", "repaired.pt")
    facts = jp.read_checkpoint("repaired.pt").provenance
    assert facts["initialiser"] == "orthogonal"
    assert facts["isometry"] == {"method": "polar-cg", "objective": "gram", "gain": "theory"}


@quiet
def test_provenance_has_the_gain_that_is_used_and_all_that_is_given(run, pruned_file):
    run("isometrize", pruned_file, "--method", "criticality", "--output", "repaired.pt")
    facts = jp.read_checkpoint("repaired.pt").provenance["isometry"]
    assert facts == {"method": "criticality", "objective": "gram", "gain": "theory"}
    run("isometrize", pruned_file, "--method", "paper-sgd", "--max-steps", "9", "--rate", "0.2", "--output", "r.pt")
    facts = jp.read_checkpoint("r.pt").provenance["isometry"]
    assert facts == {"method": "paper-sgd", "objective": "gram", "gain": 1.0, "max_steps": 9, "rate": 0.2}


@quiet
def test_the_table_has_a_line_per_layer_and_the_score_follows(run, pruned_file):
    outcome = run("isometrize", pruned_file, "--output", "repaired.pt")
    result = jp.isometrize(jp.load_model(pruned_file))
    lines = outcome.out.splitlines()
    assert lines[0] == "pruned.pt: polar-cg"
    for row in result.rows:
        (line,) = [line for line in lines if line.split()[:1] == [row["layer"]]]
        assert row["shape"] in line and f"{row['score_before']:.3g}" in line and row["reason"] in line
    assert lines[-2] == (f"Orthogonality score {result.score_before:.4g}, after {result.score_after:.4g}: the mean over"
                         " the layers.")
    assert lines[-1] == "Wrote repaired.pt."


def test_concentration_is_told_on_stderr(run, tmp_path):
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 4, 4), width=30), "orthogonal", seed=0)
    jp.save_model(jp.prune(net, "random", sparsity=0.8, seed=0).apply(net), "sparse.pt")
    outcome = run("isometrize", "sparse.pt", "--output", "repaired.pt")
    assert outcome.status == 0
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("sparse.pt: ")]
    assert "collapsed towards signed permutations" in line


@quiet
def test_json_is_exactly_one_document(run, pruned_file):
    outcome = run("isometrize", pruned_file, "--output", "repaired.pt", "--json")
    document = json.loads(outcome.out)
    result = jp.isometrize(jp.load_model(pruned_file))
    assert [row["layer"] for row in document["layers"]] == [row["layer"] for row in result.rows]
    assert document["totals"] == pytest.approx({"score_before": result.score_before, "score_after": result.score_after})
    assert document["model"]["output"] == "repaired.pt" and document["warnings"] == list(result.warnings)
    assert document["provenance"]["isometry"]["method"] == "polar-cg"


@quiet
def test_a_pickled_module_stays_one(run):
    net = jp.initialize(nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10)), "vs-l", seed=0)
    torch.save(net, "module.pt")
    run("prune", "module.pt", "--method", "random", "--sparsity", 0.5, "--output", "pruned.pt")
    outcome = run("isometrize", "pruned.pt", "--output", "repaired.pt")
    assert outcome.status == 0, outcome.err
    loaded = torch.load("repaired.pt", weights_only=False)
    loaded(torch.zeros(1, 64))
    assert jp.orthogonality_score(loaded) < 1e-3  # of at most 1e-4 sqrt(12) above its floor a layer is done


# refusals


@quiet
def test_nothing_is_replaced_unless_told(run, pruned_file, tmp_path):
    arguments = ("isometrize", pruned_file, "--method", "rescale", "--output", "repaired.pt")
    assert run(*arguments).status == 0
    before = (tmp_path / "repaired.pt").read_bytes()
    refused(run(*arguments), "must not exist yet")
    assert (tmp_path / "repaired.pt").read_bytes() == before
    assert run(*arguments, "--overwrite").status == 0


@pytest.mark.parametrize(
    ("options", "words"),
    {
        "method": (["--method", "sgd"], "`--method` must be one of polar-cg, paper-sgd"),
        "objective": (["--objective", "grm"], "`--objective` must be one of gram, nearest"),
        "gain": (["--gain", "-1"], "`--gain` must be positive and finite; got -1.0"),
        "strength": (["--strength", "0"], "`--strength` must be positive and finite; got 0.0"),
        "tolerance": (["--tolerance", "nan"], "`--tolerance` must be positive and finite; got nan"),
        "steps": (["--max-steps", "0"], "`--max-steps` must be at least 1; got 0"),
        "rate": (["--rate", "0.2"], "`--rate` must be left out but for 'paper-sgd'; got 0.2"),
        "device": (["--device", "cuba"], "`--device` must be"),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_library_refuses_is_one_line_and_nothing_is_written(run, pruned_file, tmp_path, options, words):
    refused(run("isometrize", pruned_file, *options, "--output", "repaired.pt"), words)
    assert [path.name for path in tmp_path.iterdir()] == ["pruned.pt"]


def test_an_empty_layer_is_refused(run, pruned_file):
    net = jp.load_model(pruned_file)
    masks = jp.Masks({"fc2.weight": torch.zeros(20, 20, dtype=torch.bool)})
    jp.save_model(masks.apply(net), "empty.pt")
    refused(run("isometrize", "empty.pt", "--output", "repaired.pt"), "'fc2.weight' keeps none of 400")


def test_misuse_has_status_2(run, pruned_file):
    refused(run("isometrize", pruned_file), "--output", status=2)
    refused(run("isometrize", pruned_file, "--gain", "much", "--output", "r.pt"), "--gain must be a number or theory",
            status=2)
