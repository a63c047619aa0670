"""Looks into a net that somebody trained, with some photos, in one command.

python -m scripts.look --weights=FILE --images=FOLDER --out=DIR ...

It imports the net into DIR as scripts.import_weights does, with the same flags: what the file does
not say of its images must be given. It decodes the photos, in class folders or in none, into DIR;
without --images the built-in pictures. Then it finds what every feature map responds to and makes
the atlas of all of them, draws what each layer sees in a few photos, and slides a square over these
(occlusion). Where the net has classes and the photos' folders are called as they are (--classes),
it checks how many photos are named right, and says what the preprocessing may be instead if they
are hardly more than by chance.

Before it starts it says about how long it takes. Most of that is projecting the winners of every
map: a deep net on a CPU takes hours with the nine that the paper has, and --k=1 a ninth of them.

DIR/report/index.html shows it all. The same command again makes only what is not there yet; all
other scripts work on DIR, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from zfnet_jax.command import import_flags, outputs, shell
from zfnet_jax.studies.features.options import Options

if TYPE_CHECKING:
    from zfnet_jax.reproduce.looking import Look

_NET = import_flags.NetFlags()
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of photos, in class folders or in none; the built-in pictures."
)
_OUT = flags.DEFINE_string("out", None, "Folder for all of it, a run's folder then.", required=True)
_K = flags.DEFINE_integer(
    "k", Options.k, "Winners per map; fewer take as much less time.", lower_bound=1
)
_BATCH = flags.DEFINE_integer(
    "batch_size", None, "Images per step; as many as 2 GB of activations are of.", lower_bound=1
)


def main() -> None:
    from configs import zfnet  # after the flags, so that --help needs no jax
    from zfnet_jax.reproduce import looking

    out, base = outputs.folder(_OUT.value), zfnet.get_config()
    imported = _NET.read(base)
    try:
        found = looking.look(
            out, imported, base, _IMAGES.value, winners=_K.value, batch_size=_BATCH.value
        )
    except KeyboardInterrupt:
        raise shell.fail("stopped: the same command goes on", code=130) from None
    _tell(out, found)
    failed = [row for row in found.rows if row.state == "failed"]
    if failed:
        raise ValueError("; ".join(f"{row.step.name}: {row.reason}" for row in failed))


def _tell(out: Path, found: Look) -> None:
    """Where everything is, what the check says, and the commands that make each part alone."""
    from zfnet_jax.reproduce.record import read_record

    print(f"\nthe net, as a run's folder: {out}")
    print(f"the photos, as it takes them: {found.photos}")
    check: list[str] = []
    for row in found.rows:
        title = row.step.entry.heading if row.step.entry else row.step.title
        record = read_record(out, row.step.name)
        if row.state in ("missing", "failed") or record is None:
            print(f"{title}: not made: {row.reason}")
            continue
        files = [Path(name) for name in record["files"]]
        shown = [path for path in files if path.name == "index.html"]
        shown = shown or [path for path in files if path.suffix in (".png", ".md")]
        shown = shown or sorted({path.parent for path in files})
        print(f"{title}: {', '.join(str(out / path) for path in shown)}".removesuffix(": "))
        for line in [*record["notes"], *record["commands"]]:
            print(f"  {line}")
        if row.step.name == "check":
            check = record["notes"]
    print(f"all of it, on one page: {found.page}")
    for line in check:  # last, where it is not overlooked
        print(line)


if __name__ == "__main__":
    shell.run(main)
