"""What theory expects of a network: the law of the singular values of every layer and from input to output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.results import SpectrumSet
from jacprobe.theory.activations import activation as activation_of
from jacprobe.theory.chain import Chain, Residual
from jacprobe.theory.layerlaw import LayerLaw, check_chain
from jacprobe.theory.meanfield import Spec
from jacprobe.theory.modelstages import model_stages
from jacprobe.theory.product import product_law, product_moments
from jacprobe.theory.residuallaw import residual_law
from jacprobe.theory.spectrallaw import SpectralLaw
from jacprobe.theory.stage import Stage, joined

if TYPE_CHECKING:
    import pandas as pd

END_TO_END = "end_to_end"
_ROUNDING = 1e-14  # of the largest value


class Prediction(Mapping[str, SpectralLaw]):
    """Laws of singular values by segment name: the layers in forward order, "end_to_end" last. Read-only.

    Laws are computed when first asked for. Without `total_gain` they are those of products of the `stages`.
    """

    def __init__(self, stages: Sequence[Stage], *, total_gain: float | None = None):
        self._stages, self._total_gain = tuple(stages), total_gain
        self._laws: dict[str, SpectralLaw] = {}

    def __getitem__(self, segment: str) -> SpectralLaw:
        if segment not in self._names:
            raise UnknownNameError("segment", segment, self._names)
        if segment not in self._laws:
            self._laws[segment] = self._law(segment)
        return self._laws[segment]

    def __contains__(self, segment: object) -> bool:
        return segment in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*self.layers, END_TO_END)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in forward order."""
        return [] if self._total_gain else [stage.name for stage in self._stages]

    @property
    def end_to_end(self) -> SpectralLaw:
        """The law from input to output."""
        return self[END_TO_END]

    def _law(self, segment: str) -> SpectralLaw:
        if segment != END_TO_END:
            return product_law([self._stages[self.layers.index(segment)].law])
        return residual_law(self._total_gain) if self._total_gain else product_law(joined(list(self._stages)))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per segment.

        Columns: segment, out_dim, in_dim, weights (gaussian, orthogonal or partly orthogonal), kept_energy (of an
        orthogonal matrix), sigma_w2 (variance of a weight times the fan-in, after the mask), q (length of the
        pre-activations), gain (chi: mean square of the singular values of a square layer), relative_variance (of s^2),
        s_min, s_max, mean (of s), label ("limit": exact for large widths; "approximate") and reason.
        """
        import pandas as pd

        rows = [self._row(stage) for stage in self._stages if self.layers]
        outer = {"segment": END_TO_END, "out_dim": self._stages[-1].out_dim, "in_dim": self._stages[0].in_dim}
        reasons = [f"{stage.name}: {reason}" for stage in self._stages for reason in stage.reasons]
        if self._total_gain:
            moments = self.end_to_end.mean_square, self.end_to_end.relative_variance
        else:
            moments = product_moments([stage.law for stage in self._stages])
        rows.append({**outer, "gain": moments[0], **self._shape(END_TO_END, moments[1], reasons)})
        columns = ["segment", "out_dim", "in_dim", "weights", "kept_energy", "sigma_w2", "q", "gain",
                   "relative_variance", "s_min", "s_max", "mean", "label", "reason"]
        return pd.DataFrame(rows, columns=columns)

    def _row(self, stage: Stage) -> dict:
        law = stage.law
        weights = law.weight if isinstance(law.weight, str) else "partly orthogonal"
        return {"segment": stage.name, "out_dim": law.out_dim, "in_dim": law.in_dim, "weights": weights,
                "kept_energy": law.kept_energy, "sigma_w2": stage.variance, "q": stage.q, "gain": law.gain,
                **self._shape(stage.name, product_moments([law])[1], stage.reasons)}

    def _shape(self, segment: str, relative_variance: float, reasons: Sequence[str]) -> dict:
        law = self[segment]
        return {"relative_variance": relative_variance, "s_min": law.s_min, "s_max": law.s_max, "mean": law.mean,
                "label": "approximate" if reasons else "limit", "reason": "; ".join(reasons) or None}

    def distance(self, result: SpectrumSet) -> pd.DataFrame:
        """Return the Kolmogorov-Smirnov distance of measured singular values to their law, per segment of both.

        Returns
        -------
        DataFrame
            Columns: segment, num_values, distance (of all values), zeros and expected_zeros (shares of all values that
            are 0 or under the floor; a ReLU network of finite width has a few more than the law, and `distance` is at
            least that difference), label of the law, reason (why there is no distance).

        Raises
        ------
        DtypeError
            `result` is no SpectrumSet.
        ArgumentError
            It has no segment of these.
        """
        import pandas as pd

        if not isinstance(result, SpectrumSet):
            raise DtypeError(f"`result` must be a SpectrumSet; got {type(result).__name__}. Measure it with "
                             "jacprobe.spectra.")
        rows = [self._distances(segment, result) for segment in self if segment in result]
        if not rows:
            raise ArgumentError(f"`result` must hold one of {', '.join(list(self)[:10])}; got "
                                f"{', '.join(s.segment for s in result) or 'nothing'}. Predict the network that was "
                                "probed.")
        return pd.DataFrame(rows)

    def _distances(self, segment: str, result: SpectrumSet) -> dict:
        spectrum = result[segment]
        reasons = [reason for stage in self._stages if segment in (stage.name, END_TO_END) for reason in stage.reasons]
        row = {"segment": segment, "num_values": 0, "distance": np.nan, "zeros": np.nan, "expected_zeros": np.nan,
               "label": "approximate" if reasons else "limit", "reason": None}
        if spectrum.label != "exact" or spectrum.values is None:
            return {**row, "reason": f"its spectrum is {spectrum.label}, not exact"}
        values, law = spectrum.values.numpy().ravel(), self[segment]
        largest = max(float(values.max()), law.s_max)
        floor = max(_ROUNDING, (spectrum.floor or 0.0) / largest)
        zeros, expected = float((values <= floor * largest).mean()), float(law.cdf(floor * largest))
        return {**row, "num_values": len(values), "distance": law.distance(values, floor=floor), "zeros": zeros,
                "expected_zeros": expected}

    def to_dict(self) -> dict:
        """Return what the laws follow from, as plain values of JSON."""
        return {"stages": [stage.to_dict() for stage in self._stages], "total_gain": self._total_gain}

    @classmethod
    def from_dict(cls, facts: Mapping) -> Prediction:
        """Return the prediction that ``to_dict`` described."""
        return cls([Stage.from_dict(stage) for stage in facts["stages"]], total_gain=facts["total_gain"])

    def __repr__(self) -> str:
        return f"Prediction of {len(self)} segments\n{self.table.to_string(index=False)}"


def spectrum(
    network: nn.Module | Chain | Residual | Sequence[LayerLaw] | Mapping[str, LayerLaw],
    masks: Masks | None = None,
    *,
    inputs: Tensor | np.ndarray | None = None,
    activation: Spec | None = None,
) -> Prediction:
    """Return the spectra that theory expects of a random network, dense or pruned, layer by layer and end to end.

    Parameters
    ----------
    network
        A model: a chain of linear layers, or circular convolutions of stride 1, with elementwise activations,
        flattening and dropout. Or a ``Chain`` or ``Residual``, or the ``LayerLaw`` of every layer, in a list (then
        named fc1, fc2 ...) or by name.
    masks
        For a dense model: which weights are kept. A model may also carry masks.
    inputs
        (num_inputs, ...), with a model: its pre-activations take their length from them.
    activation
        What the forward pass of a model applies as a function where no module does, as for ``jp.theory.activation``.

    Returns
    -------
    Prediction
        A mapping from segment names, as ``jp.spectra`` has them, to laws. ``table`` says of each whether it is the
        limit of large width or an approximation, and why.

    Raises
    ------
    DtypeError, ShapeError, NonFiniteError, ArgumentError, UnknownNameError, ModelError
        An argument is wrong; or the model is no such chain, and the message names the module and the reason.

    Notes
    -----
    Weights are told by their own second moments: orthogonal, independent entries, or an orthogonal matrix with the
    share e of its energy under a mask, which is like ``sqrt(e) Q + sqrt(1 - e) X`` with X Gaussian. Energies of rows
    and columns that vary more than under a mask without structure, as with connection sensitivity, give a profile.

    References
    ----------
    Pennington, Schoenholz and Ganguli 2018, The emergence of spectral universality in deep networks.

    Examples
    --------
    >>> dense = spectrum(Chain([500] * 9, "tanh", "orthogonal", q0=0.1))
    >>> pruned = spectrum(Chain([500] * 9, "tanh", "orthogonal", q0=0.1, density=0.5, rescaled=True))
    >>> [round(law.end_to_end.s_max, 2) for law in (dense, pruned)]
    [0.87, 2.83]
    """
    if not isinstance(network, nn.Module):
        given = [name for name, value in (("masks", masks), ("inputs", inputs), ("activation", activation))
                 if value is not None]
        if given:
            raise ArgumentError(f"`{given[0]}` must be left out without a model; got it with a "
                                f"{type(network).__name__}, which says it all. Describe the network there.")
    if isinstance(network, nn.Module):
        phi = None if activation is None else activation_of(activation)
        return Prediction(model_stages(network, inputs, masks=masks, phi=phi))
    if isinstance(network, Residual):
        return Prediction(network.stages(), total_gain=network.total_gain if network.branch == "fresh" else None)
    if isinstance(network, Chain):
        return Prediction(network.stages())
    return Prediction(_given(network))


def _given(network: object) -> list[Stage]:
    """Return the stages of given laws of layers."""
    if isinstance(network, Sequence) and not isinstance(network, str):
        network = {f"fc{number}": law for number, law in enumerate(network, start=1)}
    if not isinstance(network, Mapping) or not all(isinstance(law, LayerLaw) for law in network.values()):
        raise DtypeError(f"`network` must be a model, a Chain, a Residual or LayerLaws; got {type(network).__name__}. "
                         "Pass for example jacprobe.theory.Chain([500] * 9, 'tanh').")
    check_chain(list(network.values()))
    return [Stage.of_law(name, law) for name, law in network.items()]

