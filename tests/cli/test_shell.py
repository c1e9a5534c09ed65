"""What only a real process shows: start-up, signals, closed pipes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jacprobe as jp
from jacprobe.cli import app

_COMMAND = [sys.executable, "-m", "jacprobe"]


def shell(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["spectrum", "--help"], ["prune", "--help"],
                                       ["sensitivity", "--help"]])
def test_help_and_version_import_no_heavy_library(arguments):
    code = ("import sys; from jacprobe.cli import main; main(sys.argv[1:]);"
            "print(sorted({'torch', 'numpy', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)))")
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_version_is_that_of_the_package():
    assert shell("--version").stdout == f"jacprobe {jp.__version__}\n"


def test_no_traceback_reaches_the_shell():
    done = shell("spectrum", "missing.pt")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_control_c_exits_with_130_and_leaves_no_file(tmp_path):
    jp.save_model(jp.build("mlp-7-relu", input_shape=(1, 28, 28)), tmp_path / "model.pt")
    process = subprocess.Popen(
        [*_COMMAND, "spectrum", "model.pt", "--num-inputs", "50000", "--output", "out.npz", "--plot", "out.png"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "80"})
    time.sleep(4)  # long past its imports, long before its end
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1].startswith("jacprobe: interrupted")
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_reader_that_leaves_early_is_no_error_worth_a_traceback(tmp_path):
    jp.save_model(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), tmp_path / "model.pt")
    command = f"{sys.executable} -m jacprobe spectrum model.pt --num-inputs 2 | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_every_command_stands_in_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    names = [info.name or info.callback.__name__ for info in app.registered_commands]
    assert names
    for name in names:
        assert re.search(rf"jacprobe {name}\b", readme), name
