"""Keras's files and TensorFlow.js's: imported they answer as plain NumPy does with their
weights."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py", reason="h5py is not installed (zfnet_jax[import])")

import h5py

from configs import zfnet
from tests import foreign, keras_nets
from tests.keras_nets import activation, batch_norm, conv, dense, flatten, image, pool
from zfnet_jax.importers import importing, write
from zfnet_jax.importers.assemble import assemble
from zfnet_jax.importers.keras import read
from zfnet_jax.runs.run import open_run

BASE = zfnet.get_config()
SIZE = 18
OPTIONS = importing.Options(
    bgr=False, mean=np.array((120, 110, 100), np.float32), scale=60.0, image_size=SIZE
)
# Layers that are named as our activations are compared with them.
NET: list[keras_nets.Layer] = [
    image(SIZE),
    ("Sequential", {"name": "features", "layers": [
        conv("filtered1", 6, (4, 3), padding="same", use_bias=False),
        batch_norm("norm", scale=False), activation("conv1", "relu"),
        pool("pool1", "Max", 3, 2, padding="same"), ("Dropout", {"name": "drop", "rate": 0.5}),
    ]}),
    ("ZeroPadding2D", {"name": "zeros", "padding": [[0, 1], [1, 0]]}),
    conv("filtered2", 8, strides=[2, 2], groups=2), ("ReLU", {"name": "conv2"}),
    pool("pool2", "Average", 3, 1, padding="same"), ("RandomFlip", {"name": "flip"}),
    flatten(), dense("fc3", 5, activation="relu"),
    dense("scores", activation="softmax"),
]  # fmt: skip
FORMATS = ("h5", "keras", "json")


def save(kind: str, folder: Path, model: dict[str, Any], stored: keras_nets.Weights) -> Path:
    path = folder / ("model.json" if kind == "json" else f"net.{kind}")
    {"h5": keras_nets.save_h5, "keras": keras_nets.save_keras, "json": keras_nets.save_tfjs}[kind](
        path, model, stored
    )
    return path


def test_a_net_answers_alike(tmp_path):
    stored = keras_nets.weights(NET)
    path = save("h5", tmp_path, keras_nets.sequential(NET), stored)
    imported = importing.from_keras(path, OPTIONS, BASE)
    assert (imported.preprocessing.crop, imported.net.classes) == (SIZE, keras_nets.CLASSES)
    write.write_workdir(tmp_path / "run", imported, BASE)
    run = open_run(tmp_path / "run")
    photos = foreign.images(SIZE, 2)
    logits, activations = run.forward(run.inputs(photos))
    x = foreign.nchw(photos, OPTIONS.mean, 60.0, bgr=False, crop=SIZE).transpose(0, 2, 3, 1)
    theirs = keras_nets.forward(NET, stored, x)
    compared = {name: ours for name, ours in activations.items() if name in theirs}
    assert {"conv1", "pool1", "conv2", "pool2", "fc3"} == set(compared)
    for name, ours in {**compared, "scores": logits}.items():
        scale = np.abs(theirs[name]).max()
        np.testing.assert_allclose(ours, theirs[name], rtol=0, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("kind", ["keras", "json"])
def test_the_formats_hold_the_same(kind, tmp_path):
    """A model inside a model, in each its own way of naming weights."""
    stored, model = keras_nets.weights(NET), keras_nets.sequential(NET)
    found, expected = (read.read(save(one, tmp_path, model, stored)) for one in (kind, "h5"))
    assert found.input_size == expected.input_size == (SIZE, SIZE)
    for ours, theirs in zip(found.chain, expected.chain, strict=True):
        np.testing.assert_equal(dataclasses.asdict(ours), dataclasses.asdict(theirs))


@pytest.mark.parametrize("keras", [2, 3])
def test_a_functional_chain_is_read_from_its_graph(keras, tmp_path):
    """Whatever the order that the config lists its layers in."""
    plain = keras_nets.flat(NET)
    stored = keras_nets.weights(plain)
    model = keras_nets.functional(plain, keras)
    keras_nets.save_h5(tmp_path / "net.h5", model, stored)
    straight = read.read(tmp_path / "net.h5")
    model["config"]["layers"].reverse()
    keras_nets.save_h5(tmp_path / "net.h5", model, stored)
    turned = read.read(tmp_path / "net.h5")
    assert [link.name for link in straight.chain] == [link.name for link in turned.chain]
    assert [link.name for link in straight.chain][:3] == ["filtered1", "norm", "conv1"]


def test_a_model_inside_is_counted_from_its_second_use_by_keras_2(tmp_path):
    inner = NET[1][1]["layers"]
    model = keras_nets.functional([image(SIZE), conv("c", 4), flatten()], 2)
    model["config"]["layers"][1] = {
        **keras_nets.sequential(inner, "features"),
        "name": "features",
        "inbound_nodes": [[["image", 0, 0, {}]]],
    }
    model["config"]["layers"][2]["inbound_nodes"] = [[["features", 1, 0, {}]]]
    stored = keras_nets.weights([image(SIZE), *inner])
    keras_nets.save_h5(tmp_path / "net.h5", model, stored)
    assert read.read(tmp_path / "net.h5").chain[0].name == "filtered1"


@pytest.mark.parametrize("version", [2, 3])
def test_weights_alone_need_the_config_of_their_layers(version, tmp_path):
    """The layers may lie elsewhere in the model whose weights they are, beside others."""
    layers = [image(8), conv("a", 4), conv("b", 5)]
    stored = keras_nets.weights(layers)
    path, described = tmp_path / "net.weights.h5", tmp_path / "net.json"
    described.write_text(json.dumps(keras_nets.sequential(layers)))
    if version == 2:
        keras_nets.save_h5(path, keras_nets.sequential(layers), stored)
        with h5py.File(path, "a") as file:
            del file.attrs["model_config"]
            for name, value in file["model_weights"].attrs.items():
                file.attrs[name] = value
            for name in list(file["model_weights"]):
                file.move(f"model_weights/{name}", name)
            del file["model_weights"]
    else:
        other = ("Sequential", {"name": "block", "layers": [conv("side", 1), *layers[1:]]})
        stored["side"] = [("kernel", np.zeros((1, 1, 1, 1), np.float32))]
        with h5py.File(path, "w") as file:
            keras_nets.save_layers(file, keras_nets.sequential([other]), stored)
    net = read.read(path, architecture=described)
    assert [link.name for link in net.chain] == ["a", "b"]
    np.testing.assert_array_equal(net.chain[1].weight.transpose(2, 3, 1, 0), stored["b"][0][1])
    assert "--architecture=FILE.json" in said_of(path)
    described.write_text(json.dumps(keras_nets.sequential([*layers, conv("c", 2)])))
    with pytest.raises(ValueError, match="Conv2D c: the file has no"):
        read.read(path, architecture=described)


@pytest.mark.parametrize("packed", ["float16", "uint8", "uint16"])
def test_packed_weights_of_tensorflow_js(packed, tmp_path):
    stored = keras_nets.weights(NET)
    keras_nets.save_tfjs(tmp_path / "model.json", keras_nets.sequential(NET), stored, packed)
    net = read.read(tmp_path / "model.json")
    by_name = {link.name: link.weight for link in net.chain if hasattr(link, "weight")}
    for name in ("filtered2", "fc3"):
        exact = dict(stored[name])["kernel"]
        found = by_name[name]
        found = found.transpose(2, 3, 1, 0) if found.ndim == 4 else found.T
        step = 2e-3 if packed == "float16" else np.ptp(exact) / np.iinfo(packed).max
        np.testing.assert_allclose(found, exact, rtol=0, atol=step)
        assert found.dtype == np.float32


def read_layers(layers: list[keras_nets.Layer], folder: Path, **given: Any) -> read.KerasNet:
    stored = keras_nets.weights(layers)
    keras_nets.save_h5(folder / "net.h5", keras_nets.sequential(layers), stored)
    return read.read(folder / "net.h5", **given)


def test_preprocessing_inside_is_kept(tmp_path):
    first = ("Rescaling", {"name": "first", "scale": 1 / 255, "offset": 0.0})
    then = ("Rescaling", {"name": "then", "scale": 2.0, "offset": -1.0})
    net = read_layers([image(8), first, then, conv("c", 4), flatten(), dense("d")], tmp_path)
    assert [link.name for link in net.chain] == ["first", "then", "c", "d"]
    options = dataclasses.replace(OPTIONS, mean=None, scale=None, image_size=8)
    preprocessing = importing.from_keras(tmp_path / "net.h5", options, BASE).preprocessing
    np.testing.assert_allclose(preprocessing.mean, [127.5] * 3, rtol=1e-6)
    np.testing.assert_allclose(preprocessing.scale, [127.5] * 3, rtol=1e-6)


GIVEN = {"mean": 2.0, "variance": 3.0}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "given",
    [{"axis": [-1]}, {"axis": []}, {"axis": None, **GIVEN}, {"axis": [], **GIVEN}],
    ids=["adapted", "adapted for all", "given", "given, as Keras 3 writes it"],
)
def test_normalization_adapted_or_given(given, kind, tmp_path):
    """What `adapt` leaves has a count of images, which is no floating point."""
    layers = [image(8), ("Normalization", {"name": "std", **given}), conv("c", 4)]
    stored = keras_nets.weights(layers)
    path = save(kind, tmp_path, keras_nets.sequential(layers), stored)
    affine, filters = read.read(path).chain
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
    theirs = keras_nets.forward(layers, stored, x)["std"]
    assert (affine.name, filters.name) == ("std", "c")
    assert affine.factor.shape == affine.shift.shape == ((3,) if given["axis"] == [-1] else (1,))
    np.testing.assert_allclose(x * affine.factor + affine.shift, theirs, rtol=1e-5, atol=1e-6)


def test_the_net_may_end_at_an_earlier_layer(tmp_path):
    net = read_layers([image(8), conv("a", 4), conv("b", 4), flatten(), dense("d")], tmp_path)
    assert [link.name for link in net.chain] == ["a", "b", "d"]
    assert [x.name for x in read.read(tmp_path / "net.h5", output="a").chain] == ["a"]
    with pytest.raises(ValueError, match="there is no layer nix, only image, a, b, flatten, d"):
        read.read(tmp_path / "net.h5", output="nix")


def test_zeros_before_a_pool_count_in_a_mean(tmp_path):
    zeros = ("ZeroPadding2D", {"name": "zeros", "padding": [[1, 1], [1, 1]]})
    layers = [image(9), conv("conv1", 4, activation="relu"), zeros]
    tail = [flatten(), dense("scores")]
    x = np.random.default_rng(0).normal(size=(1, 9, 9, 3)).astype(np.float32)
    for kind in ("Max", "Average"):
        net = [*layers, pool("pool1", kind, 3, 2), *tail]
        chain = read_layers(net, tmp_path).chain
        ours = assemble(chain, 9, bgr=False, base=BASE.model)
        assert ours.model["conv1"]["pool"]["padding"] == 1
        assert ours.model["conv1"]["pool"]["counts_padding"] or kind == "Max"
        assert keras_nets.forward(net, keras_nets.weights(net), x)["pool1"].shape[1] == 4


LAMBDA = ("Lambda", {"name": "mine", "function": ["4wEAAAA=", None, None]})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([image(8), LAMBDA], "Lambda mine: Python code in the file, which is never run"),
        ([image(8), ("My>Layer", {"name": "own"})], "My>Layer own: a layer of somebody's own code"),
        ([image(8), ("UpSampling2D", {"name": "up"})],
         "UpSampling2D up: a net of this family has no UpSampling2D here"),
        ([image(8), conv("c", 4, activation="tanh")], "Conv2D c: .* no activation tanh"),
        ([image(8), conv("c", 4, activation="softmax"), conv("d", 4)],
         "Conv2D d: it follows c, a softmax"),
        ([image(8), conv("c", 4, data_format="channels_first"), pool("p", "Max", 2)],
         "MaxPooling2D p: its channels are not where those of others are"),
        ([image(8), conv("c", 4), dense("d")], "Dense d: it reads maps, which no Flatten"),
        ([image(8), conv("c", 4), ("ZeroPadding2D", {"name": "z", "padding": [[1, 1], [1, 1]]}),
          pool("p", "Max", 2)], "ZeroPadding2D z: zeros that MaxPooling2D p does not take over"),
        ([image(8), ("ZeroPadding2D", {"name": "z", "padding": [[1, 1], [1, 1]]}),
          batch_norm("b")], "ZeroPadding2D z: zeros around what BatchNormalization b reads"),
        ([image(8), conv("c", 4), batch_norm("b", axis=[])],
         r"BatchNormalization b: its axis is \[\], expected that of the maps"),
        ([image(8), conv("c", 4, 9)], "Conv2D c: 8 pixels are fewer than its window of 9"),
        ([conv("c", 4)], "Conv2D c: the shape of its images is not said"),
        ([image(8), conv("c", "4")], "Conv2D c: its filters is '4'"),
        ([image(8), conv("c", 2**40)], "Conv2D c: its filters is 1099511627776"),
        ([image(8), conv("c", 2**20), flatten(), dense("d", 2**20)], "more than any net"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(layers, message, tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(keras_nets.sequential(layers))
        file.create_group("model_weights")
    with pytest.raises(ValueError, match=message) as told:
        read.read(tmp_path / "net.h5")
    assert "\n" not in str(told.value)


def test_what_branches_is_named(tmp_path):
    model = keras_nets.functional([image(8), conv("a", 4), ("Add", {"name": "sum"})], 2)
    model["config"]["layers"][2]["inbound_nodes"] = [[["a", 0, 0, {}], ["image", 0, 0, {}]]]
    keras_nets.save_h5(tmp_path / "net.h5", model, {})
    with pytest.raises(ValueError, match="Add sum reads a, image: not a chain"):
        read.read(tmp_path / "net.h5")


def test_hostile_hdf5_is_refused(tmp_path):
    """Arrays in other files, links, and shapes whose values are not there."""
    layers = [image(8), conv("c", 4), flatten(), dense("d")]
    stored = keras_nets.weights(layers)
    path = tmp_path / "net.h5"
    other = tmp_path / "other.h5"
    other.write_bytes(bytes(10000))

    def broken(**options: Any) -> str:
        keras_nets.save_h5(path, keras_nets.sequential(layers), stored)
        with h5py.File(path, "a") as file:
            group = file["model_weights/c/c"]
            del group["kernel:0"]
            if "link" in options:
                group["kernel:0"] = options["link"]
            else:
                shape = options.pop("shape", (3, 3, 3, 4))
                group.create_dataset("kernel:0", shape, **{"dtype": "f4"} | options)
        with pytest.raises(ValueError, match=r"Conv2D c") as told:
            read.read(path)
        return str(told.value)

    assert "is a link, which is not followed" in broken(link=h5py.ExternalLink("other.h5", "/x"))
    assert "is a link, which is not followed" in broken(link=h5py.SoftLink("/model_weights"))
    assert "lies in another file" in broken(external=[(str(other), 0, 432)])
    assert "of which the file holds 0 at most" in broken()
    assert "expected [3, 3, 3, 4]" in broken(shape=(2**20, 2**20))
    assert "not floating point" in broken(dtype="i4")


def test_a_heap_that_has_no_end_is_refused(tmp_path):
    """HDF5 would read it for ever."""
    layers = [image(8), conv("c", 4), flatten(), dense("d")]
    path = save("h5", tmp_path, keras_nets.sequential(layers), keras_nets.weights(layers))
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16
    content[place : place + 16] = bytes(16)
    path.write_bytes(content)
    assert "its global heap at byte" in said_of(path)


def test_hostile_archives_are_refused(tmp_path):
    layers = [image(8), conv("c", 4), flatten(), dense("d")]
    model, path = keras_nets.sequential(layers), tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        zeros = bytes(2**26 + 1)
        archive.writestr("model.weights.h5", zeros, compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"model.weights.h5 unpacks from \d+ bytes to 67108865"):
        read.read(path)
    keras_nets.save_keras(
        path, model, keras_nets.weights(layers), compress_type=zipfile.ZIP_DEFLATED
    )
    assert len(read.read(path).chain) == 2


def test_shards_lie_beside_and_hold_what_is_listed(tmp_path):
    layers = [image(8), conv("c", 4), flatten(), dense("d")]
    path = tmp_path / "model.json"
    keras_nets.save_tfjs(path, keras_nets.sequential(layers), keras_nets.weights(layers), shard=700)
    assert len(read.read(path).beside) > 2
    whole = json.loads(path.read_text())

    def told(change) -> str:
        content = json.loads(path.read_text())
        change(content["weightsManifest"][0])
        (tmp_path / "broken.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"broken\.json") as error:
            read.read(tmp_path / "broken.json")
        return str(error.value)

    assert "only files in the model's own folder" in told(lambda m: m["paths"].append("../x"))
    assert "must be beside the model" in told(lambda m: m["paths"].append("x.bin"))
    assert "expected the" in told(lambda m: m["paths"].pop())
    assert "no tensor, or of a type" in told(lambda m: m["weights"][0].update(dtype="string"))
    assert "larger than those of any net" in told(lambda m: m["weights"][0].update(shape=[2**32]))
    assert "is int32, expected float32" in told(lambda m: m["weights"][0].update(dtype="int32"))
    assert "0 tensors are its kernel" in told(lambda m: m["weights"][0].update(name="c/other"))
    whole["format"] = "graph-model"
    path.write_text(json.dumps(whole))
    with pytest.raises(
        ValueError, match=r"a graph model of TensorFlow\.js, expected a layers model"
    ):
        read.read(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_fuzzed_files_give_a_net_or_one_line(kind, tmp_path):
    layers = [image(8), conv("c", 4), batch_norm("b"), flatten(), dense("d")]
    path = save(kind, tmp_path, keras_nets.sequential(layers), keras_nets.weights(layers))
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for round_ in range(60):
        if round_ < 10:
            broken = content[: len(content) * round_ // 10]
        else:
            places = rng.integers(0, len(content), 8)
            broken = bytearray(content)
            for place in places:
                broken[place] = rng.integers(256)
        path.write_bytes(broken)
        said = said_of(path)
        refused += bool(said)
        assert len(said.splitlines()) <= 1
    assert refused >= 20


def said_of(path: Path) -> str:
    """The message of the ValueError that reading it raises, or nothing; any other error fails the
    test."""
    try:
        read.read(path)
    except ValueError as error:
        return str(error)
    return ""
