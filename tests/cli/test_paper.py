"""``jacprobe figure`` and ``jacprobe table``: what they print, write and refuse."""

import json

import pytest

QUICK = ("figure", "1", "--quick", "--set", "data=digits", "--backend", "serial")


def test_a_figure_is_computed_once_written_whole_and_kept(run, tmp_path):
    outcome = run(*QUICK, "--output", "out")
    assert outcome.status == 0, outcome.err
    title, heads, *_, verdict, where = outcome.out.splitlines()
    assert title.startswith("Figure 1: what connection sensitivity removes")
    assert heads.split() == ["entry", "measured", "runs", "published", "tolerance", "verdict"]
    assert verdict.startswith("Figure 1: 50 not comparable; ") and "claims hold" in verdict
    names = {f"figure-1-quick{suffix}" for suffix in (".pdf", ".png", ".md", ".csv", ".parquet")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"results"}
    assert where == "Wrote " + ", ".join(f"out/figure-1-quick{suffix}" for suffix in
                                         (".pdf", ".png", ".md", ".csv", ".parquet")) + "."
    kept = (tmp_path / "out/figure-1-quick.csv").read_bytes()

    refused = run(*QUICK, "--output", "out")
    assert refused.status == 1 and "must not exist yet" in refused.err and len(refused.err.splitlines()) == 1
    again = run(*QUICK, "--output", "out", "--overwrite", "--json")
    assert again.status == 0
    document = json.loads(again.out)
    assert (document["settings"]["computed"], document["settings"]["found"]) == (0, 12)
    assert len(document["entries"]) == 50 and {row["verdict"] for row in document["entries"]} == {"not comparable"}
    assert (tmp_path / "out/figure-1-quick.csv").read_bytes() == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("figure", "9"), "`NAME` must be one of 1, 2a, 2b, 3, 4, 5, 6, 7, 8, beyond; got '9'."),
        (("table", "7"), "`NAME` must be one of 1, 2, 3, 4, 5, 6; got '7'."),
        (("figure", "1", "--runs", "0"), "`--runs` must be a whole number from 1 on; got 0. Pass 1 for a first look."),
        (("figure", "1", "--set", "repair_step=3"), "`--set` must be one of"),
        (("table", "3", "--no-training"), "`--training` must be on for table 3"),
        ((*QUICK, "--data-root", "."), None),
        (("figure", "1", "--data-root", "."), "`--data-root` must hold mnist; '.' has no train-images-idx3-ubyte[.gz]"),
        ((*QUICK[:-1], "desk"), "`--backend` must be one of serial, processes, dask, ray; got 'desk'"),
        ((*QUICK[:-2], "--jobs", "0"), "`--jobs` must be a number of processes; got 0"),
        ((*QUICK, "--address", "127.0.0.1:9"), "`--address` must come with a cluster; got '127.0.0.1:9'"),
        ((*QUICK[:-1], "dask", "--address", "127.0.0.1:9"), "`--address` must lead to a Dask scheduler"),
    ],
    ids=["a figure", "a table", "no runs", "a setting", "nothing left", "digits need no files", "no data", "a backend",
         "no jobs", "an address", "no cluster"],
)
def test_what_cannot_be_computed_is_refused_in_one_line(run, tmp_path, arguments, message):
    outcome = run(*arguments, "--output", "out")
    if message is None:
        assert outcome.status == 0
        return
    assert (outcome.status, outcome.out) == (1, "")
    assert message in outcome.err and len(outcome.err.splitlines()) == 1
    assert not list((tmp_path).glob("out/figure*"))


def test_results_of_another_version_or_device_are_not_mixed(run, tmp_path):
    folder = tmp_path / "out/results"
    for name in ("cells", "failed", "scratch"):
        (folder / name).mkdir(parents=True)
    facts = {"format": 1, "jacprobe": "0.0.1", "facts": {"device": "cpu"}, "identity": "a"}
    (folder / "store.json").write_text(json.dumps(facts))
    outcome = run(*QUICK, "--output", "out")
    assert outcome.status == 1 and "has jacprobe version '0.0.1', not '" in outcome.err
    (folder / "store.json").write_text(json.dumps({**facts, "jacprobe": __import__("jacprobe").__version__,
                                                   "facts": {"device": "cuda"}}))
    outcome = run(*QUICK, "--output", "out")
    assert outcome.status == 1 and "has device 'cuda', not 'cpu'" in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_look_at_results_makes_no_folder(run, tmp_path):
    outcome = run(*QUICK, "--output", "nowhere", "--only-found")
    assert outcome.status == 1 and "nowhere" in outcome.err and len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_device_that_is_not_here_is_one_line(run):
    outcome = run(*QUICK, "--output", "out", "--device", "tpu")
    assert (outcome.status, outcome.out) == (1, "")
    assert "`--device` must be one of cpu" in outcome.err and len(outcome.err.splitlines()) == 1


def test_what_fails_is_said_at_the_end_and_the_rest_is_written(run, monkeypatch, tmp_path):
    import jacprobe.experiments.paper.reproduction as reproduction

    def measure(cell, scratch, **options):
        if cell.settings["network"] == "mlp-7-tanh" and cell.measure == "patterns":
            raise ValueError("no luck.")
        return real(cell, scratch, **options)

    real = reproduction.measure_cell
    monkeypatch.setattr(reproduction, "measure_cell", measure)
    outcome = run(*QUICK, "--output", "out")
    assert outcome.status == 1 and outcome.err.splitlines()[-1] == "jacprobe: 5 failures; ValueError: no luck."
    assert "25 not comparable; 25 not measured; " in outcome.out and "5 failures" in outcome.out
    assert "## Failures" in (tmp_path / "out/figure-1-quick.md").read_text()
