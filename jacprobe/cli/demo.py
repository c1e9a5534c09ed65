"""``jacprobe demo``: the main job on real data that needs no download."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jacprobe.results import SpectrumSet

_NETWORK = "mlp-7-tanh"
_SPARSITY = 0.9
_NUM_INPUTS = 200
_FOLDER = Path("jacprobe-demo")


def demo(
    output: Annotated[Path, typer.Option(help="Folder for model.pt, pruned.pt and spectra.png.")] = _FOLDER,
    seed: Annotated[int, typer.Option(help="Of the initial weights.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Prune the paper's tanh network on handwritten digits and show what that does to every layer."""
    import jacprobe as jp
    from jacprobe.atomic import atomic_path

    model_file, pruned_file, figure_file = _prepare(output, overwrite=overwrite)
    images, labels = jp.load_data("digits")
    net = jp.build(_NETWORK, input_shape=images.shape[1:], num_classes=10)
    net = jp.initialize(net, "orthogonal", seed=seed)
    masks = jp.prune(net, "snip", sparsity=_SPARSITY, data=(images, labels))
    pruned = masks.apply(net)
    results = {"dense": jp.spectra(net, images[:_NUM_INPUTS]), "pruned": jp.spectra(pruned, images[:_NUM_INPUTS])}

    facts = {"data": "digits", "initialiser": "orthogonal", "seed": seed}
    jp.save_model(net, model_file, provenance=facts, overwrite=overwrite)
    jp.save_model(pruned, pruned_file, overwrite=overwrite,
                  provenance={**facts, "method": "snip", "sparsity": _SPARSITY})
    with atomic_path(figure_file, overwrite=overwrite) as temporary:
        jp.plot_layers(results, title=f"{_NETWORK} on digits").savefig(temporary, dpi=200)
    _print(results, masks.layer_sparsity(), (model_file, pruned_file, figure_file))


def _prepare(folder: Path, *, overwrite: bool) -> list[Path]:
    from jacprobe.atomic import check_output
    from jacprobe.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"`output` must be a folder that can be made; got {str(folder)!r}: {error.strerror}."
                          " Choose another.") from error
    paths = [folder / name for name in ("model.pt", "pruned.pt", "spectra.png")]
    return [check_output(path, overwrite=overwrite) for path in paths]


def _print(results: dict[str, SpectrumSet], sparsity: dict[str, float], files: tuple[Path, Path, Path]) -> None:
    import jacprobe as jp
    from jacprobe.cli.compare import print_comparison

    comparison = jp.compare(results)
    shares = [sparsity.get(f"{segment}.weight") for segment, _ in comparison.segments]
    title = (f"{_NETWORK} with orthogonal weights on {_NUM_INPUTS} digits: Jacobian singular values,\ndense and with"
             f" {100 * _SPARSITY:.0f} % of the weights removed by connection sensitivity")
    removed = ["" if share is None else f"{100 * share:.1f} %" for share in shares]
    print_comparison(comparison, title, more={"removed": removed})
    command = f"jacprobe spectrum {shlex.quote(str(files[1]))} --data digits"
    print(f"\nWrote {files[0]}, {files[1]} and {files[2]}. Try next:\n\n    {command}")
