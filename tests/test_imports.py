import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jacprobe

ROOT = Path(jacprobe.__file__).parent
BOTTOM = {"errors", "atomic", "devices", "provenance", "modelstate", "progress", "randomness", "linop", "masks",
          "results", "solvers"}
THEORY = BOTTOM | {"theory"}  # below its siblings of old: initial weights need its numbers, and figures its densities
SIBLINGS = {"probe", "pruning", "isometry", "models", "data", "plotting"}
ALLOWED = {  # part of the package -> the parts it may import; "" is the package itself
    "": set(),
    "errors": set(),
    **dict.fromkeys(BOTTOM - {"errors"}, BOTTOM),
    "theory": THEORY,
    **{part: THEORY | {part} for part in SIBLINGS},
    "checkpoint": BOTTOM | {"checkpoint", "models"},
    "interchange": BOTTOM | {"checkpoint", "interchange"},
    "monitoring": BOTTOM | {"probe", "monitoring"},
    "training": BOTTOM | {"training"},
    "report": THEORY | {"plotting", "report"},
    "experiments": THEORY | SIBLINGS | {"checkpoint", "interchange", "monitoring", "training", "experiments"},
    "cli": THEORY | SIBLINGS | {"report", "checkpoint", "interchange", "monitoring", "training", "experiments", "cli",
                                ""},
    "__main__": {"cli"},
}
TALKERS = {"cli", "__main__"}
FORBIDDEN_OF = {"sys": {"argv", "exit", "stdout", "stdin"}, "os": {"_exit"}, "builtins": {"print", "exit"}}


def violations(root):
    """Return 'file:line: what' for every import or name against the house rules, of all files below `root`."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        package = ["jacprobe", *parts[:-1]]
        part = "" if parts == ("__init__",) else parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            problems = [f"{part} imports {name}" for name in imported(node, package) if not may_import(part, name)]
            problems += [f"{part} uses {name}" for name in spoken(node) if part not in TALKERS]
            found += [f"{path.relative_to(root)}:{node.lineno}: {problem}" for problem in problems]
    return found


def imported(node, package):
    """Return the absolute names that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*base, node.module] if node.module else base)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def may_import(part, name):
    top, *rest = name.split(".")
    if top in ("matplotlib", "seaborn"):
        return part == "plotting"
    if top != "jacprobe" or rest == ["__version__"]:
        return True
    return (rest[0] if rest else "") in ALLOWED.get(part, set())


def spoken(node):
    """Return the names by which a node prints, reads the command line or exits."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return [node.func.id] if node.func.id in ("print", "exit", "quit", "input") else []
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return [ast.unparse(node)] if node.attr in FORBIDDEN_OF.get(node.value.id, ()) else []
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [alias.name for alias in node.names if alias.name in FORBIDDEN_OF.get(node.module, ())]
    return ["SystemExit"] if isinstance(node, ast.Name) and node.id == "SystemExit" else []


def test_imports_point_one_way_and_only_the_command_line_speaks():
    assert violations(ROOT) == []


def test_every_file_has_its_place_in_the_order():
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in ROOT.rglob("*.py")} - {"__init__"}
    assert parts <= ALLOWED.keys()


@pytest.mark.parametrize(
    ("file", "text"),
    {
        "a sibling": ("probe/spectra.py", "from jacprobe.pruning import prune"),
        "a sibling's file": ("probe/spectra.py", "import jacprobe.pruning.prune"),
        "a sibling inside a function": ("probe/spectra.py", "def f():\n    from jacprobe.pruning import prune"),
        "a relative sibling": ("probe/spectra.py", "from ..pruning import prune"),
        "a sibling by the package": ("probe/spectra.py", "from jacprobe import pruning"),
        "a relative sibling by the package": ("probe/deep/er.py", "from ... import pruning"),
        "a sibling from its __init__": ("probe/__init__.py", "from ..pruning import prune"),
        "a sibling by importlib": ("probe/spectra.py", "import importlib\nimportlib.import_module('jacprobe.pruning')"),
        "a sibling for types only": ("probe/a.py", "if TYPE_CHECKING:\n    from jacprobe.models import build"),
        "the package's lazy names": ("probe/spectra.py", "import jacprobe as jp"),
        "a public lazy name": ("isometry/a.py", "from jacprobe import prune"),
        "upwards from the bottom": ("masks.py", "from jacprobe.probe import spectra"),
        "upwards, relative": ("masks.py", "from .probe import spectra"),
        "upwards from theory": ("theory/spectrum.py", "from jacprobe.probe import spectra"),
        "theory below theory": ("solvers/exact.py", "from jacprobe.theory import gain"),
        "errors import nothing": ("errors.py", "from jacprobe.masks import Masks"),
        "checkpoint and interchange": ("checkpoint/reading.py", "from jacprobe.interchange import read_masks"),
        "interchange and pruning": ("interchange/reading.py", "from jacprobe.pruning import prune"),
        "checkpoint and pruning": ("checkpoint/reading.py", "from jacprobe.pruning import prune"),
        "models and checkpoint": ("models/mlp.py", "from jacprobe.checkpoint import load_model"),
        "report and probe": ("report/page.py", "from jacprobe.probe import spectra"),
        "report and pruning": ("report/section.py", "from jacprobe.pruning import MaskReport"),
        "experiments and cli": ("experiments/sweep.py", "from jacprobe.cli import main"),
        "probe and monitoring": ("probe/spectra.py", "from jacprobe.monitoring import Monitor"),
        "training and models": ("training/train.py", "from jacprobe.models import build"),
        "pruning and training": ("pruning/rewinding.py", "from jacprobe.training import train"),
        "monitoring and plotting": ("monitoring/monitor.py", "from jacprobe.plotting import plot_layers"),
        "the package itself": ("__init__.py", "from jacprobe.errors import JacprobeError"),
        "a file of no known part": ("helpers.py", "from jacprobe.errors import JacprobeError"),
        "matplotlib": ("cli/spectrum.py", "def f():\n    import matplotlib.pyplot as plt"),
        "seaborn": ("experiments/a.py", "from seaborn import violinplot"),
        "print": ("probe/spectra.py", "def f():\n    print(1)"),
        "argv": ("probe/spectra.py", "import sys\nx = sys.argv"),
        "argv by name": ("probe/spectra.py", "from sys import argv"),
        "exit": ("data/loader.py", "import sys\nsys.exit(1)"),
        "SystemExit": ("data/loader.py", "raise SystemExit(1)"),
        "stdout": ("results.py", "import sys\nsys.stdout.write('')"),
    }.values(),
    ids=lambda value: value.replace("\n", " "),
)
def test_a_violation_is_caught(tmp_path, file, text):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{Path(file)}:")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("probe/spectra.py", "from jacprobe.probe.trace import trace\nfrom .trace import Trace\nfrom . import trace"),
        ("probe/spectra.py", "from jacprobe.masks import Masks\nfrom ..errors import ModelError\nimport numpy"),
        ("isometry/a.py", "from jacprobe.theory import gain"),
        ("plotting/a.py", "from jacprobe.theory.spectrallaw import SpectralLaw"),
        ("provenance.py", "from jacprobe import __version__"),
        ("checkpoint/reading.py", "from jacprobe.models import build"),
        ("interchange/reading.py", "from jacprobe.checkpoint import read_checkpoint"),
        ("report/page.py", "from jacprobe.plotting import plot_layers\nfrom jacprobe.results import compare"),
        ("experiments/sweep.py", "from jacprobe.probe import spectra\nfrom jacprobe.plotting import plot_layers"),
        ("cli/demo.py", "import jacprobe as jp\nimport sys\nprint(sys.argv)"),
        ("__main__.py", "import sys\nfrom jacprobe.cli import main\nsys.exit(main())"),
        ("plotting/layers.py", "import matplotlib\nimport seaborn"),
        ("models/a.py", "import sys\nsys.path.append('')\nconsole.print(1)\nprinter(2)"),
    ],
    ids=lambda value: value.replace("\n", " "),
)
def test_what_is_allowed_passes(tmp_path, file, text):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert violations(tmp_path) == []


def test_importing_the_package_imports_no_heavy_library():
    code = (
        "import sys, jacprobe; names = dir(jacprobe); assert 'spectra' in names, names;"
        "print(sorted({'torch', 'numpy', 'pandas', 'matplotlib', 'seaborn', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", jacprobe.__all__)
def test_every_public_name_resolves(name):
    assert getattr(jacprobe, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = jacprobe.no_such_name
