"""Make the pictures of the gallery and its page: ``python figures/gallery``, or some: ``... plot_depth draw_mask``."""

import ast
import sys
from contextlib import chdir
from pathlib import Path
from runpy import run_path

HERE = Path(__file__).parent
HEAD = """# Gallery

Every picture is on built-in handwritten digits and made by the lines below it; nothing is downloaded. `plot_` functions
return a figure, which Jupyter shows as the value of a cell; `draw_` functions draw on axes of your own and return them.
`with jp.style("paper"):` around the lines makes the same pictures for a column of 84 mm.

`python figures/gallery` makes the pictures and this page.
"""


def scripts() -> list[Path]:
    """Return the files that make one picture each."""
    return sorted(HERE.glob("[a-z]*.py"))


def make_picture(script: Path, folder: Path) -> Path:
    """Run a script of the gallery with its picture in `folder`, and return where that is."""
    with chdir(folder):
        run_path(str(script))
    return folder / f"{script.stem}.png"


def page() -> str:
    """Return the text of the gallery's page: for each picture its caption, itself and the lines that make it."""
    parts = [HEAD]
    for script in scripts():
        text = script.read_text(encoding="utf-8")
        caption = ast.get_docstring(ast.parse(text))
        code = text.partition("\n\n")[2].strip()
        picture = f"![{script.stem}]({script.stem}.png)"
        parts.append(f"## {script.stem}\n\n{caption}\n\n{picture}\n\n```python\n{code}\n```\n")
    return "\n".join(parts)


def main(names: list[str]) -> None:
    """Make the pictures with these names, or all of them, and the page."""
    unknown = set(names) - {script.stem for script in scripts()}
    if unknown:
        raise SystemExit(f"No such picture: {', '.join(sorted(unknown))}. Take one of "
                         f"{', '.join(script.stem for script in scripts())}.")
    for script in scripts():
        if not names or script.stem in names:
            print(make_picture(script, HERE).name)
    (HERE / "README.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
