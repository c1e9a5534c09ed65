"""The command line: one module per command; what a library raises on purpose becomes one line on stderr.

Commands import their libraries inside, so that ``--help`` and ``--version`` stay quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from jacprobe import __version__
from jacprobe.cli.compare import compare
from jacprobe.cli.convert import convert
from jacprobe.cli.demo import demo
from jacprobe.cli.info import info
from jacprobe.cli.isometrize import isometrize
from jacprobe.cli.paper import figure, table
from jacprobe.cli.prune import prune
from jacprobe.cli.report import report
from jacprobe.cli.sensitivity import sensitivity
from jacprobe.cli.spectrum import spectrum
from jacprobe.cli.sweep import sweep
from jacprobe.errors import JacprobeError

app = typer.Typer(
    name="jacprobe",
    help="See how signals propagate through a neural network, dense or pruned.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(spectrum)
app.command()(prune)
app.command()(isometrize)
app.command()(compare)
app.command()(report)
app.command()(sensitivity)
app.command()(figure)
app.command()(table)
app.command()(sweep)
app.command()(info)
app.command()(convert)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"jacprobe {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True,
                                       help="Show the version and exit.")) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 refused, 2 misuse, 130 interrupted."""
    command = typer.main.get_command(app)
    try:
        status = command.main(args=arguments, prog_name="jacprobe", standalone_mode=False)
        sys.stdout.flush()
    except JacprobeError as error:
        return _refuse(str(error), 1)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return error.exit_code
        return _refuse(f"{error.format_message().rstrip('.')}. See jacprobe --help.", error.exit_code)
    except UnicodeEncodeError:
        return _refuse("`FILES` must have names that are text; got one with bytes that are none. Rename it.", 1)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader of stdout has left; nothing may be written to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if status == 130:
        return _refuse("interrupted; nothing was written that is not whole.", 130)
    return status or 0


def _refuse(message: str, status: int) -> int:
    print(f"jacprobe: {' '.join(message.split())}", file=sys.stderr)
    return status
