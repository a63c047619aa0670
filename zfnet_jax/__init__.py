"""ZFNets, and what they have learned (Zeiler and Fergus, arXiv 1311.2901).

For a notebook, a trained run in a few lines; WORKDIR is its folder and PHOTO a file:

>>> import zfnet_jax
>>> run = zfnet_jax.open_run(WORKDIR)
>>> pixels = zfnet_jax.project(run, PHOTO, "conv5")  # the strongest unit of the strongest map
>>> pixels.shape == (*run.input_size, 3)
True
>>> zfnet_jax.picture(pixels).mode  # an image, which a notebook shows
'RGB'
>>> winners = zfnet_jax.mine(run)  # the nine images that activate each map most
>>> winners.winners["conv5/image"].shape[1]
9
>>> arrays = zfnet_jax.occlude(run, PHOTO, "face")  # a grey square slid over the photo
>>> arrays["probability"].shape == (1, len(arrays["rows"]), len(arrays["columns"]))
True

The rest is in the modules: `zfnet_jax.deconvnet`, `zfnet_jax.pooling`, `zfnet_jax.studies`, ...
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zfnet_jax.notebook import mine, occlude, picture, project
    from zfnet_jax.runs.run import load_photo, open_run

_HOMES = {
    "load_photo": "zfnet_jax.runs.run",
    "mine": "zfnet_jax.notebook",
    "occlude": "zfnet_jax.notebook",
    "open_run": "zfnet_jax.runs.run",
    "picture": "zfnet_jax.notebook",
    "project": "zfnet_jax.notebook",
}

__all__ = ["load_photo", "mine", "occlude", "open_run", "picture", "project"]


def __getattr__(name: str) -> Any:
    """Imports jax only when it is needed: modules and scripts import this package first."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
