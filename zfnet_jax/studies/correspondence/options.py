"""The options of Fig. 8 and Table 1: parts of faces covered, and random places."""

from __future__ import annotations

import dataclasses

from zfnet_jax.studies.options import option


@dataclasses.dataclass(frozen=True)
class Masking:
    """What is covered and where it is felt; the net decides which layers if none is given."""

    parts: str = option("right_eye,left_eye,nose", "Parts to mask, with commas.")
    layers: tuple[str, ...] = option(
        (),
        "An activation such as pool5 or fc6; may be repeated; the last conv layer and the last"
        " before the softmax, conv5 and fc7.",
        flag="layer",
    )
    mask: float = option(0.2, "Side of the grey square, as a share of the face's.")
    draws: int = option(100, "Random places per image.", lowest=1)
    permutations: int = option(9999, "Of the test against random places.", lowest=1)
    seed: int = option(0, "Of places and permutations.", lowest=0)


@dataclasses.dataclass(frozen=True)
class Options(Masking):
    """And of which images: photos or built-in pictures."""

    faces: str | None = option(None, "Folder of photos with a landmarks.json.")
    pictures: str | None = option(
        None, "Class of built-in pictures, such as face or cat, instead of photos."
    )
    count: int = option(15, "Built-in pictures.", lowest=2)
