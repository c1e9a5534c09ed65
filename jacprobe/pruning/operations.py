"""ATen operations by what they do to a pattern of dependence."""

from __future__ import annotations

from torch import fx


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SUMS = _names("mm bmm addmm baddbmm mv addmv dot vdot linear convolution")  # of products: of patterns, whole numbers
ZERO_STAYS = _names(  # entry by entry, and zero where all arguments are
    "relu tanh gelu silu leaky_relu elu celu hardtanh hardswish mish _prelu_kernel neg abs sqrt erf sin tan asin atan"
    " sinh asinh expm1 log1p sign round floor ceil trunc frac square detach clone alias _to_copy lift_fresh_copy add"
    " sub rsub hardshrink softshrink nan_to_num maximum minimum fmax fmin addcmul addcdiv lerp")
ELEMENTWISE = ZERO_STAYS | _names(
    "sigmoid log_sigmoid_forward softplus hardsigmoid threshold exp exp2 log log2 log10 rsqrt reciprocal cos acos cosh"
    " pow clamp clamp_min clamp_max atan2 remainder fmod eq ne lt le gt ge logical_and logical_or logical_not"
    " bitwise_and bitwise_or bitwise_not isnan isinf erfc logit logaddexp hypot xlogy")
CREATES = _names("zeros_like ones_like full_like new_zeros new_ones new_full")  # constants of the shape of a signal
NOISE = _names("empty_like new_empty rand_like randn_like bernoulli rand randn")  # may be anything
MOVES = _names(  # entries to other places, and averages with weights that are not negative
    "view _unsafe_view permute transpose t expand slice select unsqueeze squeeze split split_with_sizes unbind index"
    " unsafe_split unsafe_split_with_sizes"
    " index_select gather flip roll repeat diagonal unfold im2col col2im as_strided pixel_shuffle pixel_unshuffle"
    " slice_scatter select_scatter diagonal_scatter as_strided_scatter index_put _unsafe_index scatter scatter_add"
    " index_add tril triu avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d"
    " adaptive_avg_pool1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d"
    " upsample_bilinear2d upsample_trilinear3d reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d"
    " replication_pad2d replication_pad3d")
REDUCTIONS = _names(
    "sum mean amax amin max min any all logsumexp prod var std var_mean std_mean linalg_vector_norm norm argmax argmin"
    " median")


def operation_name(node: fx.Node) -> str:
    """Name of an operation as the tables above have it: without its library where that is ATen, and no overload."""
    return str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.")


def writes(node: fx.Node) -> bool:
    """Whether an operation changes one of its arguments."""
    return node.op == "call_function" and getattr(getattr(node.target, "_schema", None), "is_mutable", False)
