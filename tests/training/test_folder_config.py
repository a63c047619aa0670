"""Fifty photos through configs/folder.py: prepared and trained as its rules say."""

from __future__ import annotations

import pytest

from configs import folder, quickstart
from tests.conftest import SHALLOW
from tests.photo_folders import save_photos
from zfnet_jax.data.prepare import prepare
from zfnet_jax.runs import workdir
from zfnet_jax.training import train
from zfnet_jax.training.metrics import read_metrics

TOLD = """by the rules of configs/folder.py, unless set otherwise: 50 photos of 4 classes: \
40 to train on, 10 held out
fewer than 20000 to train on: a third of ZFNet's widths, crops of 112 of 128 pixels
batches of 8: 40 / 40 steps an epoch = 1, from 8 to 64, a power of two
200 epochs: 210000 photos seen / 40 = 5250, from 40 to 200
the largest class has 4.0 times the photos of the smallest: class weights inverse (3 times and \
more: inverse)
"""
# So that it takes a moment; the net itself is the quickstart's.
NARROW = {
    name: value
    for name, value in quickstart.TINY.items()
    if name.startswith("model.") or name in ("data.image_size", "augment.crop")
}


def test_fifty_photos_are_trained_on_by_the_rules_which_are_told(tmp_path, capsys):
    photos = tmp_path / "photos"
    save_photos(photos, {"a": 20, "b": 15, "c": 10, "d": 5})
    config = folder.get_config(str(photos))
    config.update_from_flattened_dict(NARROW | SHALLOW | {"epochs": 1})
    config.data.prepared_dir = str(tmp_path / "prepared")
    prepare(config.data, workers=1, store_images=True, overwrite=False, progress=False)
    capsys.readouterr()
    train.train_and_evaluate(config, tmp_path / "run")
    assert capsys.readouterr().out.startswith(TOLD)
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == [5]
    assert len((workdir.saved_config(tmp_path / "run") or {})["rules"]) == 5

    (photos / "val").mkdir()
    save_photos(photos / "train", {"a": 1})
    with pytest.raises(ValueError, match=r"photos: .*train holds 1 folders of photos"):
        folder.get_config(str(photos))
    save_photos(photos / "train", {"b": 1})
    assert folder.get_config(str(photos)).data.folder.validation == str(photos / "val")
