"""Options of the commands that score weights, as types of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="Model file.", show_default=False)]
Method = Annotated[str, typer.Option(help="snip, magnitude, random, grasp, synflow, force, ...; a wrong one lists"
                                          " them.")]
Data = Annotated[str | None, typer.Option(help="digits, mnist, fashion-mnist, cifar-10, random, or an array file"
                                               " ending in .npy, .npz or .pt.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data set's standard files.")]
Split = Annotated[str, typer.Option(help="train or test.")]
NumInputs = Annotated[int | None, typer.Option(help="Number of inputs; default all (100 random ones).")]
Loss = Annotated[str | None, typer.Option(help="labels, uniform, raw, softmax, random-labels, ...: of the methods"
                                               " with a loss.")]
Argument = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Other argument of the method, such"
                                                                               " as temperature=200; repeatable.")]
BatchNorm = Annotated[str, typer.Option(help="While scoring: paper, eval or train.")]
Prunable = Annotated[list[str] | None, typer.Option(metavar="NAME", help="weights (default), paper (biases too) or"
                                                                         " names and patterns; repeatable.")]
Protect = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Parameter, module or pattern that is never"
                                                                        " pruned; repeatable.")]
Seed = Annotated[int, typer.Option(help="Of all randomness of the method.")]
Model = Annotated[str | None, typer.Option(help="Network of a file that holds only weights: a name such as"
                                                " mlp-7-tanh, or your own package.module:factory.")]
Shape = Annotated[str | None, typer.Option(metavar="C,H,W", help="Of the network and of random data.")]
Trust = Annotated[bool, typer.Option("--trust-file", help="Run the code that the file brings along.")]
Device = Annotated[str | None, typer.Option(help="To score on: cpu, cuda, cuda:1, ...")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
