"""Results lie on the CPU, and torch's default device and type do not reach what is read from them."""

import pytest
import torch
from made_up import one_of_each

STATISTICS = ("mean", "min", "cond", "cond_per_input", "num_zeros", "num_under_floor", "mean_square", "effective_rank",
              "log_det", "mean_interval", "min_interval", "max_interval")


def _plain(value):
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _read(results):
    """Everything as text, which holds every digit."""
    found = [results.to_json(), results.table().to_string(), repr(results)]
    found += [frame.to_json(double_precision=15) for frame in (results.frame(), results.bounds_frame(),
                                                              results.nodes_frame())]
    for spectrum in results:
        found += [repr(_plain(getattr(spectrum, name))) for name in STATISTICS]
        found += [repr(spectrum.ldi_interval(0.1)), repr(spectrum.quantile(0.3)), repr(spectrum.standard_error("std"))]
    return found


def test_a_default_device_reaches_no_statistic():
    plain = _read(one_of_each())
    results = one_of_each()
    with torch.device("meta"):
        assert _read(results) == plain


def test_a_default_dtype_reaches_no_statistic():
    plain = _read(one_of_each())
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        results = one_of_each()
        assert _read(results) == plain
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_is_read_under_any_default_device(suffix, tmp_path):
    results = one_of_each()
    with torch.device("meta"):
        results.save(tmp_path / f"spectra{suffix}")
        assert _read(type(results).load(tmp_path / f"spectra{suffix}")) == _read(results)
