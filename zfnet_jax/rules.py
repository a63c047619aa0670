"""The rules of the way down by name, for flags as well, which load no JAX."""

from __future__ import annotations

from typing import Literal

# Pixels that several overlapping windows name: what of their values they get. 'sum' is the adjoint
# of pooling; 'overwrite' the last in row-major order. See `pooling.max_unpool`.
Overlap = Literal["sum", "max", "mean", "overwrite"]

# 'deconvnet': the reconstruction is rectified (the paper). 'forward_mask': it passes where the
# forward relu was active (the paper's footnote), which is backpropagation but for contrast norm,
# which all rules pass by. 'guided': both.
Rectify = Literal["deconvnet", "forward_mask", "guided"]
