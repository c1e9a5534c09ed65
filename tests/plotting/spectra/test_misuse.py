"""What the figures of single spectra refuse, in one line each."""

import math

import made_up
import pytest
import torch
from spectrum_artists import (
    DATA,
    DRAW,
    FC1,
    FC2,
    PLOT,
    uniform_law,
)

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.plotting import (
    draw_ecdf,
    draw_inputs,
    draw_scree,
    draw_spectrum,
    plot_ecdf,
    plot_inputs,
    plot_scree,
    plot_spectrum,
    spectrum_curve,
)
from jacprobe.results import SpectrumSet


@pytest.mark.parametrize("name", [*DRAW, *PLOT, *DATA])
def test_what_cannot_be_drawn_is_refused_in_one_line(name):
    broken = made_up.exact("fc", [[1.0, math.nan]])
    nothing = made_up.exact("fc", torch.empty(0, 3), zeros=0)
    for function in [table[name] for table in (DRAW, PLOT, DATA) if name in table]:
        with pytest.raises(NonFiniteError, match=r"must hold finite singular values; 'fc' has 1 NaN or infinite\."):
            function(broken)
        with pytest.raises(ArgumentError, match="must hold singular values; 'fc' has none of 0 inputs"):
            function(nothing)
        with pytest.raises(ArgumentError, match="must hold at least one Spectrum; got an empty mapping"):
            function({})
        with pytest.raises(DtypeError, match="must hold Spectrum values; got float for 'a'"):
            function({"a": 1.0})
        with pytest.raises(ArgumentError, match="must hold at most 10 sets; got 11"):
            function(dict.fromkeys("abcdefghijk", FC1))


def test_options_outside_their_domain_are_refused_in_one_line():
    law = uniform_law(0.5, 1.5)
    both = SpectrumSet((FC1, FC2))
    with pytest.raises(DtypeError, match="must be one Spectrum or several by name; got a SpectrumSet"):
        draw_spectrum(both)
    with pytest.raises(DtypeError, match="must hold SpectrumSets throughout; got Spectrum for 'b'"):
        plot_spectrum({"a": both, "b": FC1})
    with pytest.raises(ArgumentError, match="must hold a spectrum; got an empty set"):
        plot_spectrum(SpectrumSet(()))
    with pytest.raises(UnknownNameError, match="`kind` must be one of histogram, density; got 'bars'"):
        draw_spectrum(FC1, kind="bars")
    with pytest.raises(UnknownNameError, match="`worst` must be one of deviation, cond"):
        draw_inputs(FC1, worst="mean")
    with pytest.raises(UnknownNameError, match="`segments` must be one of fc1, fc2; got 'fc3'"):
        plot_scree(both, segments=["fc3"])
    with pytest.raises(ArgumentError, match="`segments` must name at least one segment; got 'fc1'"):
        plot_scree(both, segments="fc1")
    with pytest.raises(ArgumentError, match="`num_bins` must be a whole number of at least 1; got 0"):
        draw_spectrum(FC1, num_bins=0)
    with pytest.raises(ArgumentError, match="`width` must be a finite number above 0"):
        spectrum_curve(FC1, width=0)
    with pytest.raises(ArgumentError, match="`epsilon` must be a finite number above 0"):
        draw_ecdf(FC1, epsilon=-1)
    with pytest.raises(ArgumentError, match="`epsilon` must be one for all sets; they have 0.1, 0.2"):
        plot_inputs({"a": both, "b": SpectrumSet((FC1,), epsilon=0.2)})
    with pytest.raises(ArgumentError, match="`color` must be a matplotlib color; got 'no color'"):
        draw_scree(FC1, color="no color")
    with pytest.raises(ArgumentError, match="`color` must be left out for several spectra; got 'red' for 2"):
        draw_scree({"a": FC1, "b": FC2}, color="red")
    with pytest.raises(DtypeError, match="`ax` must be a matplotlib Axes; got int"):
        draw_inputs(FC1, ax=3)
    with pytest.raises(ArgumentError, match=r"`theory` must be a law .* got True\. Pass jp\.theory\.spectrum\(model"):
        plot_spectrum(both, theory=True)
    with pytest.raises(DtypeError, match="`theory` must be a SpectralLaw or map segment names to them; got float"):
        draw_ecdf(FC1, theory=1.0)
    with pytest.raises(ArgumentError, match="`theory` must hold a law for one of fc1, fc2; got laws for other"):
        plot_ecdf(both, theory={"other": law})
