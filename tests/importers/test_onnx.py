"""Graphs of ONNX: the imported net's activations are those that onnxruntime computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (zfnet_jax[import])")

import onnx
from onnx import TensorProto, helper, numpy_helper

from configs import zfnet
from tests import foreign
from tests.onnx_nets import ALEXNET, ZFNET512, answers, build
from zfnet_jax import deconvnet, units
from zfnet_jax.importers import importing, write
from zfnet_jax.layer_specs import Pool
from zfnet_jax.runs.run import Run, open_run

MEAN = (123.68, 116.779, 103.939)
OPTIONS = importing.Options(bgr=True, mean=np.array(MEAN, np.float32), image_size=240)


def imported_run(model: onnx.ModelProto, folder, options=OPTIONS) -> Run:
    onnx.save(model, folder / "net.onnx")
    base = zfnet.get_config()
    found = importing.from_onnx(folder / "net.onnx", options, base)
    write.write_workdir(folder / "run", found, base)
    return open_run(folder / "run")


def check_answers(model: onnx.ModelProto, run: Run, photos: np.ndarray, bgr: bool = True) -> None:
    logits, activations = run.forward(run.inputs(photos))
    theirs = answers(model, foreign.nchw(photos, MEAN, 1, bgr=bgr, crop=224))
    assert set(theirs) == {n for n in activations if "switches" not in n} | {"logits"}
    foreign.same(activations | {"logits": logits}, theirs)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return foreign.images(240)


def test_zfnet512_answers_alike(photos, tmp_path):
    model = build(ZFNET512)
    run = imported_run(model, tmp_path)
    check_answers(model, run, photos)
    net = run.architecture
    before_pool = run.config.model.norm_before_pool
    assert (before_pool, net.dropout, net.dropout_scales_training) == (True, 0.5, True)
    assert net.convs[4].pool == Pool(2, 2)
    assert net.convs[0].padding == 0
    norm = net.convs[1].contrast_norm
    assert (norm.maps, norm.k, norm.alpha_convention) == (5, 2.0, "mean")
    assert norm.alpha == pytest.approx(5e-4)


def test_alexnet_with_groups_and_partial_windows_answers_alike(photos, tmp_path):
    model = build(ALEXNET)
    run = imported_run(model, tmp_path)
    check_answers(model, run, photos)
    assert [conv.groups for conv in run.architecture.convs] == [1, 2, 1, 2, 2]
    assert run.architecture.convs[0].pool == Pool(3, 2, 0, "ceil")


@pytest.mark.parametrize("net", [ZFNET512, ALEXNET], ids=["zfnet512", "alexnet"])
def test_the_deconvnet_is_pytorchs(net, photos, tmp_path):
    """zfnet512's last pool does not overlap; AlexNet has groups and partial windows."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch.nn.functional as F

    from tests.torch_nets import project

    model = build(net)
    run = imported_run(model, tmp_path)
    _, activations = run.forward(run.inputs(photos))
    number, _ = units.strongest_maps(activations["pool5"], 1)
    seed = units.whole_map(activations["pool5"], number[:, 0])
    ours = deconvnet.project(
        run.architecture, run.params, activations, "pool5", seed, run.input_size
    )
    tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in
               model.graph.initializer}  # fmt: skip
    convs = [
        (tensors[f"gpu_0/conv{n}_w_0"], stride, pad, groups)
        for n, (_, stride, pad, groups) in enumerate(net["convs"], start=1)
    ]
    theirs = answers(model, foreign.nchw(photos, MEAN, 1, bgr=True, crop=224))
    pools = {n: (window, stride) for n, (window, stride, _) in net["pools"].items()}
    places = {}
    for n, (window, stride) in pools.items():
        before = torch.from_numpy(theirs[f"norm{n}" if n < 3 else f"conv{n}"])
        places[n] = F.max_pool2d(
            before, window, stride, ceil_mode=net is ALEXNET, return_indices=True
        )[1]
    sizes = [(224, 224)] + [theirs[f"conv{n}"].shape[2:] for n in range(1, 6)]
    start = torch.from_numpy(np.array(seed).transpose(0, 3, 1, 2))
    pixels = project(convs, places, sizes, pools, start, 5, True).numpy()
    foreign.same({"pixels": ours}, {"pixels": pixels[:, ::-1]})  # BGR there, RGB here


@pytest.mark.parametrize(
    ("mean", "scale"), [(None, None), ((20.0, 10.0, 0.0), 4.0)], ids=["alone", "after ours"]
)
def test_preprocessing_in_the_graph_is_recovered(mean, scale, photos, tmp_path):
    """(x / 2 - mean) * 3 before the first convolution, and what the user says before that."""
    model = build(ZFNET512)
    graph = model.graph
    half = np.array(MEAN[::-1], np.float32).reshape(1, 3, 1, 1) / 2
    for name, array in (("two", np.float32(2)), ("mean", half), ("three", np.float32(3))):
        graph.initializer.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
    steps = [("Div", "gpu_0/data_0", "two"), ("Sub", "a", "mean"), ("Mul", "b", "three")]
    for place, ((kind, x, constant), out) in enumerate(zip(steps, ("a", "b", "c"))):
        graph.node.insert(place, helper.make_node(kind, [x, constant], [out]))
    graph.node[3].input[0] = "c"
    options = importing.Options(
        bgr=True, image_size=240, mean=mean and np.array(mean, np.float32), scale=scale
    )
    run = imported_run(model, tmp_path, options)
    if mean is None:
        np.testing.assert_allclose(run.mean[3, 4], MEAN, rtol=1e-5)
        assert run.config.augment.scale == pytest.approx(2 / 3)
    logits, _ = run.forward(run.inputs(photos))
    pixels = foreign.nchw(photos, mean or 0, scale or 1, bgr=True, crop=224)
    foreign.same({"logits": logits}, {"logits": answers(model, pixels)["logits"]})


@pytest.mark.parametrize(("scale", "asked"), [(255, False), (0.5, True)])
def test_only_a_graph_that_divides_pixels_itself_says_that_nothing_is_subtracted(
    scale, asked, tmp_path
):
    model = build(ZFNET512)
    model.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), "most"))
    model.graph.node.insert(0, helper.make_node("Div", ["gpu_0/data_0", "most"], ["x"]))
    model.graph.node[1].input[0] = "x"
    onnx.save(model, tmp_path / "net.onnx")
    options = dataclasses.replace(OPTIONS, mean=None)
    if asked:
        with pytest.raises(ValueError, match="what is subtracted from pixels"):
            importing.from_onnx(tmp_path / "net.onnx", options, zfnet.get_config())
        return
    found = importing.from_file(tmp_path / "net.onnx", options, zfnet.get_config())
    np.testing.assert_array_equal(found.preprocessing.mean, 0)
    found = importing.from_onnx(tmp_path / "net.onnx", OPTIONS, zfnet.get_config())
    np.testing.assert_allclose(found.preprocessing.mean, MEAN, rtol=1e-6)
    assert found.preprocessing.scale == pytest.approx((255,) * 3)


def test_all_that_a_file_does_not_say_is_asked_for_in_one_line(tmp_path):
    onnx.save(build(ZFNET512), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"--order=.*--image_size=.*--mean=") as raised:
        importing.from_file(tmp_path / "net.onnx", importing.Options(), zfnet.get_config())
    assert len(str(raised.value).splitlines()) == 1
    assert "--crop" not in str(raised.value)  # the graph says it


def parameters(path, options=OPTIONS):
    found = importing.from_onnx(path, options, zfnet.get_config())
    return found, {
        f"{layer}.{leaf}": array
        for layer, leaves in found.net.params.items()
        for leaf, array in leaves.items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file that holds all of its weights, and the parameters that it is read to have."""
    path = tmp_path_factory.mktemp("whole") / "net.onnx"
    onnx.save(build(ZFNET512), path)
    return path, parameters(path)[1]


def check_parameters(path, expected) -> None:
    found = parameters(path)[1]
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_weights_beside_the_file(whole, tmp_path):
    """As PyTorch saves all nets since 2.9, the largest tensors in one file of their own."""
    path = tmp_path / "net.onnx"
    onnx.save(
        build(ZFNET512), path, save_as_external_data=True, location="net.onnx.data",
        size_threshold=100,
    )  # fmt: skip
    assert path.stat().st_size < 10_000
    check_parameters(path, whole[1])
    digest = write.digest_of_file(tmp_path / "net.onnx.data")
    assert parameters(path)[0].source["beside"] == {"net.onnx.data": digest}


def test_a_view_with_a_dynamic_batch(whole, tmp_path):
    """x.view(x.size(0), -1) as PyTorch writes it."""
    model = build(ZFNET512)
    graph = model.graph
    model.opset_import[0].version = 11
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    place = next(n for n, node in enumerate(graph.node) if node.op_type == "Reshape")
    maps, constant = graph.node[place].input[0], numpy_helper.from_array
    index = helper.make_node("Constant", [], ["first"], value=constant(np.array(0)))
    rest = helper.make_node("Constant", [], ["rest"], value=constant(np.array([-1])))
    nodes = [
        helper.make_node("Shape", [maps], ["sizes"]), index, rest,
        helper.make_node("Gather", ["sizes", "first"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch"], ["batches"], axes=[0]),
        helper.make_node("Concat", ["batches", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", [maps, "to"], [graph.node[place].output[0]]),
    ]  # fmt: skip
    del graph.node[place]
    for n, node in enumerate(nodes):
        graph.node.insert(place + n, node)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "net.onnx")
    check_parameters(tmp_path / "net.onnx", whole[1])
    graph.node[place + 5].input.append("rest")
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"Reshape flat_Reshape: .*expected two axes"):
        parameters(tmp_path / "net.onnx")


def test_constants_that_nodes_make_of_constants(whole, tmp_path):
    """ConstantOfShape, as the light graphs of the package onnx have all weights; a transposed
    matrix; a weight in half precision."""
    model = build(ZFNET512)
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    expected = {name: np.array(array) for name, array in whole[1].items()}
    fc7 = numpy_helper.to_array(stored["fc7_w"])
    conv3 = numpy_helper.to_array(stored["gpu_0/conv3_w_0"]).astype(np.float16)
    expected["conv1.bias"][:] = 0.5
    expected["conv3.kernel"] = conv3.astype(np.float32).transpose(2, 3, 1, 0)
    for name in ("gpu_0/conv1_b_0", "fc7_w", "gpu_0/conv3_w_0"):
        graph.initializer.remove(stored[name])
        del graph.input[[value.name for value in graph.input].index(name)]
    half = numpy_helper.from_array(np.array([0.5], np.float32))
    for name, array in (("n", np.array([8])), ("fc7_t", fc7.T.copy()), ("conv3_half", conv3)):
        graph.initializer.append(numpy_helper.from_array(array, name))
    for place, node in enumerate([
        helper.make_node("ConstantOfShape", ["n"], ["gpu_0/conv1_b_0"], value=half),
        helper.make_node("Transpose", ["fc7_t"], ["fc7_w"], perm=[1, 0]),
        helper.make_node("Cast", ["conv3_half"], ["gpu_0/conv3_w_0"], to=TensorProto.FLOAT),
    ]):  # fmt: skip
        graph.node.insert(place, node)
    model.opset_import[0].version = 9
    onnx.save(model, tmp_path / "net.onnx")
    check_parameters(tmp_path / "net.onnx", expected)


@pytest.mark.parametrize("kind", ["ConstantOfShape", "Expand", "Tile"])
def test_constants_are_not_computed_that_would_fill_the_memory(kind, tmp_path):
    """2 TiB of them; ONNX's own inference says how large a result would be."""
    model = build(ZFNET512)
    graph, size = model.graph, np.array([2**20, 2**19])
    graph.initializer.append(numpy_helper.from_array(size, "size"))
    graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1), np.float32), "one"))
    inputs = ["size"] if kind == "ConstantOfShape" else ["one", "size"]
    graph.node.insert(0, helper.make_node(kind, inputs, ["huge"]))
    model.opset_import[0].version = 9
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=f"{kind} huge: with its 2199023255552 bytes"):
        parameters(tmp_path / "net.onnx")


def test_matmul_with_an_added_bias(photos, tmp_path):
    model = build(ZFNET512)
    gemm = next(node for node in model.graph.node if node.output[0] == "sums6")
    place = list(model.graph.node).index(gemm)
    stored = next(t for t in model.graph.initializer if t.name == "fc6_w")
    stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored).T.copy(), "fc6_w"))
    del model.graph.input[[i.name for i in model.graph.input].index("fc6_w")]
    model.graph.node.remove(gemm)
    model.graph.node.insert(
        place, helper.make_node("MatMul", ["flat_Reshape", "fc6_w"], ["product"])
    )
    add = helper.make_node("Add", ["product", "fc6_b"], ["sums6"])
    model.graph.node.insert(place + 1, add)
    check_answers(model, imported_run(model, tmp_path), photos[:1])


def _set(node_output: str, **attributes: object) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if n.output[0] == node_output)
        for name, value in attributes.items():
            kept = [a for a in node.attribute if a.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def _tensor(name: str, *shape: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(shape, np.float32), name))

    return change


def _kind(node_output: str, kind: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        next(n for n in model.graph.node if n.output[0] == node_output).op_type = kind

    return change


def _between(
    node_output: str, kind: str, **attributes: object
) -> Callable[[onnx.ModelProto], None]:
    """A node after that one."""

    def change(model: onnx.ModelProto) -> None:
        nodes = model.graph.node
        place = next(n for n, node in enumerate(nodes) if node.output[0] == node_output) + 1
        nodes[place].input[0] = "between"
        nodes.insert(place, helper.make_node(kind, [node_output], ["between"], **attributes))

    return change


def _of_another_domain(node_output: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        next(n for n in model.graph.node if n.output[0] == node_output).domain = "com.example"

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("gpu_0/conv1_1", dilations=[2, 0]), r"gpu_0/conv1_1: its dilations are \[2, 0\]"),
        (_set("gpu_0/conv1_1", strides=[2]), r"gpu_0/conv1_1: its strides are \[2\]"),
        (_set("gpu_0/conv3_1", pads=[1, 1, 0, -1]), r"its pads are \[1, 1, 0, -1\]"),
        (_set("pool1", pads=[0, 3, 0, 1]), r"pool1: pool: .*padding in \[0, window\)"),
        (_set("sums6", alpha=2.0), r"sums6: alpha, beta and transA"),
        (_kind("conv2", "Sigmoid"), "Sigmoid conv2: a net of this family has no Sigmoid here"),
        (_kind("pool2", "LpPool"), "has no LpPool here"),
        (_between("conv3", "Cast", to=TensorProto.INT32), "has no Cast here"),
        (_of_another_domain("conv3"), r"Relu conv3: it is not ONNX's own, but of com\.example"),
        (
            _tensor("gpu_0/conv2_w_0", 10, 9, 5, 5),
            r"gpu_0/conv2_1: its weight is \[10, 9, 5, 5\], expected \[10, 8, 5, 5\]",
        ),
        (_tensor("gpu_0/conv2_b_0", 9), r"gpu_0/conv2_1: its bias is \[9\], expected \[10\]"),
        (
            _tensor("fc6_w", 20, 430),
            r"sums6: its weight is \[20, 430\], expected \[20, 432\] = 12 x 6 x 6 inputs",
        ),
        (_tensor("fc7_w", 18, 21), r"sums7: its weight is \[18, 21\], expected \[18, 20\]"),
        (lambda m: m.graph.node.pop(1), "nothing makes conv1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, message, tmp_path):
    model = build(ZFNET512)
    change(model)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=message):
        importing.from_onnx(tmp_path / "net.onnx", OPTIONS, zfnet.get_config())


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225),
         r"--mean and --scale: .*--mean=123.675,116.28,103.53 --scale=58.395,57.12,57.375"),
        ((0.5, 0.5, 0.5), None, r"--mean: .*--mean=127.5,127.5,127.5 --scale=255"),
        ((123.68, 116.779, 103.939), (0.229, 0.224, 0.225),
         r"--scale: .*--mean=123.68,116.779,103.939 --scale=58.395,57.12,57.375"),
        ((0, 0, 0), 1 / 256, r"--scale=0.00390625: pixels are divided by it.*: --scale=256"),
    ],
)  # fmt: skip
def test_means_and_scales_of_pixels_from_0_to_1_are_refused(mean, scale, message, whole):
    """torchvision's and Keras' recipes."""
    options = dataclasses.replace(OPTIONS, mean=np.array(mean, np.float32), scale=scale)
    with pytest.raises(ValueError, match=message) as raised:
        parameters(whole[0], options)
    assert "net.onnx" not in str(raised.value)  # which is not to blame


def test_a_graph_that_takes_pixels_from_0_to_1(tmp_path):
    model = build(ZFNET512)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(mean, "mean"))
    model.graph.node.insert(0, helper.make_node("Sub", ["gpu_0/data_0", "mean"], ["x"]))
    model.graph.node[1].input[0] = "x"
    onnx.save(model, tmp_path / "net.onnx")
    options = dataclasses.replace(OPTIONS, mean=None, bgr=False)
    with pytest.raises(ValueError, match=r"it subtracts 0.485,0.456,0.406 itself: .*--scale=255"):
        parameters(tmp_path / "net.onnx", options)
    found, _ = parameters(tmp_path / "net.onnx", dataclasses.replace(options, scale=255.0))
    np.testing.assert_allclose(found.preprocessing.mean, 255 * mean.ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "message"), [("bgr", "--order"), ("mean", "--mean"), ("image_size", "--image_size")]
)
def test_preprocessing_is_never_guessed(field, message, tmp_path):
    onnx.save(build(ZFNET512), tmp_path / "net.onnx")
    options = dataclasses.replace(OPTIONS, **{field: None})
    with pytest.raises(ValueError, match=message):
        importing.from_onnx(tmp_path / "net.onnx", options, zfnet.get_config())
