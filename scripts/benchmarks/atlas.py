"""The nine winners of all maps of ZFNet over 50,000 made images: found, located and projected.

Everything that scripts.mine does, the folder that it leaves included.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.benchmarks.made import MadeImages, net_of
from scripts.benchmarks.trials import Options, Row

_IMAGES, _BATCH, _K = 50_000, 256, 9
_FEW, _SMALL_BATCH = 96, 32  # of a rehearsal
_SECONDS = 60.0  # target


def rows(options: Options) -> Iterator[Row]:
    from zfnet_jax.studies.features import mining, winner_projection
    from zfnet_jax.studies.features.options import Options as Mining
    from zfnet_jax.studies.features.winners import WinnersWriter

    images = MadeImages(_FEW if options.small else _IMAGES, classes=1000)
    run, batch = net_of(images, options.small), _SMALL_BATCH if options.small else _BATCH
    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        result = function(*arguments, **named)
        seconds[name] = time.perf_counter() - began
        return result

    with tempfile.TemporaryDirectory() as folder:
        mined = timed(
            "the pass over the images, compiling included",
            mining.mine,
            *(run, images),
            k=_K,
            batch_size=batch,
            progress=False,
        )
        found = timed(
            "positions of the winners",
            winner_projection.locate,
            *(run, images, mined),
            k=_K,
            one_per_image=True,
            progress=False,
        )
        with WinnersWriter(Path(folder) / "mined") as writer:
            paper = Mining()
            timed(
                "projections and patches",
                winner_projection.project_winners,
                *(run, images, found, writer),
                unit_value=paper.unit_value,
                rectify=paper.rectify,
                overlap=paper.overlap,
                progress=False,
            )
            timed("the folder", writer.finish, found, images.keys)
    maps = sum(conv.maps for conv in run.architecture.convs)
    what = f"mining {len(images)} made images for {maps} maps"
    total = sum(seconds.values())
    yield Row(what, "all", "s", *(total,) * 3, ratio=total, target=_SECONDS)
    for name, taken in seconds.items():
        yield Row(what, name, "s", *(taken,) * 3)
