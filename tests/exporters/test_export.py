"""Exports: read back they are the same net, and one that is not is never kept."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import zfnet
from tests import caffe_nets, foreign, forked
from zfnet_jax.data import augment
from zfnet_jax.exporters import compiled, onnx, parity, safetensors
from zfnet_jax.importers import importing, own, write
from zfnet_jax.runs import titles
from zfnet_jax.runs.run import Run, open_run


@pytest.fixture(scope="module")
def zf(tmp_path_factory) -> Run:
    """Norm within maps, padded pools that round up, groups, halved dense layers; a mean per pixel
    and a scale per colour."""
    folder = tmp_path_factory.mktemp("zf")
    text = caffe_nets.zf(96).replace(
        "num_output: 14 kernel_size: 3 pad: 1 stride: 1 group: 1",
        "num_output: 14 kernel_size: 3 pad: 1 stride: 1 group: 2",
    )
    paths = caffe_nets.save(folder, text, caffe_nets.weights(text, first_scale=100.0))
    np.save(folder / "mean.npy", np.random.default_rng(0).uniform(90, 130, (3, 100, 100)))
    options = importing.Options(
        bgr=True, mean_file=folder / "mean.npy", scale=(50.0, 60.0, 70.0), image_size=100,
        prototxt=paths[0],
    )  # fmt: skip
    base = zfnet.get_config()
    write.write_workdir(folder / "run", importing.from_caffe(paths[1], options, base), base)
    run = open_run(folder / "run")
    assert run.architecture.convs[3].groups == 2
    return run


@pytest.fixture(params=["trained", "zf"])
def run(request, tiny_run, zf) -> Run:
    return zf if request.param == "zf" else open_run(tiny_run)


EXPORTS = {"onnx": onnx, "safetensors": safetensors, "jax": compiled}
NEEDS = {"onnx": ("onnx", "onnxruntime"), "safetensors": ("safetensors",), "jax": ()}


def export(kind: str, run: Run, folder):
    for package in NEEDS[kind]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    difference = EXPORTS[kind].export(run, folder / f"net.{kind}")
    assert 0 <= difference < 1e-4
    return folder / f"net.{kind}"


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_imported_again_the_answers_are_identical(kind, run, tmp_path, monkeypatch):
    monkeypatch.setattr(titles, "given", lambda _: {run.class_names[1]: "a title"})
    path = export(kind, run, tmp_path)
    monkeypatch.undo()
    base = zfnet.get_config()
    read = importing.from_onnx if kind == "onnx" else importing.from_pytorch
    write.write_workdir(tmp_path / "again", read(path, importing.Options(), base), base)
    again = open_run(tmp_path / "again")
    assert again.architecture == run.architecture
    assert again.class_names == run.class_names
    assert again.class_titles == (run.class_names[0], "a title", *run.class_names[2:])
    assert again.config.augment.crop == run.config.augment.crop
    photos = foreign.images(run.mean.shape[0])
    expected, activations = run.forward(run.inputs(photos))
    found, found_activations = again.forward(again.inputs(photos))
    np.testing.assert_array_equal(found, expected)
    jax.tree.map(np.testing.assert_array_equal, found_activations, activations)
    if kind == "safetensors":
        np.testing.assert_array_equal(again.mean, run.mean)


def test_a_safetensors_file_is_a_state_dict(run, tmp_path):
    path = export("safetensors", run, tmp_path)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch.nn.functional as F
    from safetensors.torch import load_file

    tensors = load_file(path)
    photos = foreign.images(run.mean.shape[0])
    inputs = np.array(run.inputs(photos)).transpose(0, 3, 1, 2)
    first = run.architecture.convs[0]
    maps = F.conv2d(
        torch.from_numpy(inputs.copy()), tensors["conv1.weight"], tensors["conv1.bias"],
        first.stride, first.padding,
    )  # fmt: skip
    logits, activations = run.forward(run.inputs(photos))
    foreign.same(activations, {"conv1": F.relu(maps).numpy()})
    pooled = torch.from_numpy(np.array(activations["pool5"]).transpose(0, 3, 1, 2).copy())
    dense = F.relu(F.linear(pooled.flatten(1), tensors["fc6.weight"], tensors["fc6.bias"]))
    kept = 1.0 if run.architecture.dropout_scales_training else 0.5
    foreign.same(activations, {"fc6": kept * dense.numpy()})
    assert logits.shape == (len(photos), len(tensors["logits.bias"]))


def test_an_onnx_graph_takes_pixels_and_names_activations(run, tmp_path):
    path = export("onnx", run, tmp_path)
    import onnx as onnx_package
    import onnxruntime

    model = onnx_package.load(path)
    photos = foreign.images(run.mean.shape[0])
    logits, activations = run.forward(run.inputs(photos))
    names = [name for name in activations if "switches" not in name]
    for name in names:
        model.graph.output.append(onnx_package.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    pixels = augment.centre(photos, run.input_size).transpose(0, 3, 1, 2).astype(np.float32)
    found = session.run(["logits", *names], {"pixels": pixels})
    foreign.same(activations | {"logits": logits}, dict(zip(["logits", *names], found)))


def test_an_onnx_graph_without_our_description_is_read_as_any_other(tiny_run, tmp_path):
    run = open_run(tiny_run)
    path = export("onnx", run, tmp_path)
    import onnx as onnx_package

    model = onnx_package.load(path)
    del model.metadata_props[:]
    onnx_package.save(model, path)
    base = zfnet.get_config()
    options = importing.Options(bgr=False, image_size=run.config.data.image_size)
    write.write_workdir(tmp_path / "again", importing.from_onnx(path, options, base), base)
    again = open_run(tmp_path / "again")
    photos = foreign.images(run.mean.shape[0])
    expected, activations = run.forward(run.inputs(photos))
    found, found_activations = again.forward(again.inputs(photos))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for name in run.architecture.map_layers:
        scale = np.abs(activations[name]).max()
        np.testing.assert_allclose(found_activations[name], activations[name], atol=1e-5 * scale)
        if name.startswith("pool"):
            switches = name.replace("pool", "switches")
            np.testing.assert_array_equal(found_activations[switches], activations[switches])


@pytest.fixture(scope="module")
def three(zf) -> tuple[np.ndarray, np.ndarray]:
    """Photos, one more than an export is compared with, and what the net answers."""
    photos = foreign.images(zf.mean.shape[0], 3)
    return photos, np.asarray(zf.forward(zf.inputs(photos))[0])


def test_a_serialised_function_needs_nothing_of_ours(zf, three, tmp_path):
    path = export("jax", zf, tmp_path)
    photos, expected = three
    np.save(tmp_path / "crops.npy", augment.centre(photos, zf.input_size))
    code = (
        "import sys, jax.export, numpy as np; "
        f"function = jax.export.deserialize(bytearray(open('{path.name}', 'rb').read())); "
        "np.save('logits.npy', function.call(np.load('crops.npy'))); "
        "assert not any(name.startswith('zfnet_jax') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_serialised_function_of_batches_of_one_size(batch_size, zf, three, tmp_path):
    """Smaller and larger than what the export is compared with."""
    assert compiled.export(zf, tmp_path / "net.jax", batch_size=batch_size) < 1e-4
    read = jax.export.deserialize(bytearray((tmp_path / "net.jax").read_bytes()))
    photos, expected = (array[:batch_size] for array in three)
    found = read.call(augment.centre(photos, zf.input_size))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_that_answers_otherwise_is_not_kept(kind, zf, tmp_path, monkeypatch):
    for package in NEEDS[kind]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    if kind == "jax":
        other = jax.tree.map(lambda leaf: np.array(leaf), zf.params)
        other["fc7"]["kernel"] = other["fc7"]["kernel"] * 1.01
        changed = dataclasses.replace(zf, params=other)
        check = parity.check
        monkeypatch.setattr(parity, "check", lambda _, *rest: check(zf, *rest))
        with pytest.raises(ValueError, match="class scores differ"):
            compiled.export(changed, tmp_path / "net.jax")
    else:
        lay_out = own.to_foreign

        def wrong(*arguments):
            tensors = lay_out(*arguments)
            return tensors | {"fc7.weight": tensors["fc7.weight"] * 1.01}

        monkeypatch.setattr(own, "to_foreign", wrong)
        with pytest.raises(ValueError, match="class scores differ"):
            EXPORTS[kind].export(zf, tmp_path / f"net.{kind}")
    assert not list(tmp_path.iterdir())


def test_the_script(tiny_run, tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    done = forked.run(
        [sys.executable, "-m", "scripts.export_weights", f"--workdir={tiny_run}",
         "--format=safetensors", f"--out={tmp_path / 'net.safetensors'}"]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "class scores differ by at most" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
