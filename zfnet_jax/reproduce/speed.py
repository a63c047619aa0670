"""How fast this machine runs the net: what a plan's times are estimated from."""

from __future__ import annotations

import json
import time

import jax
import numpy as np

from zfnet_jax.files import write_json
from zfnet_jax.reproduce.record import FOLDER
from zfnet_jax.reproduce.reproduction import Reproduction

_BATCH, _PASSES = 32, 3


def images_per_second(reproduction: Reproduction) -> float:
    """Images forwarded a second, measured once for a net and kind of device and then kept."""
    path = reproduction.report / FOLDER / "speed.json"
    key = f"{reproduction.net} on {jax.device_count()} x {jax.devices()[0].device_kind}"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["key"] == key:
            return known["images_per_second"]
    size = reproduction.run.config.data.image_size
    inputs = reproduction.run.inputs(np.zeros((_BATCH, size, size, 3), np.uint8))
    jax.block_until_ready(reproduction.run.forward(inputs))  # compiles
    began = time.perf_counter()
    for _ in range(_PASSES):
        jax.block_until_ready(reproduction.run.forward(inputs))
    found = _PASSES * _BATCH / (time.perf_counter() - began)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": key, "images_per_second": round(found, 2)})
    return found
