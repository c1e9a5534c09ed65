"""What only a real process shows: start-up, signals, closed pipes."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import jacprobe as jp
from jacprobe.cli import app

_COMMAND = [sys.executable, "-m", "jacprobe"]


def shell(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, **options)


def test_help_and_version_import_no_heavy_library():
    names = [info.name or info.callback.__name__ for info in app.registered_commands]
    code = ("import sys; from jacprobe.cli import main\n"
            "for command in (['--help'], ['--version'], *([name, '--help'] for name in sys.argv[1:])):\n"
            "    main(command)\n"
            "    print(sorted({'torch', 'numpy', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)))")
    out = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True).stdout
    assert [line for line in out.splitlines() if line.startswith("[")] == ["[]"] * (2 + len(names))


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
    reader, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = subprocess.Popen(
        [*_COMMAND, "spectrum", "model.pt", "--num-inputs", "20000", "--output", "out.npz", "--plot", "out.png"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # jobs in the background may ignore it
    os.close(terminal)
    try:
        err = os.read(reader, 4096).decode()  # returns when the progress bar appears: the work begins
        assert "spectra:" in err
        time.sleep(0.5)  # into the work, which takes many seconds
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # Linux reports the end of a terminal so
            while part := os.read(reader, 4096):
                err += part.decode()
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(reader)
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
