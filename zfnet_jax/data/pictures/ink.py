"""The colours that one drawing is made of, by the same law for every class."""

from __future__ import annotations

import dataclasses

import numpy as np

from .canvas import Colour, Paint, mix, random_colour, textured


@dataclasses.dataclass(frozen=True)
class Ink:
    """The colours of one drawing: three that stand out from each other, a light, a dark."""

    main: Paint
    second: Paint
    accent: Paint
    light: Paint
    dark: Paint
    line: Colour | None  # contours; None draws without

    @classmethod
    def random(cls, rng: np.random.Generator) -> Ink:
        main = random_colour(rng)
        second = random_colour(rng, [main])
        accent = random_colour(rng, [main, second])
        light = mix(random_colour(rng), (255, 255, 255), 0.8)
        dark = mix(random_colour(rng), (0, 0, 0), 0.8)
        line = (None, dark, dark, mix(main, (0, 0, 0), 0.65))[rng.integers(4)]
        return cls(
            main=textured(rng, main, 0.4),
            second=textured(rng, second, 0.4),
            accent=Paint(accent),
            light=Paint(light),
            dark=Paint(dark),
            line=line,
        )


def shaded(paint: Paint, share: float) -> Paint:
    """The paint's colour, darkened."""
    return Paint(mix(paint.colour, (0, 0, 0), share))
