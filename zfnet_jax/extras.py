"""Packages that only some uses need; pyproject.toml lists them by these uses, the extras."""

from __future__ import annotations


def missing(package: str, extra: str) -> ValueError:
    """What to say where a package is not installed."""
    return ValueError(
        f'this needs {package}, which is not installed: pip install "zfnet_jax[{extra}]"'
    )
