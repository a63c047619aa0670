"""The options of the overlap search (Section 5.2)."""

from __future__ import annotations

import dataclasses

from zfnet_jax.studies.options import option


@dataclasses.dataclass(frozen=True)
class Options:
    """From which correlation on two photos are one.

    The default lies amid the range in which precision and recall were both at least 0.99 on altered
    copies of half of the classes of Caltech-101; `python -m scripts.overlap_check` measures that,
    and then both on other photos.
    """

    threshold: float = option(0.9, "Correlation from which on two photos are one.")
