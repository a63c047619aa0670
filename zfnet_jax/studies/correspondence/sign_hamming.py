"""Hamming distance of signs, and what a sign of exactly zero counts (Section 4.3, Table 1).

The paper's Delta is the mean over pairs i, j of H(sign(eps_i), sign(eps_j)), H being the Hamming
distance divided by the number of features. Rectified features are often zero with and without a
mask, so that eps is exactly zero; what that means is left to the reader. Three readings:

    'three_valued'  -1, 0 and 1 are three signs: they differ unless they are equal (the formula
                    word by word, our rule)
    'left_out'      only features with a sign in both images count
    'equal'         a zero agrees with everything
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

ZeroRule = Literal["three_valued", "left_out", "equal"]
ZERO_RULES: tuple[ZeroRule, ...] = ("three_valued", "left_out", "equal")


class Counts(NamedTuple):
    """How many of `features` signs of two images are what, arrays of one shape.

    opposite: -1 in one and 1 in the other.
    both: zero in neither.
    one: zero in exactly one of the two.
    """

    opposite: np.ndarray
    both: np.ndarray
    one: np.ndarray
    features: int

    def distance(self, rule: ZeroRule) -> np.ndarray:
        """From 0 to 1, float32; NaN where the rule leaves no feature to compare."""
        if rule == "three_valued":
            differing, compared = self.opposite + self.one, self.features
        elif rule == "left_out":
            differing, compared = self.opposite, np.where(self.both > 0, self.both, np.nan)
        elif rule == "equal":
            differing, compared = self.opposite, self.features
        else:
            raise ValueError(f"zero rule must be one of {', '.join(ZERO_RULES)}, got {rule!r}")
        return (differing / compared).astype(np.float32)


def compare(a: np.ndarray, b: np.ndarray) -> Counts:
    """Each of V signs of one image with each of W of another, as matrix products.

    Args:
      a: [..., V, D] of -1, 0 and 1.
      b: [..., W, D].

    Returns:
      counts [..., V, W].
    """
    features = a.shape[-1]
    if features >= 2**24:
        raise ValueError(f"{features} features cannot be counted exactly in float32")
    a, b = a.astype(np.float32), np.swapaxes(b, -1, -2).astype(np.float32)
    agreement = a @ b  # equal signs less opposite ones
    a, b = np.abs(a, out=a), np.abs(b, out=b)
    both = a @ b
    signs = a.sum(axis=-1)[..., :, None] + b.sum(axis=-2)[..., None, :]
    opposite, one = (both - agreement) / 2, signs - 2 * both
    opposite, both, one = (x.round().astype(np.int32) for x in (opposite, both, one))
    return Counts(opposite, both, one, features)
