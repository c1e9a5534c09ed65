"""What wide random networks do: mean field, and the spectra to expect."""

from jacprobe.theory.activations import ACTIVATIONS, Activation, activation
from jacprobe.theory.attention import uniform_attention_map
from jacprobe.theory.chain import Chain, Residual
from jacprobe.theory.convolution import ConvolutionModes, convolution_covariance_map, convolution_modes
from jacprobe.theory.criticality import CriticalPoint, critical_line, critical_point, gain
from jacprobe.theory.finite_width import FiniteWidth, finite_width, resolved_share
from jacprobe.theory.knownlaws import (
    bernoulli_edge,
    fuss_catalan_density,
    fuss_catalan_edge,
    masked_orthogonal_edges,
)
from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.layerwise import LayerMoments, critical_rescale, kept_energy, layer_moments
from jacprobe.theory.meanfield import (
    FixedPoint,
    correlation_map,
    depth_scale,
    fixed_point,
    gradient_map,
    length_map,
)
from jacprobe.theory.normalisation import batch_norm_growth
from jacprobe.theory.prediction import Prediction, spectrum
from jacprobe.theory.product import product_law, product_moments
from jacprobe.theory.profilelaw import profile_law
from jacprobe.theory.residual import residual_gradient_map, residual_length_map, residual_output_map
from jacprobe.theory.residuallaw import persistent_gates_variance, residual_edges, residual_law, residual_layers_law
from jacprobe.theory.slopelaw import SlopeLaw
from jacprobe.theory.spectrallaw import SpectralLaw

__all__ = [
    "ACTIVATIONS", "Activation", "Chain", "ConvolutionModes", "CriticalPoint", "FiniteWidth", "FixedPoint",
    "LayerLaw", "LayerMoments", "Prediction", "Residual", "SlopeLaw", "SpectralLaw", "activation",
    "batch_norm_growth", "bernoulli_edge", "convolution_covariance_map", "convolution_modes", "correlation_map",
    "critical_line", "critical_point", "critical_rescale", "depth_scale", "finite_width", "fixed_point",
    "fuss_catalan_density", "fuss_catalan_edge", "gain", "gradient_map", "kept_energy", "layer_moments",
    "length_map", "masked_orthogonal_edges", "persistent_gates_variance", "product_law", "product_moments",
    "profile_law", "residual_edges", "residual_gradient_map", "residual_law", "residual_layers_law",
    "residual_length_map", "residual_output_map", "resolved_share", "spectrum", "uniform_attention_map",
]
