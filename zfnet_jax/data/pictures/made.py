"""Drawings of the first family: vehicles and a house; same conventions as in `living`."""

# Rows of coordinates read better as they stand:
# fmt: off

from __future__ import annotations

import numpy as np

from .canvas import Sketch, box, curve, ellipse, polygon, smooth, turn
from .ink import Ink, shaded


def wheel(s: Sketch, x: float, y: float, radius: float, ink: Ink, part: str) -> None:
    s.fill(ellipse(x, y, radius, radius), ink.dark, part)
    s.patch(ellipse(x, y, radius * 0.58, radius * 0.58), ink.light, part)
    s.patch(ellipse(x, y, radius * 0.22, radius * 0.22), ink.dark, part)


def car(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    kind = rng.choice(["saloon", "hatchback", "van"])
    roof, low, radius = rng.uniform(-0.62, -0.5), 0.35, rng.uniform(0.2, 0.25)
    back, bonnet = {"saloon": (-0.65, 0.6), "hatchback": (-0.92, 0.55), "van": (-0.96, 0.72)}[kind]
    slope = 0.25 if kind != "van" else 0.12
    rear = 0.2 if kind == "saloon" else 0.06
    s.fill(polygon((back, -0.08), (back + rear, roof), (bonnet - slope - 0.2, roof),
        (bonnet, -0.08)), ink.main, "cabin")
    s.fill(smooth((-1, -0.05), (-0.6, -0.12), (0.5, -0.12), (0.95, 0.0), (1.02, 0.2), (0.98, low),
        (0, low + 0.02), (-0.98, low), (-1.02, 0.15)), ink.main, "body")
    middle = (back + bonnet) / 2 - 0.08
    glass = ink.light if rng.random() < 0.6 else ink.accent
    s.fill(polygon((back + 0.13, -0.1), (back + rear + 0.07, roof + 0.1),
        (middle - 0.04, roof + 0.1), (middle - 0.04, -0.1)), glass, "rear_window")
    s.fill(polygon((middle + 0.05, -0.1), (middle + 0.05, roof + 0.1),
        (bonnet - slope - 0.22, roof + 0.1), (bonnet - 0.14, -0.1)), glass, "front_window")
    s.stroke(polygon((middle, -0.04), (middle, low - 0.05)), 0.035, shaded(ink.main, 0.5))
    s.stroke(polygon((middle - 0.22, 0.04), (middle - 0.1, 0.04)), 0.05, shaded(ink.main, 0.5))
    if rng.random() < 0.5:
        s.patch(polygon((-0.99, 0.17), (0.99, 0.17), (0.98, 0.27), (-0.98, 0.27)), ink.second)
    s.fill(ellipse(0.92, 0.08, 0.09, 0.09), ink.light, "headlight")
    s.patch(box(-1.0, 0.02, -0.9, 0.16), ink.accent, "tail_light")
    wheel(s, -0.55, low, radius, ink, "rear_wheel")
    wheel(s, 0.58, low, radius, ink, "front_wheel")
    return s


def bicycle(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    radius, tyre, tube = rng.uniform(0.38, 0.44), rng.uniform(0.07, 0.11), rng.uniform(0.07, 0.1)
    rear, front, hub_y = (-0.6, 0.35), (0.6, 0.35), 0.35
    rubber = ink.dark if rng.random() < 0.6 else ink.light
    spin = rng.uniform(0, 60)
    for (x, y), name in ((rear, "rear_wheel"), (front, "front_wheel")):
        for angle in np.arange(0, 180, 36) + spin:
            end = turn(np.array([[radius, 0.0]]), angle)
            s.stroke(np.concatenate([end, -end]) + (x, y), 0.025, ink.light, name)
        s.ring(x, y, radius, tyre, rubber, name)
        s.patch(ellipse(x, y, 0.06, 0.06), ink.accent, name)
    crank, top = (-0.05, hub_y + 0.03), -0.3 + rng.uniform(-0.06, 0.06)
    seat_x = -0.3 + rng.uniform(-0.05, 0.05)
    stem = (0.38, top - 0.12)
    saddle = (seat_x, top)
    down, cross = (0.42, top + 0.1), (0.4, top)
    for a, b in ((rear, crank), (rear, saddle), (crank, saddle), (crank, down), (saddle, cross),
        (stem, front)):
        s.stroke(polygon(a, b), tube, ink.main, "frame")
    s.ring(*crank, 0.1, 0.05, ink.accent, "pedals")
    s.stroke(polygon((crank[0] - 0.12, crank[1] + 0.18), (crank[0] + 0.12, crank[1] - 0.18)), 0.05,
        ink.accent, "pedals")
    s.stroke(polygon(saddle, (seat_x - 0.03, top - 0.2)), 0.06, ink.main)
    s.fill(smooth((seat_x - 0.22, top - 0.3), (seat_x + 0.2, top - 0.23),
        (seat_x - 0.05, top - 0.16), (seat_x - 0.2, top - 0.18)), ink.second, "saddle")
    if rng.random() < 0.5:
        bar = curve(stem, (0.5, top - 0.22), (0.68, top - 0.18), (0.62, top - 0.02))
    else:
        bar = curve(stem, (0.42, top - 0.28), (0.2, top - 0.32))
    s.stroke(bar, 0.08, ink.second, "handlebars")
    return s


def sailboat(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    top, bow, mast = rng.uniform(-1, -0.85), rng.uniform(0.85, 1.0), rng.uniform(-0.05, 0.1)
    s.stroke(polygon((mast, 0.5), (mast, top - 0.05)), 0.06, ink.dark, "mast")
    sail, belly = rng.uniform(-0.85, -0.65), rng.uniform(0.0, 0.12)
    edge = curve((mast - 0.05, top + 0.08), (mast - 0.42 - belly, -0.2), (sail, 0.33))
    s.fill(np.concatenate([edge, polygon((mast - 0.05, 0.33))]), ink.main, "mainsail")
    for y in (-0.3, 0.0):
        s.stroke(polygon((mast - 0.07, y), (mast - 0.25, y + 0.02)), 0.03, shaded(ink.main, 0.4))
    edge = curve((mast + 0.06, top + 0.2), (mast + 0.4 + belly, -0.05), (bow - 0.15, 0.35))
    s.fill(np.concatenate([edge, polygon((mast + 0.06, 0.33))]),
        ink.accent if rng.random() < 0.5 else ink.light, "jib")
    s.fill(polygon((mast + 0.02, top - 0.06), (mast + 0.3, top + 0.02), (mast + 0.02, top + 0.1)),
        ink.accent, "flag")
    deep = rng.uniform(0.82, 0.95)
    stern = curve((-0.4, deep), (-0.7, deep - 0.06), (-0.85, 0.47))
    prow = curve((bow + 0.05, 0.42), (bow * 0.72, deep - 0.06), (0.35, deep))
    s.fill(np.concatenate([stern, prow]), ink.second, "hull")
    s.patch(polygon((-0.83, 0.52), (bow - 0.02, 0.48), (bow - 0.08, 0.57), (-0.79, 0.6)), ink.light)
    for x in np.linspace(-0.4, 0.4, int(rng.integers(0, 4))):
        s.patch(ellipse(x, 0.72, 0.07, 0.07), ink.dark)
    return s


def house(rng: np.random.Generator, ink: Ink) -> Sketch:
    s = Sketch(ink.line)
    wide, eaves, ridge = rng.uniform(0.62, 0.85), rng.uniform(-0.25, -0.05), rng.uniform(-1, -0.8)
    chimney = rng.uniform(0.3, 0.5)
    s.fill(box(chimney, ridge - 0.02, chimney + 0.2, eaves), ink.accent, "chimney")
    s.patch(box(chimney - 0.04, ridge - 0.06, chimney + 0.24, ridge + 0.04), ink.dark, "chimney")
    s.fill(box(-wide, eaves - 0.02, wide, 0.9), ink.main, "wall")
    flat = rng.choice([0.0, 0.35])
    s.fill(polygon((-wide - 0.17, eaves + 0.04), (-flat, ridge), (flat, ridge),
        (wide + 0.17, eaves + 0.04)), ink.second, "roof")
    door = rng.choice([-0.45, 0.0, 0.45]) * wide / 0.85
    s.fill(box(door - 0.16, 0.3, door + 0.16, 0.9), ink.accent, "door")
    s.patch(ellipse(door + 0.09, 0.62, 0.035, 0.035), ink.dark, "door")
    places = [x for x in (-0.5 * wide, 0.5 * wide, 0.0) if abs(x - door) > 0.35][:2]
    pane = ink.light if rng.random() < 0.6 else ink.dark
    for number, x in enumerate(places, 1):
        y = 0.25 if rng.random() < 0.5 else 0.32
        s.fill(box(x - 0.17, y - 0.15, x + 0.17, y + 0.19), pane, f"window_{number}")
        bar = ink.dark if pane is ink.light else ink.light
        s.stroke(polygon((x, y - 0.15), (x, y + 0.19)), 0.04, bar, f"window_{number}")
        s.stroke(polygon((x - 0.17, y + 0.02), (x + 0.17, y + 0.02)), 0.04, bar, f"window_{number}")
    if flat == 0 and rng.random() < 0.5:
        s.fill(ellipse(0, (eaves + ridge) / 2 + 0.08, 0.13, 0.13), pane, "attic_window")
    return s
