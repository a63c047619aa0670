"""Every config builds its net and its schedules, is locked, and names what is misspelt."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jax
import pytest
from ml_collections import ConfigDict

from configs import (
    architectures,
    claims,
    folder,
    imagenette,
    quickstart,
    tiny_imagenet,
    zfnet,
    zfnet_gpu,
)
from tests import forked
from tests.conftest import ROOT
from zfnet_jax import architecture, geometry, model
from zfnet_jax.runs import titles, workdir
from zfnet_jax.training import optimizer

CONFIGS = {
    **{f"zfnet:{name}": (zfnet.get_config, name) for name in architectures.table3()},
    "imagenette:small": (imagenette.get_config, "small"),
    "imagenette:full": (imagenette.get_config, "full"),
    "tiny_imagenet:wide": (tiny_imagenet.get_config, "wide"),
    "zfnet_gpu:one": (zfnet_gpu.get_config, "one"),
    "zfnet_gpu:eight": (zfnet_gpu.get_config, "eight"),
}
ALONE = {"quickstart": quickstart.get_config, "tiny_imagenet": tiny_imagenet.get_config}


@pytest.mark.parametrize("name", [*CONFIGS, *ALONE])
def test_config_builds(name):
    if name in ALONE:
        config = ALONE[name]()
    else:
        get_config, arg = CONFIGS[name]
        config = get_config(arg)
    net = model.from_config(config.model, classes=10)
    crop = config.augment.crop
    assert crop < config.data.image_size
    assert min(geometry.layer_sizes(net.architecture, crop).values()) >= 1
    images = jax.ShapeDtypeStruct((1, crop, crop, 3), "float32")
    logits, _ = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x), images)[0]
    assert logits.shape == (1, 10)
    optimizer.momentum(config.optimizer)
    schedule = optimizer.learning_rate_schedule(
        config.optimizer, batch_size=config.batch_size, epochs=2, steps_per_epoch=3
    )
    assert 0 < float(schedule(2)) < 1


def test_the_claims_are_one_change_each_and_the_strides_compare_maps_of_one_size():
    runs = {}
    claims.sweep(lambda name, changes, label: runs.__setitem__(name, (changes, label)))
    more = len(claims.MORE_SEEDS) * len(claims.OPEN_ROWS)
    assert len(runs) == len(claims.ROWS) * len(claims.SEEDS) + more
    assert len({label for _, label in runs.values()}) == len(claims.ROWS)
    sizes = {}
    for name, (changes, _) in runs.items():
        config = claims.get_config()
        config.update_from_flattened_dict(changes)
        net = model.from_config(config.model, classes=200)
        sizes[name] = geometry.layer_sizes(net.architecture, config.augment.crop)
        assert min(sizes[name].values()) >= 1
    two, four = sizes["stride_2_seed_0"], sizes["stride_4_seed_0"]
    assert (two["conv1"], four["conv1"]) == (26, 13)
    assert two["conv2"] == four["conv2"] == 7


def test_the_default_is_the_recipe_of_the_paper():
    config = zfnet.get_config()
    assert (config.batch_size, config.epochs, config.model.dropout) == (128, 70, 0.5)
    assert (config.optimizer.learning_rate, config.optimizer.momentum) == (1e-2, 0.9)
    assert (config.optimizer.rms_limit, config.optimizer.weight_decay) == (1e-1, 0.0)
    assert (config.model.init, config.model.init_std) == ("normal", 1e-2)
    assert (config.data.image_size, config.augment.crop, config.augment.crops) == (256, 224, "ten")
    assert config.optimizer.schedule == "plateau"
    assert tuple(config.checkpoint.keep_epochs) == (1, 2, 5, 10, 20, 30, 40, 64)


def test_the_recipe_for_gpus_is_the_papers_net_and_goes_with_the_batch():
    paper = zfnet.get_config()
    for arg, batch, peak in (("one", 256, 0.02), ("eight", 1024, 0.08)):
        config = zfnet_gpu.get_config(arg)
        assert optimizer.peak_rate(config.optimizer, config.batch_size) == pytest.approx(peak)
        assert (config.batch_size, config.model.dtype) == (batch, "bfloat16")
        config.model.update(paper.model)
        assert config.model == paper.model
        assert config.data == paper.data


@pytest.mark.parametrize(
    ("counts", "held_out", "chosen"),
    [
        # Photos of each class, what is held out: batch, epochs, crop, weights of classes.
        ([10] * 5, 0.2, (8, 200, 112, "none")),
        ([40, 4, 2], 0.2, (8, 200, 112, "inverse")),
        ([3, 3], 0.2, (4, 200, 112, "none")),
        ([625] * 10, 0.2, (64, 42, 112, "none")),  # the 5,000 of configs/imagenette.py
        ([400] * 4, 0.2, (32, 164, 112, "none")),
        ([25_000] * 2, 0.0, (128, 40, 224, "none")),
        ([1000] * 1000, 0.05, (128, 40, 224, "none")),
    ],
)
def test_the_rules_for_own_photos(counts, held_out, chosen):
    assert folder.share_held_out(sum(counts)) == held_out or not held_out
    config = folder.by_rules(counts, held_out)
    weights = config.optimizer.class_weights
    assert (config.batch_size, config.epochs, config.augment.crop, weights) == chosen
    rate = optimizer.peak_rate(config.optimizer, config.batch_size)
    assert rate == pytest.approx(0.01 * config.batch_size / (128 if chosen[2] == 224 else 64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (folder.get_config, r"configs/folder\.py:: name the folder of your photos"),
        (
            lambda: folder.get_config("no such folder"),
            r"folder\.py:no such folder: name the folder",
        ),
        (lambda: zfnet_gpu.get_config("two"), r"the modes are one and eight"),
        (lambda: zfnet.get_config("vgg"), r"no such net; there are alexnet"),
        (lambda: imagenette.get_config("tiny"), r"the modes are small and full"),
    ],
)
def test_an_unknown_argument_names_those_there_are(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_removed_and_misnamed_layers():
    fields = architectures.zfnet()
    fields.layers = ("conv1", "conv5")
    net = architecture.from_config(fields, classes=5)
    assert net.map_layers == ("conv1", "pool1", "conv5", "pool5")
    assert net.dense_names == ("fc6", "fc7")
    fields.layers = ("conv1", "conv9")
    with pytest.raises(ValueError, match=r"'conv9', but there is no field model\.conv9"):
        architecture.from_config(fields, classes=5)
    fields.layers = ("conv2", "conv1")
    with pytest.raises(ValueError, match="ascending order"):
        architecture.from_config(fields, classes=5)


def test_a_config_without_the_later_fields_builds_the_same_net(tmp_path):
    """Runs from before contrast norm within maps and dropout scaled in evaluation."""
    config = zfnet.get_config()
    net = architecture.from_config(config.model, classes=5)
    earlier = config.to_dict()
    del earlier["model"]["dropout_scales_training"], earlier["model"]["contrast_norm"]["region"]
    assert architecture.from_config(ConfigDict(earlier["model"]), classes=5) == net
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    (tmp_path / "run.json").write_text(json.dumps({"data": {"train": "abc", "validation": "abc"}}))
    config.model.dropout = 0.4
    with pytest.raises(ValueError, match=r"model\.dropout is 0\.5 there and 0\.4 here"):
        workdir.claim(tmp_path, config, Split(), Split())
    config.model.dropout = 0.5
    workdir.claim(tmp_path, config, Split(), Split())
    assert json.loads((tmp_path / "config.json").read_text())["model"]["dropout_scales_training"]


def test_titles_of_classes_are_kept_with_a_run_and_may_change(tmp_path):
    config, run = zfnet.get_config(), tmp_path / "run"
    for number in range(2):
        (tmp_path / "titles.txt").write_text(f"a\ta cat {number}\n", encoding="utf-8")
        config.data.class_titles = str(tmp_path / "titles.txt")
        workdir.claim(run, config, Split(), Split())
        assert titles.of_classes(run, Split.class_names) == (f"a cat {number}",)
    config.data.class_titles = ""
    workdir.claim(run, config, Split(), Split())
    assert titles.of_classes(run, Split.class_names) == ("a",)
    (tmp_path / "titles.txt").write_text("b\tx\n", encoding="utf-8")
    config.data.class_titles = str(tmp_path / "titles.txt")
    message = r"config.data.class_titles: .*titles.txt names none of the 1 classes \(a\)"
    with pytest.raises(ValueError, match=message):
        workdir.claim(tmp_path / "other", config, Split(), Split())
    assert not (tmp_path / "other").exists()


class Split(list):
    fingerprint, class_names = "abc", ("a",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.optimizer.learning_rat=1", "learning_rate"),
        ("--config.model.conv1.map=3", "maps"),
    ],
)
def test_a_wrong_field_names_the_nearest_right_one(override, message, tmp_path):
    command = [sys.executable, "-m", "scripts.train", "--config=configs/zfnet.py"]
    result = forked.run([*command, f"--workdir={tmp_path}", override])
    assert result.returncode != 0
    assert message in result.stderr


SCRIPTS = [
    path.stem
    for path in sorted((ROOT / "scripts").glob("*.py"))
    if "shell.run(" in path.read_text(encoding="utf-8")
]


# Forks for each script, before which nothing heavy is loaded either.
HELP = """
import os, runpy, sys
import absl.app, numpy
for script in sys.argv[1:]:
    print("script", script, flush=True)
    if os.fork():
        os.wait()
        continue
    sys.argv = ["scripts." + script, "--helpfull"]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    print("loaded", *{"jax", "tensorflow", "torch", "matplotlib"} & set(sys.modules))
    sys.stdout.flush()
    os._exit(0)
"""


def test_help_loads_nothing_heavy():
    command = [sys.executable, "-c", HELP, *SCRIPTS]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = re.split(r"^script (\w+)\n", said, flags=re.MULTILINE)[1:]
    assert texts[::2] == SCRIPTS
    for script, text in zip(texts[::2], texts[1::2]):
        assert f"scripts.{script}" in text or "usage" in text.lower(), script
        assert text.splitlines()[-1].split() == ["loaded"], script
