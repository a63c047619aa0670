"""Finds photos that two sets share, by normalised correlation of small images (Section 5.2).

    python -m scripts.overlap data/imagenet/train CALTECH --out=DIR
    python -m scripts.train --config=configs/zfnet.py --config.data.exclude=DIR/exclude.json ...

Each of A and B is a prepared split (PREPARED_DIR/train) or a folder of photos, in folders or not. A
is what one trains on: exclude.json names its photos that B holds too, for config.data.exclude. The
same folder twice finds what a set holds twice; the first of each stays. DIR gets pairs.json (keys,
scores, matching windows), exclude.json and index.html, a page of the pairs that needs nothing else.
"""

from __future__ import annotations

import os
import sys

from absl import flags

from zfnet_jax.command import outputs, shell, study_flags
from zfnet_jax.studies.overlap.options import Options

_OUT = flags.DEFINE_string("out", None, "Folder for the results.", required=True)
_OPTIONS = study_flags.define(Options)
_WORKERS = flags.DEFINE_integer(
    "workers", os.cpu_count() or 1, "Decoding processes.", lower_bound=1
)


def main(a: str, b: str) -> None:
    from zfnet_jax import parallel  # after the flags, so that --help needs no jax
    from zfnet_jax.report.page import check_free
    from zfnet_jax.studies.overlap import page, study

    out = outputs.folder(_OUT.value)

    def make_folder() -> None:
        check_free(out, page.MARK)
        out.mkdir(parents=True, exist_ok=True)

    parallel.by_writer(make_folder)
    shared = study.search(
        a,
        b,
        _OPTIONS(),
        workers=_WORKERS.value,
        progress=sys.stderr.isatty(),
    )
    if not parallel.is_writer():
        return
    found = shared.found
    *_, index = page.write_folder(out, found, *(photos.photo for photos in shared.sets))
    print(
        f"{found['a']['photos']} photos against {found['b']['photos']}: read in"
        f" {shared.seconds['read']:.1f} s, compared in {shared.seconds['compare']:.1f} s"
    )
    print(
        f"{len(found['pairs'])} pairs at {found['threshold']:g} or more;"
        f" {len(found['exclude'])} photos of {a} to exclude"
    )
    print(index)


if __name__ == "__main__":
    shell.run(main, "A", "B", several=True)
