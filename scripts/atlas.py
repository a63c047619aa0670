"""Makes the atlas of a run: a web page of every feature map, which opens from the file system.

python -m scripts.atlas --workdir=DIR

Needs the winners that `python -m scripts.mine` leaves; every checkpoint that was mined becomes a
place on the page's epoch slider.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from absl import flags

from scripts import shell

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_string("split", None, "The split that was mined, where several were.")


def main() -> None:
    from zfnet_jax.report import atlas

    folders = _mined_folders(Path(_WORKDIR.value) / "analysis" / "mining", _SPLIT.value)
    out = Path(_WORKDIR.value) / "report" / "atlas"
    atlas.write_atlas(folders, out, progress=sys.stderr.isatty())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{len(folders)} checkpoint(s), {size / 1e6:.1f} MB: open {out / 'index.html'}")


def _mined_folders(mining: Path, split: str | None) -> list[Path]:
    """The finished folders of one split."""
    splits: dict[str, list[Path]] = {}
    for path in sorted(mining.glob("*/info.json")):
        mined = json.loads(path.read_text(encoding="utf-8"))["split"]
        splits.setdefault(mined, []).append(path.parent)
    if not splits:
        raise ValueError(
            f"no mined winners in {mining}: run python -m scripts.mine --workdir={_WORKDIR.value}"
        )
    if split is None and len(splits) > 1:
        raise ValueError(f"{mining} holds the splits {', '.join(splits)}: choose with --split")
    if split is not None and split not in splits:
        raise ValueError(f"{mining} holds no split {split!r}, only {', '.join(splits)}")
    return splits[split or next(iter(splits))]


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    shell.run(main)
