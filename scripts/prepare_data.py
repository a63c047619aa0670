"""Decodes the pictures of a config once, to arrays that training reads directly.

python -m scripts.prepare_data --config=configs/imagenette.py [--config.data.image_size=128]

The result lies in config.data.prepared_dir. A stopped preparation goes on where it stopped when
the same command is given again.
"""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from zfnet_jax.command import shell
from zfnet_jax.data.prepare import prepare
from zfnet_jax.data.prepared import INDEX_SUFFIX, verify
from zfnet_jax.data.sources import SPLITS

_CONFIG = config_flags.DEFINE_config_file("config", None, "The config file.", lock_config=True)
_WORKERS = flags.DEFINE_integer(
    "workers", os.cpu_count() or 1, "Decoding processes.", lower_bound=1
)
_VERIFY = flags.DEFINE_bool("verify", False, "Only check the digests of what is prepared.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what is prepared already.")
_MEAN_ONLY = flags.DEFINE_bool(
    "mean_only", False, "Store no images: only labels, keys and mean, for config.data.streaming."
)


def main() -> None:
    data = _CONFIG.value.data
    suffix = INDEX_SUFFIX if _MEAN_ONLY.value else ""
    if _VERIFY.value:
        for split in SPLITS:
            verify(data.prepared_dir, split + suffix)
            print(f"{Path(data.prepared_dir) / (split + suffix)}: all digests are right")
        return
    manifests = prepare(
        data,
        workers=_WORKERS.value,
        store_images=not _MEAN_ONLY.value,
        overwrite=_OVERWRITE.value,
    )
    for split, manifest in manifests.items():
        folder = Path(data.prepared_dir) / (split + suffix)
        print(
            f"{folder}: {manifest['count']} images of {len(manifest['class_names'])} classes,"
            f" {manifest['unreadable']} unreadable, {manifest['ignored']} other files"
            f" (listed in {folder / 'skipped.json'})"
        )


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    shell.run(main)
