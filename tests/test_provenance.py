import getpass
import platform
import socket

import torch

import jacprobe
from jacprobe.provenance import environment


def test_the_environment_names_the_versions_at_work():
    found = environment()
    assert found["jacprobe"] == jacprobe.__version__
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["python"] == platform.python_version()


def test_the_environment_tells_no_host_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = " ".join(environment().values())
    assert socket.gethostname() not in text
    assert str(tmp_path) not in text
    assert getpass.getuser() not in text.split()
