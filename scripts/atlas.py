"""Makes the atlas of a run: a web page of every feature map, which opens from the file system.

python -m scripts.atlas --workdir=DIR [--split=validation]

Needs the winners that `python -m scripts.mine` leaves; every checkpoint that was mined becomes a
place on the page's epoch slider.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from zfnet_jax.command import shell

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_SPLIT = flags.DEFINE_string("split", None, "The split; validation where several were mined.")


def main() -> None:
    from zfnet_jax.studies.features import atlas, chosen

    steps = chosen.mined_steps(_WORKDIR.value, _SPLIT.value)
    out = Path(_WORKDIR.value) / "report" / "atlas"
    atlas.write_atlas(list(steps.values()), out, progress=sys.stderr.isatty())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"steps {', '.join(map(str, steps))}, {size / 1e6:.1f} MB: {out / 'index.html'}")


if __name__ == "__main__":
    shell.run(main)
