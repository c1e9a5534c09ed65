"""Rows of the tables of spectra: summaries, single values, and a glance for people."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from jacprobe.results.spectrum import BAND_CONFIDENCE, QUANTILES, Spectrum

COUNTS = ("out_dim", "in_dim", "num_inputs", "zeros", "under_floor", "num_values", "num_probes", "num_steps", "seed")


def summary_row(spectrum: Spectrum, epsilon: float) -> dict[str, object]:
    """Return the row of ``SpectrumSet.summary``, which explains the columns."""
    s, per_input = spectrum, spectrum.cond_per_input
    estimate = s.moments if s.density is None else s.density
    return {
        "segment": s.segment,
        "kind": s.kind,
        "out_dim": s.out_dim,
        "in_dim": s.in_dim,
        "num_inputs": s.num_inputs,
        "mean": s.mean,
        "std": s.std,
        "min": s.min,
        "max": s.max,
        "cond": s.cond,
        "ldi": s.ldi(epsilon),
        "zeros": s.num_zeros if s.has_counted_zeros else None,
        "method": s.method,
        "label": s.label,
        "floor": s.floor,
        "seconds": s.seconds,
        "reason": s.reason,
        "source": s.source,
        "target": s.target,
        "modules": "+".join(s.modules),
        **{name: s.quantile(q) for name, q in QUANTILES.items()},
        "cond_per_input": math.nan if per_input is None else float(per_input.median()),
        "under_floor": s.num_under_floor if s.is_complete else None,
        "cond_is_infinite": None if math.isnan(s.cond) else math.isinf(s.cond),
        **_interval("mean", s.mean_interval),
        **_interval("min", s.min_interval),
        **_interval("max", s.max_interval),
        **_interval("ldi", s.ldi_interval(epsilon)),
        "confidence": _confidence(s),
        "standard_error": s.standard_error("mean"),
        "std_standard_error": s.standard_error("std"),
        "mean_square": s.mean_square,
        "mean_square_standard_error": s.standard_error("mean_square"),
        "relative_variance": s.relative_variance,
        "relative_variance_standard_error": s.standard_error("relative_variance"),
        "relative_std": s.relative_std,
        "stable_rank": s.stable_rank,
        "effective_rank": s.effective_rank,
        "participation": s.participation,
        "log_det": s.log_det,
        "log_det_nonzero": s.log_det_nonzero,
        "gradient_ratio": s.gradient_ratio,
        "dead_units": s.dead_units,
        "cosine_in": s.cosine_in,
        "cosine_out": s.cosine_out,
        "relative_floor": s.relative_floor,
        "num_values": s.num_values if s.is_known else None,
        "num_probes": None if estimate is None else estimate.num_probes,
        "num_steps": None if s.density is None else s.density.num_steps,
        "seed": None if estimate is None else estimate.seed,
        "note": s.note,
    }


def _interval(name: str, ends: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _confidence(spectrum: Spectrum) -> float:
    known = [spectrum.confidence] if spectrum.bounds is not None else []
    return min(known + [BAND_CONFIDENCE] * (spectrum.density is not None), default=math.nan)


def values_frame(spectrum: Spectrum) -> pd.DataFrame:
    """Return one row per known singular value."""
    values = _empty(spectrum.values)
    num_inputs, count = values.shape
    zeros = spectrum.zeros if spectrum.zeros is not None and count else values.new_zeros(num_inputs, dtype=torch.int64)
    return pd.DataFrame({
        **_places(spectrum, num_inputs, count),
        "value": values.numpy().ravel(),
        "zero": (np.arange(count) >= (spectrum.dim or 0) - zeros.numpy()[:, None]).ravel(),
    })


def bounds_frame(spectrum: Spectrum) -> pd.DataFrame:
    """Return one row per interval of a singular value."""
    lower, upper = map(_empty, spectrum.bounds or (None, None))
    return pd.DataFrame({**_places(spectrum, *lower.shape), "lower": lower.numpy().ravel(),
                         "upper": upper.numpy().ravel()})


def nodes_frame(spectrum: Spectrum) -> pd.DataFrame:
    """Return one row per node of a density that has a weight."""
    nodes = _empty(None).unsqueeze(2) if spectrum.density is None else spectrum.density.nodes
    weights = nodes if spectrum.density is None else spectrum.density.weights
    num_inputs, num_probes, num_steps = nodes.shape
    frame = pd.DataFrame({
        "segment": spectrum.segment,
        "kind": spectrum.kind,
        "input": np.repeat(np.arange(num_inputs), num_probes * num_steps),
        "probe": np.tile(np.repeat(np.arange(num_probes), num_steps), num_inputs),
        "node": nodes.numpy().ravel(),
        "weight": weights.numpy().ravel(),
    })
    return frame[frame["weight"] > 0]


def _empty(values: torch.Tensor | None) -> torch.Tensor:
    return torch.empty(0, 0, dtype=torch.float64, device="cpu") if values is None else values


def _places(spectrum: Spectrum, num_inputs: int, count: int) -> dict[str, object]:
    return {"segment": spectrum.segment, "kind": spectrum.kind, "input": np.repeat(np.arange(num_inputs), count),
            "index": np.tile(np.arange(count), num_inputs)}


def plain(value: object) -> object:
    """Return `value` as JSON has it: None in place of NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
