"""Decoding JPEGs to the pixels that training sees, beside other decoders, per second of one core.

Photos are a folder's (--photos), or built-in pictures saved as JPEG. A decoder that is not
installed has no row; one whose pixels are not ours says so in its row. The fastest of the others
sets the target.
"""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Callable, Iterator

import numpy as np

from scripts.benchmarks.input import encoded_photos
from scripts.benchmarks.trials import Options, Row, spread

_SIZE = 256  # of prepared squares

Decoder = Callable[[bytes], np.ndarray]


def rows(options: Options) -> Iterator[Row]:
    from zfnet_jax.data import decode

    photos = encoded_photos(options.photos)
    forms: dict[str, Decoder] = {"ours": lambda data: np.asarray(decode.decode(data))} | _others()
    expected = [forms["ours"](data) for data in photos]
    same = {
        name: all(np.array_equal(form(data), one) for data, one in zip(photos, expected))
        for name, form in forms.items()
    }
    whole = "ours, and resized and cut as prepare_data does"
    forms[whole] = lambda data: decode.centre_square(decode.decode(data), _SIZE)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(1 + options.trials):
        for name, form in forms.items():
            began = time.process_time()
            for data in photos:
                form(data)
            seconds[name].append(time.process_time() - began)
    rates = {
        name: spread([len(photos) / one for one in taken[1:]]) for name, taken in seconds.items()
    }
    ours, _, _ = rates["ours"]
    fastest = max((rate[0], name) for name, rate in rates.items() if same.get(name))[1]
    for name, rate in rates.items():
        yield Row(
            f"decoding {len(photos)} JPEGs, per second of a core",
            name if same.get(name, True) else f"{name}: other pixels",
            "images/s",
            *rate,
            ratio=None if name == "ours" else ours / rate[0],
            target=1 if name == fastest != "ours" else None,
            at_least=True,
        )


def _others() -> dict[str, Decoder]:
    """Decoders that are installed, by name."""
    from PIL import Image

    forms: dict[str, Decoder] = {
        "Pillow alone": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    }
    if importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        forms["simplejpeg"] = simplejpeg.decode_jpeg
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        forms["OpenCV"] = lambda data: np.asarray(
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        )
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        forms["TensorFlow, as TFDS decodes"] = lambda data: tf.io.decode_jpeg(
            data, channels=3, dct_method="INTEGER_ACCURATE"
        ).numpy()
    if importlib.util.find_spec("torchvision"):
        import torch

        vision = importlib.import_module("torchvision.io")
        forms["torchvision"] = lambda data: (
            vision.decode_jpeg(
                torch.frombuffer(bytearray(data), dtype=torch.uint8), vision.ImageReadMode.RGB
            )
            .permute(1, 2, 0)
            .numpy()
        )
    return forms
