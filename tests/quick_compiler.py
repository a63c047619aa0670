"""XLA's CPU compiler without its optimisations: a test compiles for seconds what it runs for
milliseconds. Products and convolutions stay those of XLA's libraries."""

from __future__ import annotations

import os
from importlib.metadata import version

_FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if int(version("jaxlib").split(".")[1]) < 12:  # 0.12 has no other way to generate code
    _FLAGS.append("--xla_cpu_use_fusion_emitters=false")


def use_quick_compiler() -> None:
    """For this process, before it compiles anything, and those that it starts."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join([flag for flag in flags if flag not in _FLAGS] + _FLAGS)
