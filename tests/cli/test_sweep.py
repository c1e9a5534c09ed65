"""``jacprobe sweep``: its grid, its answers, its failures."""

import json

import pytest

import jacprobe as jp

GIVEN = ("sweep", "--output", "out", "--network", "mlp-3-tanh", "--data", "digits", "--method", "snip", "--set",
         "num_images=10", "--backend", "serial")
TWO = ("--sparsity", "0.5", "--sparsity", "0.9")


def test_the_plan_tells_the_cells_and_does_nothing(run, tmp_path):
    outcome = run(*GIVEN, *TWO, "--seeds", "5", "--plan")
    assert outcome.status == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == "10 cells, 0 of them in out already:"
    assert lines[1] == ("    measure spectra, network mlp-3-tanh, data digits, init orthogonal, method snip, "
                        "sparsity 0.5, seed 0, num_images 10")
    assert lines[-1] == "    and 5 more"
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_shows_what_differs_between_its_rows(run):
    outcome = run(*GIVEN, *TWO)
    assert outcome.status == 0, outcome.err
    title, heads, *rows, done, where = outcome.out.splitlines()
    assert title == "spectra of 2 cells" and heads.split()[:2] == ["sparsity", "mean"]
    assert [row.split()[0] for row in rows] == ["0.5", "0.9"]
    assert done.startswith("2 cells: 2 measured in ") and done.endswith(" 0 there already, 0 failed.")
    assert where == "2 rows in out; in Python: jp.read_sweep('out')."
    assert len(jp.read_sweep("out")) == 2


def test_a_second_run_measures_nothing_and_the_plan_knows(run):
    run(*GIVEN, *TWO)
    assert "2 cells: 0 measured" in run(*GIVEN, *TWO).out
    assert run(*GIVEN, *TWO, "--sparsity", "0.7", "--plan").out.startswith("3 cells, 2 of them in out already:")


def test_json_is_one_document(run):
    document = json.loads(run(*GIVEN, *TWO, "--json").out)
    assert (document["num_cells"], document["done"], document["failed"], document["failures"]) == (2, 2, 0, [])
    assert [row["sparsity"] for row in document["rows"]] == [0.5, 0.9]
    plan = json.loads(run(*GIVEN, *TWO, "--plan", "--json").out)
    assert (plan["num_cells"], plan["done"], len(plan["cells"])) == (2, 2, 2)


def test_none_stands_for_a_dense_network_without_repair(run):
    out = run("sweep", "--output", "out", "--method", "none", "--repair", "none", "--plan").out
    assert out.startswith("1 cells") and "method None" in out


def test_every_option_of_the_grid_reaches_the_cells(run):
    out = run("sweep", "--output", "out", "--network", "mlp-7-relu", "--init", "vs-h", "--method", "snip", "--loss",
              "uniform", "--sparsity", "0.9", "--repair", "polar-cg", "--data", "digits", "--measure", "training",
              "--set", "rate=0.1", "--set", "rate=0.01", "--set", "seed=7", "--plan", "--json").out
    settings = {"measure": "training", "network": "mlp-7-relu", "data": "digits", "init": "vs-h", "method": "snip",
                "score_loss": "uniform", "sparsity": 0.9, "repair": "polar-cg", "seed": 7}
    assert json.loads(out)["cells"] == [{**settings, "rate": 0.1}, {**settings, "rate": 0.01}]


def test_failed_cells_are_counted_and_named_in_one_line(run, monkeypatch):
    def measure(cell, scratch, **_):
        raise ValueError("no luck")

    monkeypatch.setattr("jacprobe.experiments.gridsweep.measure_cell", measure)
    outcome = run(*GIVEN, *TWO)
    assert outcome.status == 1 and "0 measured" in outcome.out
    assert outcome.err.splitlines()[-1] == (
        "jacprobe: 2 of 2 cells failed; ValueError: no luck. Run the same command again to try them again.")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--measure", "spectrum"), 1, "`--measure` must be one of spectra"),
        (("--network", "mlp-9-tanh"), 1, "`--network` must be one of"),
        (("--method", "none", "--sparsity", "0.9"), 1, "`--method` must be given with `--sparsity`"),
        (("--set", "rate"), 2, "--set must be NAME=VALUE; got 'rate'"),
        (("--set", "speed=3"), 1, "got 'speed'"),
        (("--backend", "desk"), 1, "`--backend` must be one of serial, processes, dask, ray; got 'desk'"),
        (("--seeds", "2", "--set", "seed=3"), 1, "`--seeds` must be left out with the setting seed"),
    ],
    ids=["a measure", "a network", "a sparsity of no method", "half a setting", "an unknown setting", "a backend",
         "two kinds of seeds"],
)
def test_what_cannot_be_swept_is_refused_in_one_line(run, arguments, status, message):
    outcome = run("sweep", "--output", "out", *arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert message in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_setting_that_does_not_go_with_another_is_refused_in_the_words_of_the_options(run, tmp_path):
    outcome = run(*GIVEN[:-6], "--method", "random", "--loss", "uniform", "--sparsity", "0.5", "--backend", "serial")
    assert (outcome.status, outcome.out) == (1, "")
    assert "`--loss` must be left out with `--method` 'random'; got 'uniform'" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_cell_that_fails_is_said_at_the_end(run):
    outcome = run("sweep", "--output", "out", "--network", "mlp-3-tanh", "--data", "digits", "--method", "random",
                  "--measure", "patterns", "--set", "layers=fc9", "--backend", "serial")
    assert outcome.status == 1 and "1 failed" in outcome.out
    assert outcome.err.splitlines()[-1].startswith("jacprobe: 1 of 1 cells failed; UnknownNameError: `layers` must be")


def test_the_output_is_needed(run):
    assert run("sweep").status == 2
