"""Options of the commands that probe models, as types of their parameters; left out, the library decides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[list[Path], typer.Argument(help="Model files, or results saved as .npz or .parquet; the first is the"
                                                  " one that the others are compared with.", show_default=False)]
Split = Annotated[str | None, typer.Option(help="train (default) or test.")]
NumInputs = Annotated[int | None, typer.Option(help="Number of inputs; default 100, or all of a smaller file.")]
Seed = Annotated[int | None, typer.Option(help="Draw the inputs at random; default the first ones.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64; default the model's.")]
Accuracy = Annotated[str | None, typer.Option(help="fast, standard (default), reference, or relative: small values too"
                                                   " to full accuracy, in deep chains.")]
Method = Annotated[str | None, typer.Option(help="How to find the values; default auto, by cost and memory. Any other"
                                                 " name forces a method, and a wrong one lists them.")]
NumValues = Annotated[int | None, typer.Option(help="How many of the largest values, where not all.")]
NumProbes = Annotated[int | None, typer.Option(help="Random vectors per input of an estimate.")]
NumSteps = Annotated[int | None, typer.Option(help="Products per probe of an estimated density.")]
ProbeSeed = Annotated[int | None, typer.Option(help="Of the random vectors; default 0.")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Memory budget, in bytes or such as 2GiB; default half"
                                                                 " of what is free.")]
Work = Annotated[float | None, typer.Option(help="Limit on the floating-point operations per segment.")]
Epsilon = Annotated[float | None, typer.Option(help="Half-width of the band around 1 that counts as isometric; default"
                                                    " 0.1, or that of saved results.")]
