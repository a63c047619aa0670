"""The second family, for transfer: ten kinds of objects that share no class with the first.

Same conventions as in `living`.
"""

# Rows of coordinates read better as they stand:
# fmt: off

from __future__ import annotations

import itertools

import numpy as np

from .canvas import Sketch, arc, box, curve, ellipse, polygon, smooth, turn
from .ink import Ink


def teapot(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wide, tall = rng.uniform(0.5, 0.62), rng.uniform(0.46, 0.58)
    s.stroke(curve((-wide + 0.1, -0.15), (-0.95, -0.3), (-1.0, 0.15), (-wide + 0.1, 0.45)), 0.13,
        ink.second, "handle")
    s.fill(smooth((wide - 0.15, 0.05), (0.75, -0.05), (0.9, -0.42), (1.06, -0.42), (0.98, 0.05),
        (wide - 0.1, 0.5)), ink.second, "spout")
    s.fill(ellipse(0, 0.2 + tall, 0.35, 0.1), ink.dark, "foot")
    s.fill(ellipse(0, 0.2, wide, tall), ink.main, "body")
    s.patch(ellipse(-0.05, 0.22, 0.2, 0.2), ink.accent)
    lid = 0.2 - tall
    s.fill(arc(0, lid + 0.1, 0.34, 0.26, 180, 360), ink.second, "lid")
    s.fill(ellipse(0, lid - 0.22, 0.09, 0.09), ink.accent, "knob")
    return s


def clock(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    bells = rng.random() < 0.7
    for side, name in ((-1, "right_foot"), (1, "left_foot")):
        s.stroke(polygon((side * 0.4, 0.6), (side * 0.6, 0.98)), 0.14, ink.second, name)
    if bells:
        s.stroke(curve((-0.25, -0.8), (0, -1.0), (0.25, -0.8)), 0.08, ink.dark, "grip")
        for side, name in ((-1, "right_bell"), (1, "left_bell")):
            s.fill(turn(arc(0, 0, 0.3, 0.26, 180, 360), side * 40) + (side * 0.48, -0.62),
                ink.accent, name)
    s.fill(ellipse(0, 0.05, 0.78, 0.78), ink.main, "case")
    s.fill(ellipse(0, 0.05, 0.6, 0.6), ink.light, "dial")
    for k in range(12):
        x, y = turn(np.array([0.5, 0.0]), 30 * k)
        r = 0.055 if k % 3 == 0 else 0.03
        s.patch(ellipse(x, y + 0.05, r, r), ink.dark, "dial")
    for length, width in ((0.28, 0.1), (0.42, 0.06)):
        hand = turn(np.array([[0.0, 0.0], [length, 0.0]]), rng.uniform(0, 360)) + (0, 0.05)
        s.stroke(hand, width, ink.dark, "hands")
    s.patch(ellipse(0, 0.05, 0.07, 0.07), ink.accent, "hands")
    return s


def umbrella(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    rim, tall, panels = rng.uniform(-0.15, 0.05), rng.uniform(0.7, 0.85), int(rng.integers(4, 7))
    s.stroke(polygon((0, rim - tall - 0.1), (0, 0.8)), 0.07, ink.dark, "shaft")
    s.stroke(curve((0, 0.75), (0.03, 0.95), (0.17, 0.98), (0.27, 0.8)), 0.1, ink.accent, "handle")
    edges = np.cos(np.linspace(np.pi, 0, panels + 1))
    dome = arc(0, rim, 1, tall, 180, 360)
    scallops = [arc((a + b) / 2, rim, (b - a) / 2, 0.14, 360, 180)
        for a, b in itertools.pairwise(edges)]
    s.fill(np.concatenate([dome, *scallops[::-1]]), ink.main, "canopy")
    for k in range(1, panels, 2):
        a, b = edges[k], edges[k + 1]
        rib, next_rib = (arc(0, rim, x, tall, -90, 0) for x in (a, b))
        s.fill(np.concatenate([rib, arc((a + b) / 2, rim, (b - a) / 2, 0.14, 180, 360),
            next_rib[::-1]]), ink.second, "canopy")
    s.patch(ellipse(0, rim - tall - 0.06, 0.05, 0.09), ink.dark, "tip")
    return s


def snail(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    size, neck = rng.uniform(0.5, 0.6), rng.uniform(-0.15, 0.05)
    for dx, name in ((-0.08, "rear_eye"), (0.14, "front_eye")):
        s.stroke(curve((0.78, neck + 0.1), (0.8 + dx * 0.5, neck - 0.2),
            (0.8 + 1.3 * dx, neck - 0.42)), 0.07, ink.main, name)
        s.fill(ellipse(0.8 + 1.3 * dx, neck - 0.46, 0.09, 0.09), ink.light, name)
        s.patch(ellipse(0.82 + 1.3 * dx, neck - 0.46, 0.045, 0.045), ink.dark, name)
    s.fill(smooth((-1.05, 0.72), (-0.5, 0.45), (0.2, 0.45), (0.5, 0.25), (0.62, neck),
        (0.85, neck - 0.08), (0.98, neck + 0.12), (0.85, 0.5), (0.6, 0.75), (0, 0.78)), ink.main,
        "body")
    s.stroke(curve((0.97, neck + 0.18), (0.88, neck + 0.22), (0.82, neck + 0.2)), 0.05, ink.dark,
        "mouth")
    x, y = -0.12, 0.6 - size - 0.02
    s.fill(ellipse(x, y, size, size), ink.second, "shell")
    angle = np.linspace(0, rng.uniform(4.2, 5.2) * np.pi, 60) + 0.5 * np.pi
    radius = np.linspace(0.92 * size, 0.06, 60)
    s.stroke(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1), 0.08,
        ink.accent, "shell")
    return s


def mushroom(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wide, rim, tall = rng.uniform(0.8, 1.0), rng.uniform(-0.1, 0.1), rng.uniform(0.7, 0.95)
    stem, foot = rng.uniform(0.2, 0.28), rng.uniform(0.28, 0.4)
    s.fill(smooth((-stem, rim), (stem, rim), (stem, 0.5), (foot, 0.95), (0, 1), (-foot, 0.95),
        (-stem, 0.5)), ink.light, "stem")
    s.fill(smooth((-stem - 0.12, rim + 0.2), (0, rim + 0.12), (stem + 0.12, rim + 0.2),
        (stem + 0.04, rim + 0.36), (0, rim + 0.28), (-stem - 0.04, rim + 0.36)), ink.second, "ring")
    s.fill(ellipse(0, rim, wide, 0.16), ink.second, "gills")
    for x in np.linspace(-0.75, 0.75, 9):
        s.stroke(polygon((x * 0.3, rim), (x * wide, rim + 0.12 * np.sqrt(1 - x * x))), 0.025,
            ink.dark, "gills")
    s.fill(np.concatenate([arc(0, rim, wide, tall, 180, 360), arc(0, rim, wide, 0.08, 0, 180)]),
        ink.main, "cap")
    for x, y, r in (
        (-0.5, 0.28, 0.13),
        (0.0, 0.3, 0.16),
        (0.52, 0.25, 0.12),
        (-0.22, 0.65, 0.12),
        (0.28, 0.62, 0.13),
    ):
        x, y = np.array([x, y]) + rng.uniform(-0.04, 0.04, 2)
        s.patch(ellipse(x * wide, rim - y * tall, r, r * 0.85), ink.accent, "cap")
    return s


def rocket(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wide, low = rng.uniform(0.28, 0.36), rng.uniform(0.4, 0.5)
    flame = rng.uniform(0.85, 1.05)
    s.fill(smooth((-0.2, low), (-0.24, low + 0.25), (-0.08, flame - 0.08), (0, flame),
        (0.08, flame - 0.08), (0.24, low + 0.25), (0.2, low)), ink.accent, "flame")
    s.patch(smooth((-0.1, low), (-0.11, low + 0.15), (0, flame - 0.2), (0.11, low + 0.15),
        (0.1, low)), ink.light, "flame")
    for side, name in ((-1, "right_fin"), (1, "left_fin")):
        s.fill(polygon((side * wide * 0.8, 0.0), (side * 0.72, 0.45), (side * 0.72, 0.78),
            (side * wide * 0.7, low)), ink.second, name)
    s.fill(smooth((0, -1.02), (wide * 0.7, -0.6), (wide, -0.1), (wide * 0.75, low),
        (0, low + 0.02), (-wide * 0.75, low), (-wide, -0.1), (-wide * 0.7, -0.6)), ink.main, "body")
    s.fill(smooth((0, -1.02), (wide * 0.45, -0.78), (wide * 0.7, -0.58), (0, -0.52),
        (-wide * 0.7, -0.58), (-wide * 0.45, -0.78)), ink.second, "nose_cone")
    s.fill(ellipse(0, -0.22, 0.18, 0.18), ink.accent, "window")
    s.patch(ellipse(0, -0.22, 0.12, 0.12), ink.light, "window")
    if rng.random() < 0.6:
        s.fill(ellipse(0, 0.16, 0.1, 0.1), ink.dark)
    s.fill(smooth((-0.06, 0.25), (0.06, 0.25), (0.07, 0.75), (-0.07, 0.75)), ink.second,
        "middle_fin")
    return s


def guitar(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    lower, waist = rng.uniform(0.48, 0.58), rng.uniform(0.24, 0.32)
    upper = lower * rng.uniform(0.7, 0.82)
    s.fill(smooth((0, -0.08), (upper * 0.8, 0.0), (upper, 0.2), (waist, 0.42), (lower, 0.7),
        (lower * 0.7, 0.97), (0, 1.02), (-lower * 0.7, 0.97), (-lower, 0.7), (-waist, 0.42),
        (-upper, 0.2), (-upper * 0.8, 0.0)), ink.main, "body")
    s.fill(ellipse(0, 0.36, 0.17, 0.17), ink.dark, "hole")
    s.ring(0, 0.36, 0.2, 0.05, ink.accent, "hole")
    s.fill(box(-0.2, 0.7, 0.2, 0.79), ink.dark, "bridge")
    s.fill(polygon((-0.09, 0.25), (-0.075, -0.72), (0.075, -0.72), (0.09, 0.25)), ink.second,
        "neck")
    for y in np.linspace(-0.6, 0.1, 6):
        s.stroke(polygon((-0.075, y), (0.075, y)), 0.025, ink.light, "neck")
    s.fill(polygon((-0.09, -0.7), (-0.14, -1.0), (0.14, -1.0), (0.09, -0.7)), ink.accent, "head")
    for side in (-1, 1):
        for y in (-0.78, -0.87, -0.96):
            s.patch(ellipse(side * 0.19, y, 0.05, 0.035), ink.dark, "head")
    for x in (-0.04, 0, 0.04):
        s.stroke(polygon((x, 0.74), (x, -0.7)), 0.014, ink.light, "strings")
    return s


def lighthouse(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    base, top, bands = rng.uniform(0.3, 0.38), rng.uniform(0.17, 0.22), int(rng.integers(2, 5))
    if rng.random() < 0.6:
        for side, name in ((-1, "right_beam"), (1, "left_beam")):
            s.patch(polygon((0, -0.66), (side * 0.95, -0.86), (side * 0.95, -0.5)), ink.light, name)
    s.fill(smooth((-0.75, 1), (-0.6, 0.8), (-0.2, 0.75), (0.3, 0.72), (0.65, 0.82), (0.75, 1)),
        ink.accent, "rock")
    s.fill(polygon((-base, 0.85), (-top, -0.45), (top, -0.45), (base, 0.85)), ink.main, "tower")
    ys = np.linspace(0.85, -0.45, 2 * bands + 1)
    for low, high in zip(ys[0::2], ys[1::2]):
        a, b = (top + (base - top) * (y + 0.45) / 1.3 for y in (low, high))
        s.patch(polygon((-a, low), (-b, high), (b, high), (a, low)), ink.second, "tower")
    s.fill(box(-0.08, 0.55, 0.08, 0.85), ink.dark, "door")
    s.fill(box(-0.14, -0.8, 0.14, -0.5), ink.light, "lantern")
    s.stroke(polygon((0, -0.8), (0, -0.5)), 0.035, ink.dark, "lantern")
    s.fill(box(-top - 0.1, -0.53, top + 0.1, -0.44), ink.dark, "gallery")
    s.fill(polygon((-0.22, -0.78), (0, -1.02), (0.22, -0.78)), ink.second, "roof")
    return s


def turtle(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wide, tall, turned = rng.uniform(0.5, 0.58), rng.uniform(0.6, 0.68), rng.uniform(-20, 20)
    for side, name in ((-1, "right"), (1, "left")):
        paddle = smooth((0, -0.1), (0.3, -0.2), (0.55, 0.05), (0.5, 0.18), (0.25, 0.08), (0, 0.12))
        fore = turn(paddle, -25 + turned * side) * (side, 1) + (side * (wide - 0.15), -0.32)
        hind = turn(paddle * 0.75, 40) * (side, 1) + (side * (wide - 0.2), 0.48)
        s.fill(fore, ink.second, f"{name}_fore_leg")
        s.fill(hind, ink.second, f"{name}_hind_leg")
    s.fill(polygon((-0.08, 0.6), (0.08, 0.6), (0, 0.98)), ink.second, "tail")
    s.fill(smooth((-0.13, -0.5), (-0.2, -0.8), (0, -1.02), (0.2, -0.8), (0.13, -0.5)), ink.second,
        "head")
    for side, name in ((-1, "right_eye"), (1, "left_eye")):
        s.patch(ellipse(side * 0.13, -0.82, 0.06, 0.06), ink.light, name)
        s.patch(ellipse(side * 0.14, -0.83, 0.035, 0.035), ink.dark, name)
    s.fill(ellipse(0, 0.05, wide, tall), ink.main, "shell")
    hexagon = turn(polygon(*[(np.cos(a), np.sin(a)) for a in np.arange(6) * np.pi / 3]), 30)
    for x, y in ((0, 0), (0, -0.4), (0, 0.4), (-0.3, -0.2), (0.3, -0.2), (-0.3, 0.2), (0.3, 0.2)):
        centre = (x * wide / 0.54, 0.05 + y * tall / 0.64)
        s.fill(hexagon * (0.32 * wide, 0.3 * tall) + centre, ink.accent, "shell")
    return s


def aeroplane(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    swept, slim = rng.uniform(0.15, 0.4), rng.uniform(0.13, 0.17)
    for side, name in ((-1, "right"), (1, "left")):
        flip = np.array([side, 1])
        wing = polygon((0.08, -0.3), (0.98, -0.1 + swept), (0.98, 0.07 + swept), (0.08, 0.2))
        s.fill(wing * flip, ink.second, f"{name}_wing")
        s.fill(ellipse(0.42, -0.15 + swept * 0.45, 0.08, 0.19) * flip, ink.accent, f"{name}_engine")
        s.fill(polygon((0.05, 0.6), (0.4, 0.8), (0.4, 0.93), (0.05, 0.88)) * flip, ink.second,
            f"{name}_tailplane")
    s.fill(smooth((0, -1.02), (slim, -0.75), (slim, 0), (slim * 0.7, 0.6), (0, 1),
        (-slim * 0.7, 0.6), (-slim, 0), (-slim, -0.75)), ink.main, "fuselage")
    s.patch(smooth((0, -0.9), (slim * 0.7, -0.76), (0, -0.7), (-slim * 0.7, -0.76)), ink.dark,
        "cockpit")
    for y in np.linspace(-0.5, 0.4, 6):
        for side in (-1, 1):
            s.patch(ellipse(side * slim * 0.55, y, 0.035, 0.045), ink.light)
    s.fill(polygon((-0.04, 0.62), (0.04, 0.62), (0.03, 0.98), (-0.03, 0.98)), ink.accent,
        "tail_fin")
    return s
