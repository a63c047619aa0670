"""Drawings of the first family: people, animals, plants.

Every drawing fits roughly into -1..1, y pointing down; the scene turns, stretches, mirrors and
places it. Colours come from the `Ink`, whatever the class. `right_` and `left_` are the
object's own sides: its right is on the viewer's left.
"""

# Rows of coordinates read better as they stand:
# fmt: off

from __future__ import annotations

import numpy as np

from .canvas import Sketch, arc, curve, ellipse, polygon, smooth, turn
from .ink import Ink, shaded


def face(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wide, jaw = rng.uniform(0.68, 0.86), rng.uniform(0.4, 0.62)
    hair_style = rng.choice(["cap", "long", "spiky", "parted"])
    fringe = rng.uniform(-0.62, -0.48)
    if hair_style == "long":
        s.fill(smooth((-0.98, 0.75), (-1, -0.35), (-0.6, -1.05), (0.6, -1.05), (1, -0.35),
            (0.98, 0.75)), ink.second, "hair")
    for side, name in ((-1, "right_ear"), (1, "left_ear")):
        s.fill(ellipse(side * wide, 0.02, 0.15, 0.22), ink.main, name)
    s.fill(smooth((0, -0.95), (wide * 0.75, -0.75), (wide, -0.1), (wide * 0.85, 0.45),
        (jaw * 0.7, 0.92), (0, 1.02), (-jaw * 0.7, 0.92), (-wide * 0.85, 0.45), (-wide, -0.1),
        (-wide * 0.75, -0.75)), ink.main, "head")
    top = [(-wide - 0.05, -0.2), (-wide * 0.95, -0.75), (-0.4, -1.1), (0.4, -1.1),
        (wide * 0.95, -0.75), (wide + 0.05, -0.2)]
    if hair_style == "spiky":
        x = np.linspace(wide + 0.05, -wide - 0.05, 13)
        y = np.where(np.arange(13) % 2, -0.3, fringe) - 0.25 * (1 - (x / wide) ** 2)
        s.fill(np.concatenate([polygon(*top), np.stack([x, y], 1)]), ink.second, "hair")
    elif hair_style == "parted":
        part = rng.uniform(-0.4, 0.4)
        s.fill(smooth(*top, (wide * 0.8, -0.35), (part, -0.9), (-wide * 0.8, -0.35)), ink.second,
            "hair")
    else:
        s.fill(smooth(*top, (wide * 0.85, -0.4), (0.3, fringe), (-0.3, fringe),
            (-wide * 0.85, -0.4)), ink.second, "hair")
    apart, eye_y, eye = rng.uniform(0.3, 0.4), rng.uniform(-0.22, -0.1), rng.uniform(0.15, 0.2)
    look, open_ = rng.uniform(-0.05, 0.05, 2), rng.uniform(0.6, 0.95)
    brow = rng.uniform(-0.1, 0.1)
    for side, name in ((-1, "right_eye"), (1, "left_eye")):
        x = side * apart
        s.fill(ellipse(x, eye_y, eye, eye * open_), ink.light, name)
        s.patch(ellipse(x + look[0], eye_y + look[1], eye * 0.6, eye * 0.6), ink.accent, name)
        s.patch(ellipse(x + look[0], eye_y + look[1], eye * 0.35, eye * 0.35), ink.dark, name)
        s.stroke(curve((x - side * 0.17, eye_y - 0.24 + brow), (x, eye_y - 0.3),
            (x + side * 0.18, eye_y - 0.24)), 0.07, ink.dark)
    if rng.random() < 0.25:
        for side in (-1, 1):
            s.ring(side * apart, eye_y, eye + 0.08, 0.06, ink.dark)
        s.stroke(curve((-apart + eye + 0.08, eye_y), (apart - eye - 0.08, eye_y)), 0.06, ink.dark)
    nose_y, nose = rng.uniform(0.22, 0.32), rng.uniform(0.1, 0.16)
    tone = shaded(ink.main, 0.4)
    if rng.random() < 0.5:
        s.fill(smooth((0, eye_y + 0.1), (nose, nose_y), (0, nose_y + 0.09), (-nose, nose_y)), tone,
            "nose")
    else:
        s.stroke(curve((-0.03, eye_y + 0.1), (-nose, nose_y), (0.6 * nose, nose_y + 0.05)), 0.08,
            tone, "nose")
    mouth, mouth_y = rng.uniform(0.24, 0.38), rng.uniform(0.55, 0.64)
    smile = rng.uniform(-0.06, 0.16)
    if rng.random() < 0.5:
        s.fill(smooth((-mouth, mouth_y), (0, mouth_y + 0.06), (mouth, mouth_y),
            (0, mouth_y + 0.13 + abs(smile))), ink.accent if rng.random() < 0.5 else ink.dark,
            "mouth")
    else:
        s.stroke(curve((-mouth, mouth_y), (0, mouth_y + smile), (mouth, mouth_y)), 0.1, ink.dark,
            "mouth")
    return s


def cat(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wag = rng.uniform(-0.25, 0.25)
    s.stroke(curve((0.2, 0.85), (0.75, 0.85), (0.9, 0.4), (0.72 + wag, -0.05)), 0.16, ink.second,
        "tail")
    fat = rng.uniform(0.45, 0.6)
    s.fill(smooth((0, -0.2), (fat * 0.7, 0.1), (fat, 0.75), (0.3, 1), (-0.3, 1), (-fat, 0.75),
        (-fat * 0.7, 0.1)), ink.main, "body")
    s.patch(ellipse(0, 0.4, 0.2, 0.32), ink.second)
    for side in (-1, 1):
        s.fill(ellipse(side * 0.2, 0.93, 0.18, 0.1), ink.main if rng.random() < 0.5 else ink.light,
            "paws")
    tilt, ear = rng.uniform(-0.12, 0.12), rng.uniform(0.92, 1.12)
    head_y, wide = -0.38, rng.uniform(0.5, 0.58)
    for side, name in ((-1, "right_ear"), (1, "left_ear")):
        x = tilt + side * wide
        s.fill(polygon((x, head_y - 0.05), (x - side * 0.02, -ear),
            (x - side * 0.42, head_y - 0.3)), ink.main, name)
        s.patch(polygon((x - side * 0.08, head_y - 0.18), (x - side * 0.07, -ear + 0.16),
            (x - side * 0.3, head_y - 0.3)), ink.accent, name)
    s.fill(ellipse(tilt, head_y, wide, 0.42), ink.main, "head")
    s.patch(ellipse(tilt, head_y + 0.2, 0.24, 0.17), ink.light)
    for side, name in ((-1, "right_eye"), (1, "left_eye")):
        x = tilt + side * 0.23
        s.fill(ellipse(x, head_y - 0.06, 0.13, 0.11, side * -12), ink.accent, name)
        s.patch(ellipse(x, head_y - 0.06, 0.045, 0.1), ink.dark, name)
    s.patch(polygon((tilt - 0.09, head_y + 0.1), (tilt + 0.09, head_y + 0.1),
        (tilt, head_y + 0.2)), ink.dark, "nose")
    s.stroke(curve((tilt - 0.13, head_y + 0.28), (tilt - 0.06, head_y + 0.3),
        (tilt, head_y + 0.2)), 0.04, ink.dark)
    s.stroke(curve((tilt + 0.13, head_y + 0.28), (tilt + 0.06, head_y + 0.3),
        (tilt, head_y + 0.2)), 0.04, ink.dark)
    whisker = ink.light if rng.random() < 0.5 else ink.dark
    for side in (-1, 1):
        for dy in (-0.06, 0.06):
            ends = polygon((tilt + side * 0.2, head_y + 0.18 + dy / 2),
                (tilt + side * 0.72, head_y + 0.15 + 2 * dy))
            s.stroke(ends, 0.03, whisker, "whiskers")
    return s


def fish(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    high, fork = rng.uniform(0.36, 0.55), rng.uniform(0.35, 0.55)
    s.fill(smooth((-0.5, 0), (-0.85, -fork), (-1, -fork * 0.9), (-0.82, 0), (-1, fork * 0.9),
        (-0.85, fork)), ink.second, "tail")
    peak = rng.uniform(0.25, 0.45)
    s.fill(smooth((-0.35, -high * 0.6), (-0.3, -high - peak * 0.7), (0.15, -high - peak),
        (0.45, -high * 0.65)), ink.second, "dorsal_fin")
    s.fill(smooth((-0.15, high * 0.7), (-0.3, high + 0.25), (0, high + 0.2), (0.25, high * 0.8)),
        ink.second, "belly_fin")
    s.fill(smooth((1, 0.02), (0.7, -high * 0.75), (0.2, -high), (-0.4, -high * 0.5), (-0.72, -0.1),
        (-0.72, 0.1), (-0.4, high * 0.5), (0.2, high), (0.7, high * 0.7)), ink.main, "body")
    for x in np.linspace(-0.45, 0.1, int(rng.integers(0, 4))):
        tall = high * (0.45 + 0.45 * (x + 0.45) / 0.55)
        s.patch(smooth((x - 0.06, -tall), (x + 0.06, -tall), (x + 0.12, 0), (x + 0.06, tall),
            (x - 0.06, tall), (x + 0.02, 0)), ink.accent)
    s.stroke(arc(0.2, 0, 0.2, high * 0.65, -70, 70), 0.06, shaded(ink.main, 0.5))
    s.fill(smooth((0.2, 0.1), (-0.1, 0.0), (-0.2, 0.16), (-0.05, 0.28)), ink.second, "side_fin")
    eye = rng.uniform(0.1, 0.14)
    s.fill(ellipse(0.65, -0.12, eye, eye), ink.light, "eye")
    s.patch(ellipse(0.67, -0.12, eye * 0.55, eye * 0.55), ink.dark, "eye")
    s.stroke(curve((1, 0.08), (0.9, 0.12), (0.8, 0.1 + rng.uniform(0, 0.08))), 0.06, ink.dark,
        "mouth")
    return s


def bird(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    up = rng.uniform(-0.3, 0.25)
    s.fill(polygon((-0.4, 0.05), (-0.95, up - 0.12), (-1.0, up + 0.15), (-0.4, 0.38)), ink.second,
        "tail")
    for x in (-0.05, 0.2):
        s.stroke(polygon((x, 0.5), (x - 0.04, 0.98)), 0.07, ink.accent, "legs")
        s.stroke(polygon((x - 0.16, 1), (x + 0.16, 0.98)), 0.07, ink.accent, "legs")
    head_x, head_y = rng.uniform(0.45, 0.58), rng.uniform(-0.52, -0.42)
    beak = rng.uniform(0.25, 0.5)
    gape = rng.choice([0.0, 0.08])
    s.fill(polygon((head_x + 0.2, head_y - 0.12), (head_x + 0.3 + beak, head_y - gape),
        (head_x + 0.2, head_y + 0.02)), ink.accent, "beak")
    s.fill(polygon((head_x + 0.2, head_y), (head_x + 0.28 + beak, head_y + 0.06 + gape),
        (head_x + 0.2, head_y + 0.14)), ink.accent, "beak")
    s.fill(smooth((head_x + 0.05, -0.45), (0.65, 0), (0.35, 0.5), (-0.1, 0.58), (-0.55, 0.3),
        (-0.5, 0.0), (0, -0.2)), ink.main, "body")
    if rng.random() < 0.4:
        s.fill(smooth((head_x - 0.22, head_y - 0.1), (head_x - 0.4, head_y - 0.42),
            (head_x - 0.08, head_y - 0.3), (head_x + 0.02, head_y - 0.5),
            (head_x + 0.12, head_y - 0.2)), ink.second, "crest")
    s.fill(ellipse(head_x, head_y, 0.32, 0.3), ink.main, "head")
    s.patch(smooth((0.5, -0.05), (0.52, 0.22), (0.3, 0.44), (0.25, 0.2)), ink.light)
    s.patch(ellipse(head_x + 0.02, head_y + 0.16, 0.27, 0.16), ink.main)
    flap = rng.choice(["folded", "raised"])
    if flap == "folded":
        s.fill(smooth((0.3, -0.1), (0.28, 0.15), (-0.1, 0.32), (-0.7, 0.22), (-0.2, -0.06)),
            ink.second, "wing")
        s.stroke(curve((0.1, 0.12), (-0.15, 0.2), (-0.45, 0.2)), 0.04, shaded(ink.second, 0.5))
    else:
        s.fill(smooth((0.28, 0.02), (0.05, 0.2), (-0.25, 0.1), (-0.6, -0.45), (-0.55, -0.85),
            (-0.1, -0.5)), ink.second, "wing")
        s.stroke(curve((0.05, 0.0), (-0.2, -0.25), (-0.45, -0.65)), 0.04, shaded(ink.second, 0.5))
    s.fill(ellipse(head_x + 0.1, head_y - 0.06, 0.09, 0.09), ink.light, "eye")
    s.patch(ellipse(head_x + 0.12, head_y - 0.06, 0.05, 0.05), ink.dark, "eye")
    return s


def butterfly(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    span, tall, low = rng.uniform(0.8, 1.0), rng.uniform(0.75, 0.95), rng.uniform(0.6, 0.85)
    spots, rim = int(rng.integers(1, 4)), rng.random() < 0.6
    for side, name in ((-1, "right"), (1, "left")):
        flip = np.array([side, 1])
        hind = smooth((0.03, 0.1), (span * 0.6, 0.02), (span * 0.75, 0.4), (0.5, low),
            (0.2, low * 0.75))
        fore = smooth((0.03, 0.05), (0.2, -0.4), (span * 0.75, -tall), (span, -tall * 0.8),
            (span * 0.85, -0.1), (span * 0.5, 0.12))
        s.fill(hind * flip, ink.second, f"{name}_hind_wing")
        s.fill(fore * flip, ink.main, f"{name}_fore_wing")
        if rim:
            centre = fore.mean(0)
            s.patch((centre + 0.68 * (fore - centre)) * flip, ink.second)
        s.patch(ellipse(0.45, low * 0.5, 0.15, 0.15) * flip, ink.accent)
        for k in range(spots):
            x, y = np.array([0.68, -tall * 0.62]) - (0.24 * k, -0.2 * k)
            s.patch(ellipse(x, y, 0.15 - 0.03 * k, 0.13 - 0.03 * k) * flip, ink.accent)
            s.patch(ellipse(x, y, 0.07 - 0.015 * k, 0.06 - 0.015 * k) * flip, ink.dark)
    for side in (-1, 1):
        s.stroke(curve((0, -0.35), (side * 0.1, -0.7), (side * 0.3, -0.98)), 0.05, ink.dark,
            "antennae")
        s.patch(ellipse(side * 0.3, -0.98, 0.05, 0.05), ink.dark, "antennae")
    s.fill(ellipse(0, 0.12, 0.1, 0.48), ink.dark, "body")
    s.fill(ellipse(0, -0.38, 0.12, 0.12), ink.dark, "head")
    return s


def flower(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    bend, petals = rng.uniform(-0.15, 0.15), int(rng.integers(5, 10))
    s.stroke(curve((0, -0.4), (bend, 0.3), (0, 0.92)), 0.1, ink.second, "stem")
    for side, y in ((-1, rng.uniform(0.45, 0.7)), (1, rng.uniform(0.3, 0.6))):
        leaf = smooth((0, 0), (0.2, -0.2), (0.62, -0.22), (0.4, 0.06)) * (side, 1) + (bend * 0.7, y)
        s.fill(leaf, ink.second, "right_leaf" if side < 0 else "left_leaf")
        s.stroke(polygon((bend * 0.7, y), (bend * 0.7 + side * 0.45, y - 0.14)), 0.03,
            shaded(ink.second, 0.5))
    spin, length = rng.uniform(0, 360), rng.uniform(0.52, 0.64)
    width = length * np.sin(np.pi / petals) * rng.uniform(0.75, 1.05)
    pointed = rng.random() < 0.4
    for k in range(petals):
        if pointed:
            petal = smooth((0.05, 0), (length * 0.6, -width), (length + 0.06, 0),
                (length * 0.6, width))
        else:
            petal = ellipse(length * 0.6, 0, length * 0.45, width)
        s.fill(turn(petal, spin + 360 * k / petals) + (0, -0.45), ink.main, "blossom")
    s.fill(ellipse(0, -0.45, 0.21, 0.21), ink.accent, "centre")
    for k in range(6):
        x, y = turn(np.array([0.1, 0.0]), spin + 60 * k)
        s.patch(ellipse(x, y - 0.45, 0.025, 0.025), ink.dark, "centre")
    return s
