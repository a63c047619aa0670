"""Weights of PyTorch: what the imported net answers and projects is what PyTorch does."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (zfnet_jax[import])")

import jax
import torch
from PIL import Image

from configs import zfnet
from tests import foreign
from tests.mined_folder import write_mined
from tests.torch_nets import TOPOLOGIES, Net, Vgg, answers, project
from zfnet_jax import deconvnet, units
from zfnet_jax.command import inputs
from zfnet_jax.importers import importing, pytorch, write
from zfnet_jax.importers.presets import PRESETS
from zfnet_jax.runs.run import Run, load_photo, open_run
from zfnet_jax.training import train

MEAN = 255 * np.array([0.485, 0.456, 0.406])
SCALE = 255 * np.array([0.229, 0.224, 0.225])


def imported_run(net: Net, preset: str, folder, **options) -> Run:
    torch.save(net.published_state(), folder / "weights.pth")
    base = zfnet.get_config()
    found = importing.from_pytorch(
        folder / "weights.pth", importing.Options(preset=preset, **options), base
    )
    write.write_workdir(folder / "run", found, base)
    return open_run(folder / "run")


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return foreign.images(256)


@pytest.fixture(scope="module")
def zfnet_pair(tmp_path_factory) -> tuple[Net, Run]:
    net = Net("pytorchcv_zfnet")
    return net, imported_run(net, "pytorchcv_zfnet", tmp_path_factory.mktemp("zfnet"))


def check_answers(net: Net, run: Run, photos: np.ndarray) -> None:
    logits, activations = run.forward(run.inputs(photos))
    theirs = answers(net, foreign.nchw(photos, MEAN, SCALE, bgr=False, crop=224))
    assert set(theirs) == {n for n in activations if "switches" not in n} | {"logits"}
    foreign.same(activations | {"logits": logits}, theirs)


def test_zfnet_answers_alike(zfnet_pair, photos):
    net, run = zfnet_pair
    assert run.config.model.norm_before_pool
    assert run.config.data.image_size == 256
    check_answers(net, run, photos)


@pytest.mark.parametrize("preset", [name for name in TOPOLOGIES if name != "pytorchcv_zfnet"])
def test_alexnets_answer_alike(preset, photos, tmp_path):
    net = Net(preset)
    run = imported_run(net, preset, tmp_path)
    check_answers(net, run, photos)
    if preset == "torchvision_alexnet":
        assert not any(conv.contrast_norm for conv in run.architecture.convs)
        assert run.architecture.convs[0].pool.rounding == "floor"


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("layers", [11, 13, 16, 19])
def test_the_names_of_vggs_are_torchvisions(layers, norm):
    names = Vgg(layers, norm).state_dict().keys()
    preset = PRESETS[f"torchvision_vgg{layers}{'_bn' * norm}"]
    found = {
        f"{name}.{leaf}" for name in (*(conv.tensor for conv in preset.convs), *preset.dense)
        for leaf in ("weight", "bias")
    }  # fmt: skip
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    norms = [conv.batch_norm for conv in preset.convs if conv.batch_norm]
    found |= {f"{name}.{leaf}" for name in norms for leaf in leaves}
    assert found == names
    assert len(preset.convs) + len(preset.dense) == layers


@pytest.mark.parametrize("norm", [False, True])
def test_a_vgg_answers_and_projects_alike(norm, tmp_path):
    """Batch norm is part of the filters; on the way down its scale is, and no shift."""
    net = Vgg(11, norm)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    base, size = zfnet.get_config(), 64
    options = importing.Options(preset=f"torchvision_vgg11{'_bn' * norm}", crop=size)
    found = importing.from_pytorch(tmp_path / "weights.pth", options, base)
    write.write_workdir(tmp_path / "run", found, base)
    run, photos = open_run(tmp_path / "run"), foreign.images(256, 1)
    logits, activations = run.forward(run.inputs(photos))
    x = foreign.nchw(photos, MEAN, SCALE, bgr=False, crop=size)
    theirs, places = net.answers(torch.from_numpy(x))
    foreign.same(activations | {"logits": logits}, theirs)
    number, _ = units.strongest_maps(activations["conv7"], 1)
    seed = units.strongest_unit(activations["conv7"], number[:, 0])
    ours = deconvnet.project(
        run.architecture, run.params, activations, "conv7", seed, run.input_size
    )
    pixels = project(
        [(weight, 1, 1, 1) for weight in net.scaled_filters()],
        places,
        [(size, size)] + [theirs[f"conv{n}"].shape[2:] for n in range(1, 9)],
        dict.fromkeys(places, (2, 2)),
        torch.from_numpy(np.array(seed).transpose(0, 3, 1, 2)),
        7,
        False,
    )
    foreign.same({"pixels": ours}, {"pixels": pixels.numpy()})


def test_zfnetb_has_other_widths(photos, tmp_path):
    net = Net("pytorchcv_zfnet", maps=(8, 10, 16, 32, 16))
    run = imported_run(net, "pytorchcv_zfnet", tmp_path)
    assert [conv.maps for conv in run.architecture.convs] == [8, 10, 16, 32, 16]
    check_answers(net, run, photos[:1])


@pytest.mark.parametrize(("layer", "pooled"), [(1, False), (3, False), (5, True)])
def test_the_deconvnet_is_pytorchs(zfnet_pair, photos, layer, pooled):
    """Pools of 3 pixels, stride 2, overlap: unpooling adds up."""
    net, run = zfnet_pair
    inputs = run.inputs(photos)
    _, activations = run.forward(inputs)
    name = f"{'pool' if pooled else 'conv'}{layer}"
    number, _ = units.strongest_maps(activations[name], 1)
    seed = units.strongest_unit(activations[name], number[:, 0])
    ours = deconvnet.project(run.architecture, run.params, activations, name, seed, run.input_size)
    theirs = answers(net, foreign.nchw(photos, MEAN, SCALE, bgr=False, crop=224))
    sizes = [(224, 224)] + [theirs[f"conv{n}"].shape[2:] for n in range(1, 6)]
    pixels = project(
        [(c.weight.detach(), c.stride[0], c.padding[0], 1) for c in net.convs],
        net.places,
        sizes,
        {1: (3, 2), 2: (3, 2), 5: (3, 2)},
        torch.from_numpy(np.array(seed).transpose(0, 3, 1, 2)),
        layer,
        pooled,
    )
    foreign.same({"pixels": ours}, {"pixels": pixels.numpy()})


def test_the_folder_is_an_ordinary_runs(zfnet_pair):
    _, run = zfnet_pair
    record = json.loads((run.directory / "run.json").read_text())
    assert record["imported"]["format"] == "pytorch"
    assert record["imported"]["preset"] == "pytorchcv_zfnet"
    assert record["imported"]["sha256"] == write.digest_of_file(
        run.directory.parent / "weights.pth"
    )
    config = json.loads((run.directory / "config.json").read_text())
    np.testing.assert_allclose(config["augment"]["scale"], SCALE)
    np.testing.assert_allclose(run.mean[17, 200], MEAN, rtol=1e-6)
    assert run.class_names == tuple(f"class {n}" for n in range(7))
    assert record["class_names"] == list(run.class_names)


def test_what_was_mined_of_it_is_found(zfnet_pair):
    """Its run.json names no images that it was trained with."""
    _, run = zfnet_pair
    folder = run.directory / "studies" / "features" / "validation-0"
    write_mined(folder, images={"conv1": np.ones((4, 9), int)}, step=0, epoch=None)
    assert inputs.mined(run.directory, None, None).folder == folder


def test_a_photo_is_seen_as_pytorch_sees_it(zfnet_pair, tmp_path):
    """From the file on: RGB, resized, cropped in the middle."""
    net, run = zfnet_pair
    photo = foreign.images(256, 1)[0]
    Image.fromarray(photo).save(tmp_path / "photo.png")
    seen = load_photo(tmp_path / "photo.png", run.config.data.image_size)
    logits, _ = run.forward(run.inputs(seen[None]))
    theirs = answers(net, foreign.nchw(photo[None], MEAN, SCALE, bgr=False, crop=224))
    np.testing.assert_allclose(logits, theirs["logits"], rtol=1e-4, atol=1e-5)


def test_wrapped_half_precision_and_class_names(zfnet_pair, tmp_path):
    net, _ = zfnet_pair
    half = {f"module.{name}": tensor.half() for name, tensor in net.published_state().items()}
    torch.save({"state_dict": half, "epoch": 3}, tmp_path / "checkpoint.pth")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\nf\ng\n", encoding="utf-8")
    options = importing.Options(
        preset="pytorchcv_zfnet", class_names=tmp_path / "names.txt", mean=np.zeros(3), scale=2.0
    )
    found = importing.from_pytorch(tmp_path / "checkpoint.pth", options, zfnet.get_config())
    assert found.class_names == tuple("abcdefg")
    assert (found.preprocessing.scale, found.preprocessing.mean.tolist()) == (2.0, [0, 0, 0])
    kernel = net.convs[0].weight.detach().half().float().numpy()
    np.testing.assert_array_equal(found.net.params["conv1"]["kernel"], kernel.transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "model.", "net.", "module._orig_mod.", "model.net._orig_mod.module."]
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"generation": 3, "weights_of_it": state, "accuracy": 0.6},
        lambda state: [{"state_dict": state, "loss": torch.tensor(0.1)}, "of 2020"],
        lambda state: {"checkpoint": {"ema": state, "net": state, "optimizer": adam(state)}},
    ],
    ids=["alone", "any key", "list", "named"],
)
def test_state_dicts_as_training_scripts_save_them(prefix, wrap, tmp_path):
    state = {name: torch.zeros(2) for name in ("features.0.weight", "output.bias")}
    stored = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    stored[f"{prefix}features.1.num_batches_tracked"] = torch.tensor(9)
    torch.save(wrap(stored), tmp_path / "net.pth")
    tensors, _ = pytorch.read_tensors(tmp_path / "net.pth")
    assert tensors.keys() == state.keys()


def adam(state):
    moments = {n: {"exp_avg": tensor, "step": 3} for n, tensor in enumerate(state.values())}
    return {"state": moments, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"critic": {"a.weight": 0}, "generator": {"a.weight": 0}},
         r"several state_dicts \(critic, generator\): save the net's alone"),
        ({"module.a.weight": 0, "a.weight": 0}, "two of its tensors have one name"),
        ({"optimizer": {"state": {0: {"exp_avg": 0}}}}, "holds a dict, expected a state_dict"),
    ],
)  # fmt: skip
def test_which_state_dict_is_not_guessed(content, message, tmp_path):
    torch.save(jax.tree.map(lambda _: torch.zeros(2), content), tmp_path / "net.pth")
    with pytest.raises(ValueError, match=message):
        pytorch.read_tensors(tmp_path / "net.pth")


def test_the_content_says_which_format_it_is(zfnet_pair, tmp_path):
    """Whatever the file is called."""
    save_file = pytest.importorskip("safetensors.torch", reason="it is not installed").save_file
    net, _ = zfnet_pair
    save_file(net.published_state(), tmp_path / "net.SAFETENSORS")
    save_file(net.published_state(), tmp_path / "net.bin")
    torch.save(net.published_state(), tmp_path / "pickle.safetensors")
    for name in ("net.SAFETENSORS", "net.bin", "pickle.safetensors"):
        tensors, _ = pytorch.read_tensors(tmp_path / name)
        assert tensors.keys() == net.published_state().keys()


def test_safetensors_of_bfloat16_whose_convolutions_trained_in_parallel(zfnet_pair, tmp_path):
    save_file = pytest.importorskip("safetensors.torch", reason="it is not installed").save_file
    net, _ = zfnet_pair
    names = {name: name.replace("features.", "features.module.") for name in net.published_state()}
    state = {names[name]: tensor.bfloat16() for name, tensor in net.published_state().items()}
    save_file(state, tmp_path / "net.safetensors")
    options = importing.Options(preset="pytorchcv_zfnet")
    found = importing.from_pytorch(tmp_path / "net.safetensors", options, zfnet.get_config())
    kernel = net.convs[0].weight.detach().bfloat16().float().numpy()
    np.testing.assert_array_equal(found.net.params["conv1"]["kernel"], kernel.transpose(2, 3, 1, 0))


def test_it_is_not_trained_on(zfnet_pair, tiny_config):
    _, run = zfnet_pair
    with pytest.raises(ValueError, match="holds an imported net, which is not trained on"):
        train.train_and_evaluate(tiny_config, run.directory)


def test_another_seed_answers_differently(zfnet_pair, photos):
    """The comparison would show wrong weights."""
    _, run = zfnet_pair
    other = answers(Net("pytorchcv_zfnet", seed=1), foreign.nchw(photos, MEAN, SCALE, False, 224))
    logits, _ = run.forward(run.inputs(photos))
    assert np.abs(jax.nn.softmax(logits) - jax.nn.softmax(other["logits"])).max() > 1e-2
