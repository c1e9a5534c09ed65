import ast
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points, requires, version
from pathlib import Path

import pytest

import jacprobe

ROOT = Path(__file__).parents[1]
TOP = {"setup.cfg", "setup.py", "jacprobe", "notebooks", "figures", "tests", "README.md", "LICENSE", "CHANGELOG.md"}


@pytest.fixture(scope="module")
def setup_cfg():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_setup_py_is_two_statements_without_metadata():
    first, second = ast.parse((ROOT / "setup.py").read_text()).body
    assert ast.unparse(first) == "from setuptools import setup"
    assert ast.unparse(second) == "setup()"


def test_the_version_is_written_once(setup_cfg):
    assert setup_cfg["metadata"]["version"] == "attr: jacprobe.__version__"
    assert version("jacprobe") == jacprobe.__version__


def test_the_command_is_installed(setup_cfg):
    assert setup_cfg["options.entry_points"]["console_scripts"].strip() == "jacprobe = jacprobe.cli:main"
    (script,) = entry_points(group="console_scripts", name="jacprobe")
    assert callable(script.load())


def test_every_requirement_has_a_lower_bound():
    needed = [line for line in requires("jacprobe") if "extra ==" not in line]
    assert needed
    assert all(">=" in line for line in needed)


def test_every_import_of_another_library_is_a_requirement(setup_cfg):
    lines = setup_cfg["options"]["install_requires"].splitlines()
    lines += setup_cfg["options.extras_require"]["cluster"].splitlines()  # imported where a cluster is asked for alone
    names = {line.split(">=")[0].strip() for line in lines if ">=" in line}
    names = {{"scikit-learn": "sklearn"}.get(name, name) for name in names} | {"jacprobe", "importlib_metadata"}
    imported = set()
    for path in (ROOT / "jacprobe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    assert imported - set(sys.stdlib_module_names) <= names


def test_type_hints_and_the_stubs_of_lazy_names_are_packaged(setup_cfg):
    assert (ROOT / "jacprobe" / "py.typed").is_file()
    assert setup_cfg["options.package_data"]["*"] == "py.typed, *.pyi"
    lazy = [path for path in (ROOT / "jacprobe").rglob("__init__.py") if "attach_stub" in path.read_text()]
    assert lazy
    assert all(path.with_suffix(".pyi").is_file() for path in lazy)


def test_the_top_level_holds_only_what_belongs_there():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.partition("/")[0] for line in listed.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= TOP
