"""Caffe's files: the imported net's activations are those that OpenCV computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from configs import quickstart, zfnet
from tests import caffe_nets, foreign
from tests import slow_reference as slow
from tests.conftest import run_script
from zfnet_jax import deconvnet, units
from zfnet_jax.data.prepare import prepare
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.importers import caffe_layers, importing, write
from zfnet_jax.importers.caffe_proto import message
from zfnet_jax.importers.chain import RegionPool
from zfnet_jax.importers.pools import region_pool
from zfnet_jax.layer_specs import Pool, Rectifier
from zfnet_jax.report.tiles import moved_inside
from zfnet_jax.runs.run import Run, load_photo, open_run
from zfnet_jax.studies.features import study
from zfnet_jax.studies.features.options import Options
from zfnet_jax.studies.features.winners import load
from zfnet_jax.studies.occlusion import study as occlusion
from zfnet_jax.studies.occlusion.options import Options as OcclusionOptions

MEAN = (122.7717, 115.9465, 102.9801)  # red, green, blue
OPTIONS = importing.Options(bgr=True, mean=np.array(MEAN, np.float32), image_size=200)
ZF_SIZE = 192
LAYERS = {f"conv{n}": f"relu{n}" for n in range(1, 6)} | {
    name: name for name in ("norm1", "pool1", "norm2", "pool2")
}
ZF_LAYERS = LAYERS | {"pool5": "roi_pool5", "fc6": "drop6", "fc7": "drop7", "logits": "cls_score"}
ALEXNET_LAYERS = LAYERS | {"pool5": "pool5", "fc6": "drop6", "fc7": "drop7", "logits": "fc8"}


def imported_run(paths: tuple[Path, Path], options=OPTIONS) -> Run:
    base = zfnet.get_config()
    options = dataclasses.replace(options, prototxt=paths[0])
    found = importing.from_caffe(paths[1], options, base)
    write.write_workdir(paths[0].parent / "run", found, base)
    return open_run(paths[0].parent / "run")


def check_answers(paths, run: Run, photos: np.ndarray, layers: dict[str, str], mean=MEAN) -> None:
    pytest.importorskip("cv2", reason="OpenCV before 5 is not installed (zfnet_jax[test])")
    logits, activations = run.forward(run.inputs(photos))
    x = foreign.nchw(photos, mean, 1, bgr=True, crop=run.input_size[0])
    theirs = caffe_nets.answers(paths, x, layers)
    assert set(theirs) == {n for n in activations if "switches" not in n} | {"logits"}
    foreign.same(activations | {"logits": logits}, theirs)


@pytest.fixture(scope="module")
def zf(tmp_path_factory) -> tuple[tuple[Path, Path], Run]:
    text = caffe_nets.zf(ZF_SIZE)
    folder = tmp_path_factory.mktemp("zf")
    paths = caffe_nets.save(folder, text, caffe_nets.weights(text, first_scale=3.0))
    return paths, imported_run(paths)


@pytest.fixture(scope="module")
def small_zf(tmp_path_factory) -> Run:
    """For images of 96 pixels: conv5 has 7 x 7 units, RoI pooling windows of 2, stride 1."""
    text = caffe_nets.zf(96)
    folder = tmp_path_factory.mktemp("small_zf")
    paths = caffe_nets.save(folder, text, caffe_nets.weights(text, first_scale=3.0))
    return imported_run(paths, dataclasses.replace(OPTIONS, image_size=100))


def test_zf_answers_alike(zf):
    """Norm within maps before padded pools, RoI pooling, halved dense layers, a detector around."""
    paths, run = zf
    check_answers(paths, run, foreign.images(200), ZF_LAYERS)
    net = run.architecture
    before_pool = run.config.model.norm_before_pool
    assert (before_pool, net.dropout, net.dropout_scales_training) == (True, 0.5, False)
    assert net.convs[0].contrast_norm.region == "within_map"
    assert net.convs[0].pool == Pool(3, 2, 1, "ceil")
    assert net.convs[4].pool == Pool(3, 2)
    assert len(net.convs) == 5


def test_zf_answers_as_loops_do(zf):
    """Without OpenCV: the conv layers in plain NumPy, RoI pooling as its layer's source says."""
    _, run = zf
    logits, activations = run.forward(run.inputs(foreign.images(200)))
    x = np.asarray(activations["pool2"], np.float64)
    for conv in run.architecture.convs[2:]:
        leaves = run.params[conv.name]
        x = np.maximum(slow.convolve(x, np.float64(leaves["kernel"]), 1, 1, 1) + leaves["bias"], 0)
    pooled = np.zeros((2, 6, 6, x.shape[3]))
    side = round((ZF_SIZE - 1) * 0.0625) + 1
    for i, j in np.ndindex(6, 6):
        rows = slice(i * side // 6, -(-(i + 1) * side // 6))
        columns = slice(j * side // 6, -(-(j + 1) * side // 6))
        pooled[:, i, j] = x[:, rows, columns].max(axis=(1, 2))
    np.testing.assert_allclose(activations["pool5"], pooled, rtol=1e-4, atol=1e-3)
    x = pooled.reshape(2, -1)
    for name in ("fc6", "fc7"):
        x = 0.5 * np.maximum(x @ run.params[name]["kernel"] + run.params[name]["bias"], 0)
    x = x @ run.params["logits"]["kernel"] + run.params["logits"]["bias"]
    np.testing.assert_allclose(logits, x, rtol=1e-4, atol=1e-4 * np.abs(x).max())


@pytest.mark.parametrize("old", [False, True], ids=["today", "2014"])
def test_alexnet_answers_alike(old, tmp_path):
    text = caffe_nets.alexnet()
    paths = caffe_nets.save(tmp_path, text, caffe_nets.weights(text, first_scale=3.0, old=old))
    options = dataclasses.replace(OPTIONS, image_size=240)
    run = imported_run(paths, options)
    check_answers(paths, run, foreign.images(240), ALEXNET_LAYERS)
    assert run.architecture.dropout_scales_training
    assert run.input_size == (227, 227)


def test_old_architecture_files(tmp_path):
    """`layers` with types in capitals and `input_dim`, as in 2014."""
    new = caffe_nets.alexnet()
    text = "\n".join(line for line in new.splitlines() if '"Input"' not in line)
    text = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 227 input_dim: 227\n' + text
    for kind, old in (
        ("Convolution", "CONVOLUTION"), ("InnerProduct", "INNER_PRODUCT"), ("ReLU", "RELU"),
        ("Pooling", "POOLING"), ("Dropout", "DROPOUT"), ("Softmax", "SOFTMAX"), ("LRN", "LRN"),
    ):  # fmt: skip
        text = text.replace(f'type: "{kind}"', f"type: {old}")
    text = text.replace("layer {", "layers {").replace("param { lr_mult: 1.0 }", "blobs_lr: 1")
    net = caffe_nets.weights(new)
    paths = caffe_nets.save(tmp_path, text, net)
    base = zfnet.get_config()
    options = dataclasses.replace(OPTIONS, prototxt=paths[0], image_size=240)
    old = importing.from_caffe(paths[1], options, base)
    (tmp_path / "net.prototxt").write_text(new)
    assert old.net.model == importing.from_caffe(paths[1], options, base).net.model


def test_layers_beside_the_way_are_left_out(zf, tmp_path):
    """As published: proposals come from a Python layer, and fields that we have no message for."""
    paths, _ = zf
    text = paths[0].read_text()
    rois = 'input: "rois" input_shape { dim: 1 dim: 5 }'
    assert rois in text
    text = text.replace(rois, 'input: "im_info" input_shape { dim: 1 dim: 3 }  # a comment')
    text += """
layer {
  bottom: "rpn_prob"
  top: "rpn_reshaped"
  name: 'rpn_reshaped'
  type: "Reshape"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }
}
layer {
  name: 'proposal'
  type: 'Python'
  bottom: 'rpn_reshaped'
  bottom: 'im_info'
  top: 'rois'
  python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: "'x': 16" }
}
layer {
  name: "loss" type: "SoftmaxWithLoss" bottom: "bbox_pred" top: "loss" include { phase: TRAIN }
}
"""
    (tmp_path / "net.prototxt").write_text(text)
    base = zfnet.get_config()
    found, expected = (
        importing.from_caffe(paths[1], dataclasses.replace(OPTIONS, prototxt=path), base).net
        for path in (tmp_path / "net.prototxt", paths[0])
    )
    assert found.model == expected.model
    boxes = dataclasses.replace(OPTIONS, prototxt=paths[0], output="bbox_pred")
    assert importing.from_caffe(paths[1], boxes, base).net.classes == 4 * 7


def test_a_mean_per_pixel_in_bgr(tmp_path, zf):
    paths, _ = zf
    mean = np.random.default_rng(0).uniform(90, 130, (3, 200, 200)).astype(np.float32)
    blob = message("BlobProto")(num=1, channels=3, height=200, width=200)
    blob.data.extend(mean.ravel().tolist())
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    np.save(tmp_path / "mean.npy", mean)
    rgb = mean.transpose(1, 2, 0)[..., ::-1]
    for name in ("mean.binaryproto", "mean.npy"):
        np.testing.assert_array_equal(importing.read_mean(tmp_path / name, bgr=True), rgb)
    np.save(tmp_path / "low.npy", mean / 255)
    low = dataclasses.replace(OPTIONS, mean=None, mean_file=tmp_path / "low.npy", prototxt=paths[0])
    with pytest.raises(
        ValueError, match=r"low\.npy is of pixels from 0 to 1, .*multiply it by 255"
    ):
        importing.from_caffe(paths[1], low, zfnet.get_config())
    options = dataclasses.replace(OPTIONS, mean=None, mean_file=tmp_path / "mean.binaryproto")
    copies = tuple(tmp_path / path.name for path in paths)
    for path, copy in zip(paths, copies):
        copy.write_bytes(path.read_bytes())
    run = imported_run(copies, options)
    np.testing.assert_array_equal(run.mean, rgb)
    cut = slice(4, 196)
    photos = foreign.images(200)
    check_answers(copies, run, photos, ZF_LAYERS, mean=rgb[cut, cut])
    with pytest.raises(ValueError, match=r"expected \[3\] or \[256, 256, 3\].*--image_size"):
        importing.from_caffe(
            paths[1],
            dataclasses.replace(options, prototxt=paths[0], image_size=256),
            zfnet.get_config(),
        )


def test_the_deconvnet_is_pytorchs(zf):
    """Padded pools that round up and overlap, layer 1 turned from BGR to RGB."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch.nn.functional as F

    from tests.torch_nets import project

    paths, run = zf
    _, activations = run.forward(run.inputs(foreign.images(200)))
    number, _ = units.strongest_maps(activations["pool5"], 1)
    seed = units.strongest_unit(activations["pool5"], number[:, 0])
    ours = deconvnet.project(
        run.architecture, run.params, activations, "pool5", seed, run.input_size
    )
    stored = message("NetParameter").FromString(paths[1].read_bytes())
    blobs = {layer.name: layer.blobs[0] for layer in stored.layer}
    convs = []
    for n, (stride, padding) in enumerate([(2, 3), (2, 2), (1, 1), (1, 1), (1, 1)], start=1):
        blob = blobs[f"conv{n}"]
        weight = torch.tensor(list(blob.data)).reshape(*blob.shape.dim)
        convs.append((weight, stride, padding, 1))
    chw = {
        name: torch.from_numpy(np.array(maps).transpose(0, 3, 1, 2))
        for name, maps in activations.items()
        if maps.ndim == 4
    }
    places = {
        n: F.max_pool2d(chw[name], 3, 2, pad, ceil_mode=bool(pad), return_indices=True)[1]
        for n, (name, pad) in {1: ("norm1", 1), 2: ("norm2", 1), 5: ("conv5", 0)}.items()
    }
    sizes = [(ZF_SIZE, ZF_SIZE)] + [chw[f"conv{n}"].shape[2:] for n in range(1, 6)]
    pools = {1: (3, 2), 2: (3, 2), 5: (3, 2)}
    start = torch.from_numpy(np.array(seed).transpose(0, 3, 1, 2))
    pixels = project(convs, places, sizes, pools, start, 5, True).numpy()
    foreign.same({"pixels": ours}, {"pixels": pixels[:, ::-1]})


@pytest.mark.slow
def test_mining_runs_on_it(small_zf, tmp_path):
    """As it is, on pictures prepared for the net; cropped projections are exact."""
    run, folder = small_zf, tmp_path / "pictures"
    data = quickstart.get_config().data
    data.image_size, data.prepared_dir = 100, str(folder)
    data.pictures.train_per_class = data.pictures.validation_per_class = 1
    prepare(data, workers=1, store_images=True, overwrite=False)
    split = open_prepared(folder, "validation")
    here = dataclasses.replace(run, directory=tmp_path / "run")
    result = study.measured(here, split, Options(k=2), batch_size=8, progress=False)
    winners = load(result.folder)
    assert winners.about["epoch"] is None
    assert winners.about["class_names"] == list(split.class_names) != list(run.class_names)
    for layer in ("conv2", "conv5"):
        value = winners.winners[f"{layer}/value"]
        number = int(value[:, 0].argmax())
        row = winners.winners[f"{layer}/image"][number, 0]
        _, activations = run.forward(run.inputs(split.rows(np.array([row]))))
        place = winners.winners[f"{layer}/position"][number, 0]
        maps = np.asarray(activations[layer])[0, :, :, number]
        assert maps[tuple(place)] == pytest.approx(value[number, 0], rel=1e-5)
        assert maps.max() == maps[tuple(place)]
        seed = units.unit_at(activations[layer], number, *(jnp.array([n]) for n in place))
        whole = np.asarray(
            deconvnet.project(
                run.architecture, run.params, activations, layer, seed, run.input_size
            )
        )[0]
        window = winners.winners[f"{layer}/window"][number, 0]
        top, left, bottom, right = moved_inside(window, whole.shape)
        expected = whole[top:bottom, left:right]
        cropped = np.float32(winners.projections[f"{layer}/projection"][number, 0])
        cropped = cropped * winners.projections[f"{layer}/scale"][number, 0]
        np.testing.assert_allclose(cropped, expected, atol=2e-3 * np.abs(expected).max())
        assert np.abs(whole).sum() == pytest.approx(np.abs(expected).sum(), rel=1e-5)


@pytest.mark.slow
def test_occlusion_by_windows_is_exact_on_it(small_zf, tmp_path):
    Image.fromarray(foreign.images(100, 1)[0]).save(tmp_path / "photo.png")
    options = OcclusionOptions((str(tmp_path / "photo.png"),), square=15, stride=27, layer="conv5")
    result = occlusion.measured(small_zf, options, batch_size=9, progress=False)
    fast = result.arrays
    pixels = load_photo(tmp_path / "photo.png", small_zf.config.data.image_size)[None]
    resolved = dataclasses.replace(occlusion.resolved(small_zf, options), plain=True)
    plain = occlusion.of_pixels(small_zf, resolved, pixels, None, batch_size=9, progress=False)
    for name in ("activity", "probability"):
        np.testing.assert_allclose(fast[name], plain[name], rtol=1e-4, err_msg=name)
    assert np.ptp(fast["activity"]) > 0
    assert result.folder.is_relative_to(small_zf.directory / "studies" / "occlusion")


def test_a_photo_goes_through_scripts_visualize_as_it_is(small_zf, tmp_path):
    photo, picture = tmp_path / "photo.png", tmp_path / "seen.png"
    Image.fromarray(foreign.images(100, 1)[0]).save(photo)
    run_script(
        "visualize", f"--workdir={small_zf.directory}", f"--image={photo}", "--maps=2",
        f"--out={picture}",
    )  # fmt: skip
    assert picture.exists()


def test_batch_norm_and_scale_answer_alike(tmp_path):
    """Straight after a convolution, each a layer; sums of statistics and their number. The relu
    after them leaks."""
    text = caffe_nets.alexnet()
    net, rng = caffe_nets.weights(text), np.random.default_rng(0)
    maps = foreign.MAPS[0]
    added = "".join(
        f'layer {{ name: "{kind}" type: "{kind}" bottom: "conv1" top: "conv1"'
        + (" scale_param { bias_term: true } }\n" if kind == "Scale" else " }\n")
        for kind in ("BatchNorm", "Scale")
    )
    place = text.index('layer { name: "relu1"')
    text = text[:place] + added + text[place:]
    leaky = 'type: "ReLU" relu_param { negative_slope: 0.1 }'
    text = text[:place] + text[place:].replace('type: "ReLU"', leaky, 1)
    arrays = {
        "BatchNorm": [rng.normal(size=maps) * 99, rng.uniform(1, 9, maps) * 99, np.array([99.0])],
        "Scale": [rng.uniform(0.5, 2, maps), rng.normal(size=maps)],
    }
    for kind, values in arrays.items():
        layer = net.layer.add(name=kind, type=kind)
        for array in values:
            blob = layer.blobs.add()
            blob.data.extend(array.tolist())
            blob.shape.dim.append(len(array))
    paths = caffe_nets.save(tmp_path, text, net)
    run = imported_run(paths, dataclasses.replace(OPTIONS, image_size=240))
    assert run.architecture.convs[0].then[0] == Rectifier(0.1)
    check_answers(paths, run, foreign.images(240, 1), ALEXNET_LAYERS)


@pytest.mark.parametrize(
    ("source", "crop", "scale"),
    [
        ('type: "HDF5Data" hdf5_data_param { source: "x" batch_size: 10 }', None, 1),
        ('type: "WindowData" window_data_param { crop_size: 227 scale: 0.5 }', 227, 2),
        ('type: "ImageData" image_data_param { new_height: 256 crop_size: 227 }', 227, 1),
        ('type: "Data" data_param { scale: 0.0039215689 crop_size: 227 }', 227, 255),
        ('type: "MemoryData" memory_data_param { channels: 3 height: 227 width: 227 }', 227, 1),
        ('type: "DummyData" dummy_data_param { num: 1 height: 227 width: 227 }', 227, 1),
        ('type: "DummyData" dummy_data_param { shape { dim: [1, 3, 227, 227] } }', 227, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order mark"])
def test_layers_that_make_the_input(source, crop, scale, mark, tmp_path):
    """With and without labels, in training alone or in both; a comment in Latin-1."""
    text = caffe_nets.alexnet()
    given = text.splitlines()[1]
    names = 'name: "data" top: "data" top: "label"'
    layers = [f"layer {{ {names} {source} include {{ phase: {p} }} }}" for p in ("TRAIN", "TEST")]
    changed = mark + text.replace(given, "\n".join(layers)) + "# donn\u00e9es"
    paths = caffe_nets.save(tmp_path, text, caffe_nets.weights(text))
    base = zfnet.get_config()
    options = dataclasses.replace(OPTIONS, prototxt=paths[0], image_size=240)
    expected = importing.from_caffe(paths[1], options, base)
    encoding = "utf-8" if mark else "latin-1"
    paths[0].write_bytes(changed.encode(encoding))
    if crop is None:
        with pytest.raises(ValueError, match=r"does not say how many pixels .*--crop"):
            importing.from_caffe(paths[1], options, base)
        options = dataclasses.replace(options, crop=227)
    found = importing.from_caffe(paths[1], options, base)
    assert found.net.model == expected.net.model
    assert found.preprocessing.crop == 227
    assert found.preprocessing.scale == pytest.approx(scale)


def test_preprocessing_of_a_data_layer_is_recovered(tmp_path):
    """As files of training say it: blue, green, red; (pixels - mean) * scale."""
    text = caffe_nets.alexnet()
    given = text.splitlines()[1]
    assert '"Input"' in given
    data = """layer {
      name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
      transform_param { crop_size: 227 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 }
    }"""
    paths = caffe_nets.save(tmp_path, text.replace(given, data), caffe_nets.weights(text))
    options = importing.Options(bgr=True, prototxt=paths[0], image_size=256)
    found = importing.from_caffe(paths[1], options, zfnet.get_config()).preprocessing
    assert (found.crop, found.mean.tolist(), found.scale) == (227, [123, 117, 104], 2.0)
    options = dataclasses.replace(options, bgr=False, scale=1.0)
    found = importing.from_caffe(paths[1], options, zfnet.get_config()).preprocessing
    assert (found.mean.tolist(), found.scale) == ([104, 117, 123], 1.0)


def test_where_regions_are_evenly_pooled():
    """A region of 6 k or 6 k + 1 units; 224-pixel images give 15, whose windows are uneven. Maps of
    16 units of a region of 18 (VGG_CNN_M at 280 pixels): the last window is partial."""
    region = RegionPool("roi", 6, 1 / 16)
    for size, crop, pool in (
        (12, 184, Pool(2, 2)),
        (13, 192, Pool(3, 2)),
        (18, 280, Pool(3, 3)),
        (16, 280, Pool(3, 3, rounding="ceil")),
    ):
        assert region_pool(region, size, crop) == pool
    with pytest.raises(ValueError, match=r"roi: RoI pooling of 15 x 15 units.*evenly spaced"):
        region_pool(region, 15, 224)


@pytest.mark.parametrize(
    ("old", "new", "message_"),
    [
        ('"LRN"', '"MVN"', "layer norm1: a net of this family has no MVN here"),
        ("kernel_size: 7", "kernel_size: 5", r"conv1: its weight is \[8, 3, 7, 7\], expected"),
        ("num_output: 20", "num_output: 21", r"fc6: its weight is \[20, 216\], expected \[21,"),
        ('name: "fc7"', 'name: "fc9"', "layer fc9 has 0 tensors, expected 2; those with any"),
        ("pool: MAX", "pool: STOCHASTIC", "pool1: stochastic pooling"),
        ("pooled_w: 6", "pooled_w: 5", "roi_pool5: it pools to 6 x 5 values"),
        ("scale_train: false", "scale_train: true", "must be the same after every layer"),
        ("stride: 2 group", "stride: 2 stride: 3 stride: 1 group", r"conv1: its stride is \[2, 3"),
        ("layer {", "layer {{", "cannot be read: ParseError"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(old, new, message_, zf, tmp_path):
    paths, _ = zf
    (tmp_path / "net.prototxt").write_text(paths[0].read_text().replace(old, new, 1))
    options = dataclasses.replace(OPTIONS, prototxt=tmp_path / "net.prototxt")
    with pytest.raises(ValueError, match=message_):
        importing.from_caffe(paths[1], options, zfnet.get_config())


def test_a_convolution_s_sides_dilation_and_depthwise_groups():
    """However the file puts them: one number, two, or one each for height and width."""

    def read(kind: str, fields: str, *shape: int):
        layer = message("LayerParameter")()
        text_format.Parse(f"convolution_param {{ num_output: 4 {fields} bias_term: false }}", layer)
        blob = message("BlobProto")()
        blob.shape.dim.extend(shape)
        blob.data.extend(range(int(np.prod(shape))))
        (link,) = caffe_layers.links("c", kind, layer, {"c": [blob]})
        return link

    sides = "kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 2 dilation: 2"
    link = read("Convolution", sides, 4, 3, 3, 5)
    assert (link.stride, link.padding, link.dilation, link.groups) == ((2, 1), (0, 2), (2, 2), 1)
    link = read("Convolution", "kernel_size: 3 kernel_size: 1 dilation: 1 dilation: 2", 4, 3, 3, 1)
    assert (link.stride, link.padding, link.dilation) == ((1, 1), (0, 0), (1, 2))
    assert read("ConvolutionDepthwise", "kernel_size: 3 pad: 1", 4, 1, 3, 3).groups == 4
    with pytest.raises(ValueError, match=r"c: its stride is \[2, 0\], expected one number or two"):
        read("Convolution", "kernel_size: 3 stride_h: 2", 4, 3, 3, 3)
