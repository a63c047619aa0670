"""The options of Fig. 4: features during training."""

from __future__ import annotations

import dataclasses

from zfnet_jax.studies.options import option


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the maps that it shows; it is drawn from what was mined."""

    maps: int = option(6, "Maps per layer, at random from those alive at last.", lowest=1)
    seed: int = option(0, "Of the random maps.", lowest=0)
