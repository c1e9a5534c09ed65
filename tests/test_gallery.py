import ast
import re
from pathlib import Path
from runpy import run_path

import pytest
from PIL import Image

import jacprobe as jp

GALLERY = Path(__file__).parents[1] / "figures" / "gallery"
FOLDER = run_path(str(GALLERY / "__main__.py"), run_name="gallery")
SCRIPTS = {script.stem: script for script in FOLDER["scripts"]()}


def called(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    return {node.func.attr for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}


def test_every_public_function_that_draws_stands_in_the_gallery():
    public = {name for module in (jp, jp.plotting) for name in dir(module) if name.startswith(("plot_", "draw_"))}
    assert public == {name for script in SCRIPTS.values() for name in called(script) if name in public}
    assert {name for name in public if name.startswith("plot_")} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_what_it_is_named_after_in_few_lines(name):
    text = SCRIPTS[name].read_text(encoding="utf-8")
    assert name in called(SCRIPTS[name]) or not hasattr(jp, name)
    assert text.endswith(f'figure.savefig("{name}.png", dpi=120)\n')
    assert len(text.splitlines()) <= 35


def test_the_page_shows_every_picture_with_the_lines_that_make_it():
    page = (GALLERY / "README.md").read_text(encoding="utf-8")
    assert page == FOLDER["page"]()
    assert re.findall(r"!\[\w+\]\((\w+)\.png\)", page) == sorted(SCRIPTS)
    for name, script in SCRIPTS.items():
        assert script.read_text(encoding="utf-8").partition("\n\n")[2].strip() in page
        with Image.open(GALLERY / f"{name}.png") as picture:
            assert 500 <= picture.width <= 1300


def test_no_picture_lacks_its_script():
    assert {picture.stem for picture in GALLERY.glob("*.png")} == set(SCRIPTS)


@pytest.mark.parametrize("name", ["draw_mask", "draw_sensitivity_scatter", "plot_layers"])
def test_a_script_makes_its_picture_anywhere(name, tmp_path):
    before = Path.cwd()
    picture = FOLDER["make_picture"](SCRIPTS[name], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
    assert Path.cwd() == before
    with Image.open(picture) as made, Image.open(GALLERY / f"{name}.png") as kept:
        assert made.size == kept.size


def test_a_picture_that_does_not_exist_is_refused_in_one_line():
    with pytest.raises(SystemExit, match=r"^No such picture: plot_nothing\. Take one of draw_all.*training\.$"):
        FOLDER["main"](["plot_nothing"])
