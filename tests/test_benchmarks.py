"""The scripts of ``tests/benchmarks`` run, in small; how fast anything is, is not for a test to say."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SCRIPTS = ["mlp_end_to_end", "mlp_layers", "vgg_end_to_end", "circular_convolution", "density", "largest_values",
           "memory", "monitor", "pruned_units", "repair", "selection", "snip", "startup", "sweep", "training"]
KEYS = {"name", "claim", "peer", "ratio", "target", "holds", "errors", "data", "device", "small", "rounds", "machine",
        "versions"}


@pytest.fixture
def one_thread():
    """Small work on several threads waits for them longer than it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def script(name):
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"tests.benchmarks.{name}")
    finally:
        sys.path.remove(str(ROOT))


def test_every_script_is_tried_out():
    found = {path.stem for path in (ROOT / "tests/benchmarks").glob("*.py")}
    assert found == {*SCRIPTS, "duel", "table"}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch.func.jvp uses it
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_small_run_writes_its_record(name, tmp_path, capsys, monkeypatch, one_thread):
    monkeypatch.delenv("JACPROBE_DATA", raising=False)
    records = script(name).main(["--small", "--rounds", "1", "--output", str(tmp_path)])
    written = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert sorted(row["name"] for row in records) == [row["name"] for row in written]
    for row in written:
        assert row.keys() >= KEYS
        assert row["ratio"] > 0 and row["small"] and row["data"] in ("", "random")
        for error in row["errors"].values():
            assert error["value"] <= error["limit"] or name == "density"  # which needs its many steps
    assert capsys.readouterr().out.count("\n") == len(records)


def test_a_duel_alternates_and_takes_the_median():
    duel = script("duel")
    calls = []
    given = duel.options(["--rounds", "3"], "")
    found = duel.duel(lambda: calls.append("ours"), lambda: calls.append("peer"), given)
    assert calls == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert len(found.ours) == len(found.peer) == 3
    assert duel.Duel((1.0, 1.0, 1.0), (2.0, 9.0, 3.0)).ratio == 3.0


def test_the_fastest_way_is_the_fastest():
    duel = script("duel")
    assert duel.fastest({"slow": lambda: sum(range(300_000)), "fast": lambda: None}) == "fast"


def made_up_row(**changes):
    return {"name": "x", "claim": "work", "peer": "a|b", "ratio": 2.0, "target": 1.5, "holds": True, "data": "mnist",
            "errors": {"error": {"value": 1e-7, "limit": 1e-6}}, "small": False,
            "machine": {"cpu": "chip", "threads": 2, "system": "Linux"},
            "versions": {"torch": "2", "numpy": "2", "scipy": "1", "python": "3"}, **changes}


def test_the_table_shows_every_row_once(tmp_path):
    table = script("table")
    gpu = {"cpu": "chip", "threads": 2, "system": "Linux", "gpu": "card"}
    for name, row in {"a": made_up_row(), "b": made_up_row(holds=False, ratio=1.0), "c": made_up_row(small=True),
                      "d": made_up_row(machine=gpu)}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(row))
    text = table.table(table.rows(tmp_path))
    assert text.count("| work, mnist | a\\|b |") == 3
    assert text.count("Measured on") == 2 and "card" in text
    assert "2.00 | ≥ 1.50 | error 1.0e-07 (≤ 1e-06) | reached |" in text and "| missed |" in text


def test_the_table_takes_its_place_between_the_marks():
    table = script("table")
    text = f"# title\n{table.BEGIN}\nold\n{table.END}\nrest\n"
    found = table.written(text, [made_up_row()])
    assert table.block(found) == table.table([made_up_row()]).strip("\n")
    assert found.startswith("# title\n") and found.endswith("\nrest\n") and "old" not in found
    assert table.written(found, [made_up_row()]) == found
    with pytest.raises(SystemExit, match="must have the two lines"):
        table.written("# title", [])


def test_the_readme_shows_the_committed_results():
    table = script("table")
    shown = table.block(table.README.read_text(encoding="utf-8"))
    assert shown == table.table(table.rows()).strip("\n"), "run `python -m tests.benchmarks.table --write`"
