"""Writes one of the built-in pictures as an image file.

python -m scripts.draw_picture --class_name=face --seed=7 --size=224 --out=FILE.png
"""

from __future__ import annotations

from absl import flags
from PIL import Image

from zfnet_jax.command import outputs, shell
from zfnet_jax.data.pictures import OBJECTS, TRANSFER, draw

_CLASS = flags.DEFINE_enum(
    "class_name", None, [*OBJECTS, *TRANSFER], "What to draw.", required=True
)
_SEED = flags.DEFINE_integer("seed", 0, "Which one.", lower_bound=0)
_SIZE = flags.DEFINE_integer("size", 224, "Side, pixels.", lower_bound=8)
_OUT = flags.DEFINE_string("out", None, "The file to write.", required=True)


def main() -> None:
    out = outputs.file(_OUT.value, (".png", ".jpg", ".jpeg", ".webp"))
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(_CLASS.value, _SEED.value, _SIZE.value).image).save(out)
    print(out)


if __name__ == "__main__":
    shell.run(main)
