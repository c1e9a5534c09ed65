"""What wide random networks do: mean field, and the spectra to expect."""

from jacprobe.theory.activations import ACTIVATIONS, Activation, activation
from jacprobe.theory.attention import uniform_attention_map
from jacprobe.theory.convolution import ConvolutionModes, convolution_covariance_map, convolution_modes
from jacprobe.theory.criticality import CriticalPoint, critical_line, critical_point, gain
from jacprobe.theory.finite_width import FiniteWidth, finite_width, resolved_share
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
from jacprobe.theory.residual import residual_gradient_map, residual_length_map, residual_output_map

__all__ = [
    "ACTIVATIONS", "Activation", "ConvolutionModes", "CriticalPoint", "FiniteWidth", "FixedPoint", "LayerMoments",
    "activation", "batch_norm_growth", "convolution_covariance_map", "convolution_modes", "correlation_map",
    "critical_line", "critical_point", "critical_rescale", "depth_scale", "finite_width", "fixed_point", "gain",
    "gradient_map", "kept_energy", "layer_moments", "length_map", "residual_gradient_map", "residual_length_map",
    "residual_output_map", "resolved_share", "uniform_attention_map",
]
