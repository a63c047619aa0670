"""Where compiled programs are kept between runs, so that the same net starts faster again.

JAX's own variables have the last word: JAX_COMPILATION_CACHE_DIR names another folder, and
JAX_ENABLE_COMPILATION_CACHE=false compiles anew every time. Nothing here imports JAX.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

_MIN_SECONDS = "0.5"  # what compiles faster is not worth a file
_MAX_BYTES = str(2**31)  # what was used longest ago goes first; with a limit JAX also locks


def use_default_folder() -> None:
    """Names a folder of the user's cache, before JAX is imported, for this process and those that
    it starts. What the environment says already stays."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(default_folder()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _MIN_SECONDS)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", _MAX_BYTES)


def default_folder() -> Path:
    """A folder for each kind of processor: machines that share a home may differ in theirs, and a
    program compiled for one need not run on another."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "zfnet_jax" / f"xla-{_processor()}"


def _processor() -> str:
    text = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        named = ("model name", "flags", "Features", "CPU part")
        text += "".join(sorted({line for line in lines if line.startswith(named)}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
