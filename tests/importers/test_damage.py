"""Files that are broken, cut, too large, hostile or of another net: one clear error, nothing run,
nothing left behind."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs import zfnet
from tests import caffe_nets, forked
from tests.conftest import ROOT
from zfnet_jax import architecture
from zfnet_jax.command import shell
from zfnet_jax.importers import files, importing, own, write
from zfnet_jax.runs import workdir

BASE = zfnet.get_config()
GIVEN = importing.Options(bgr=True, mean=np.zeros(3, np.float32), image_size=256)
PRESET = dataclasses.replace(GIVEN, preset="pytorchcv_zfnet")
READ = {
    "pth": importing.from_pytorch,
    "safetensors": importing.from_pytorch,
    "onnx": importing.from_onnx,
    "caffemodel": importing.from_caffe,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A good file of each format whose package is there."""
    folder = tmp_path_factory.mktemp("whole")
    text = caffe_nets.zf(192)
    prototxt, model = caffe_nets.save(folder, text, caffe_nets.weights(text))
    try:
        import torch

        from tests.torch_nets import Net

        state = Net("pytorchcv_zfnet").published_state()
        torch.save(state, folder / "net.pth")
        torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
        from safetensors.torch import save_file

        save_file({name: t.contiguous() for name, t in state.items()}, folder / "net.safetensors")
        found = importing.from_caffe(model, dataclasses.replace(GIVEN, prototxt=prototxt), BASE)
        (folder / "exported.safetensors").write_bytes(exported(found))
    except ImportError:
        pass
    try:
        import onnx

        from tests.onnx_nets import ZFNET512, build

        onnx.save(build(ZFNET512), folder / "net.onnx")
    except ImportError:
        pass
    return folder


def exported(imported: write.Imported) -> bytes:
    """As `exporters.safetensors` writes it."""
    from safetensors.numpy import save

    config = write.run_config(imported, BASE)
    net = architecture.from_config(config.model, imported.net.classes)
    tensors = own.to_foreign(net, imported.net.params, (config.augment.crop,) * 2)
    tensors["mean"] = imported.preprocessing.mean_image
    said = own.description(
        workdir.as_json(config), imported.class_names, 0, imported.class_titles, {}
    )
    return save(tensors, metadata={own.KEY: said})


def the_file(whole: Path, name: str) -> Path:
    path = whole / name
    if not path.exists():
        pytest.skip(f"no {name}: its package is not installed (zfnet_jax[import])")
    return path


def said_of(call: Callable[[], object]) -> str:
    """The message of the ValueError that it raises, or nothing; any other error fails the test."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


NAMES = [
    "net.pth", "legacy.pth", "net.safetensors", "exported.safetensors", "net.onnx",
    "net.caffemodel",
]  # fmt: skip


def read(path: Path, whole: Path):
    options = PRESET if path.suffix in (".pth", ".safetensors") else GIVEN
    if path.name == "exported.safetensors":
        options = importing.Options()
    if path.suffix == ".caffemodel":
        options = dataclasses.replace(GIVEN, prototxt=whole / "net.prototxt")
    return READ[path.suffix[1:]](path, options, BASE)


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(name, whole):
    assert read(the_file(whole, name), whole).net.classes == 7


@pytest.mark.parametrize("name", NAMES)
def test_cut_files_are_refused(name, whole, tmp_path):
    content = the_file(whole, name).read_bytes()
    for length in (0, 1, 7, 100, len(content) // 3, len(content) // 2, len(content) - 1):
        path = tmp_path / name
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            read(path, whole)


@pytest.mark.parametrize("name", NAMES)
def test_fuzzed_files_give_a_net_or_one_line(name, whole, tmp_path):
    """Bytes changed, taken out, put in and repeated, most of them where the structure is."""
    content = the_file(whole, name).read_bytes()
    rng = np.random.default_rng(len(content))
    path, refused = tmp_path / name, 0
    for round_ in range(60):
        broken = bytearray(content)
        edge = min(len(broken), (200, 4000, len(broken))[round_ % 3])
        ends = round_ % 2 and name.endswith("pth")  # a zip archive's directory lies at its end
        for _ in range(rng.integers(1, 9)):
            place = int(rng.integers(0, edge))
            place = len(broken) - 1 - place if ends else place
            kind = rng.integers(4)
            if kind == 0:
                broken[place] = int(rng.integers(256))
            elif kind == 1:
                broken[place] ^= 1 << int(rng.integers(8))
            elif kind == 2:
                del broken[place : place + int(rng.integers(1, 20))]
            else:
                broken[place:place] = rng.bytes(int(rng.integers(1, 20)))
            edge = min(edge, len(broken))
        path.write_bytes(broken)
        said = said_of(lambda path=path: read(path, whole))
        assert "\n" not in said
        assert not said or str(path) in said
        refused += bool(said)
    assert refused >= 15


def test_fuzzed_architectures_of_caffe(whole, tmp_path):
    text = (whole / "net.prototxt").read_text()
    rng = np.random.default_rng(0)
    words, refused = text.split(" "), 0
    for _ in range(60):
        broken = list(words)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(broken)))
            other = ("-1", "0", "99999999999", "{", "}", '"conv1"', "nan", words[place - 1])
            broken[place] = other[rng.integers(len(other))]
        path = tmp_path / "net.prototxt"
        path.write_text(" ".join(broken))
        changed = dataclasses.replace(GIVEN, prototxt=path)
        said = said_of(
            lambda changed=changed: importing.from_caffe(whole / "net.caffemodel", changed, BASE)
        )
        assert "\n" not in said
        refused += bool(said)
    assert refused > 20


class _Malice:
    """Unpickled by an ordinary loader it would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("kind", ["plain", "zip", "inside"])
def test_code_in_a_pickle_is_not_run(kind, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    target, path = tmp_path / "executed", tmp_path / "net.pth"
    malice = _Malice(target)
    if kind == "plain":
        path.write_bytes(pickle.dumps({"features.weight": malice}, protocol=2))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(malice, protocol=2))
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
    else:
        torch.save({"state_dict": {"features.weight": torch.zeros(3), "x": malice}}, path)
    with pytest.raises(ValueError, match=r"net\.pth: it cannot be read.*state_dict\(\) alone"):
        importing.from_pytorch(path, PRESET, BASE)
    assert not target.exists()
    pickle.loads(pickle.dumps(malice))  # it would have
    assert target.exists()


def test_a_pickled_mean_is_refused(tmp_path):
    np.save(tmp_path / "mean.npy", np.array([_Malice(tmp_path / "executed")]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"mean\.npy"):
        importing.read_mean(tmp_path / "mean.npy", bgr=True)
    assert not (tmp_path / "executed").exists()


def test_files_that_are_too_large(whole, tmp_path, monkeypatch):
    for name in ("net.pth", "net.onnx", "net.caffemodel"):
        if (whole / name).exists():
            with monkeypatch.context() as patch:
                patch.setattr(files, "LARGEST", 10_000)
                with pytest.raises(ValueError, match="more than any net of this family"):
                    read(whole / name, whole)
    pytest.importorskip("torch", reason="PyTorch is not installed")
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 1_000_000)
    monkeypatch.setattr(files, "LARGEST", 10_000)
    with pytest.raises(ValueError, match="unpacks to 1000000 bytes"):
        importing.from_pytorch(tmp_path / "net.pth", PRESET, BASE)


def test_a_value_that_stands_for_a_huge_tensor(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save({"output.fc3.bias": torch.zeros(1).expand(2**34)}, tmp_path / "net.pth")
    assert (tmp_path / "net.pth").stat().st_size < 5000
    with pytest.raises(ValueError, match="unpacks to 68719476736 bytes"):
        importing.from_pytorch(tmp_path / "net.pth", PRESET, BASE)


def test_shapes_that_promise_more_than_there_is(whole, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(the_file(whole, "net.onnx"))
    model.graph.initializer[0].dims[0] = 2**40
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="gpu_0/conv1_w_0 has the shape"):
        importing.from_onnx(tmp_path / "net.onnx", GIVEN, BASE)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"location": "../secret.data"}, "only files in the model's own folder are read"),
        ({"location": "{folder}/near.data"}, "only files in the model's own folder are read"),
        ({"location": "inside/near.data"}, "only files in the model's own folder are read"),
        ({"location": ".."}, "only files in the model's own folder are read"),
        ({}, "only files in the model's own folder are read"),
        ({"location": "link.data"}, "link.data, which is a link or no plain file"),
        ({"location": "inside"}, "inside, which is a link or no plain file"),
        ({"location": "far.data"}, "far.data, which must be beside the model"),
        (
            {"location": "near.data", "length": "4703"},
            "has 4704 bytes; bytes 0 to 4703 of the 4704",
        ),
        ({"location": "near.data", "offset": "1"}, "has 4704 bytes; bytes 1 to 4705 of the 4704"),
        ({"location": "near.data", "offset": "-1"}, "near.data at '-1', '4704' bytes long"),
    ],
)
def test_tensors_lie_in_plain_files_beside_the_model(place, message, whole, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(the_file(whole, "net.onnx"))
    tensor = model.graph.initializer[0]
    values = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    folder = tmp_path / "model"
    (folder / "inside").mkdir(parents=True)
    for path in (folder / "near.data", folder / "inside" / "near.data", tmp_path / "secret.data"):
        path.write_bytes(values)
    (folder / "link.data").symlink_to(tmp_path / "secret.data")
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value.format(folder=folder))
    onnx.save(model, folder / "net.onnx")
    with pytest.raises(ValueError, match=rf"net\.onnx: gpu_0/conv1_w_0 .*{message}"):
        importing.from_onnx(folder / "net.onnx", GIVEN, BASE)
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value="near.data")
    onnx.save(model, folder / "net.onnx")
    importing.from_onnx(folder / "net.onnx", GIVEN, BASE)


def test_many_tensors_of_one_stretch_of_a_file_are_too_much(whole, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    model = onnx.load(the_file(whole, "net.onnx"))
    (tmp_path / "net.data").write_bytes(bytes(4000))
    for number in range(100):
        tensor = model.graph.initializer.add(name=f"t{number}", data_type=1, dims=[1000])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="net.data")
    onnx.save(model, tmp_path / "net.onnx")
    monkeypatch.setattr(files, "LARGEST", 300_000)
    with pytest.raises(ValueError, match="t75: with its 4000 bytes the constants are larger than"):
        importing.from_onnx(tmp_path / "net.onnx", GIVEN, BASE)


HTML = b"\n<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 244408911\n"
SAFETENSORS = (2).to_bytes(8, "little") + b"{}"
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x0513.0"
CAFFE = b"\x0a\x07AlexNet\xa2\x06\x05\x0a\x03abc" + bytes(8)
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(8)


@pytest.mark.parametrize(
    ("format_", "content", "message"),
    [
        ("pth", HTML, "is an HTML page, not the file that it offers"),
        ("onnx", HTML, "is an HTML page"),
        ("prototxt", HTML, "is an HTML page"),
        ("caffemodel", LFS, "is a Git LFS pointer, which stands for the file: .*git lfs pull"),
        ("npy", LFS, "is a Git LFS pointer"),
        ("pth", ONNX, "is an ONNX model: --format=onnx reads it"),
        ("caffemodel", ONNX, "is an ONNX model"),
        ("onnx", SAFETENSORS, "is a safetensors file: --format=pytorch reads it"),
        ("pth", CAFFE, "is a .caffemodel: --format=caffe reads it"),
        ("onnx", CAFFE, "is a .caffemodel"),
        ("pth", HDF5, "is an HDF5 file, as Keras writes them"),
        ("caffemodel", b'name: "AlexNet"\nlayer {}\n', "is a text file"),
        ("pth", b"\x1f\x8b\x08" + bytes(9), r"is compressed \(gzip\): unpack it"),
        ("prototxt", b"\x80\x02}q\x00.", "is a file of PyTorch"),
    ],
)
def test_a_file_is_named_for_what_it_is(format_, content, message, whole, tmp_path):
    if format_ == "onnx":
        pytest.importorskip("onnx", reason="onnx is not installed")
    (tmp_path / f"net.{format_}").write_bytes(content)
    path, options = tmp_path / f"net.{format_}", dataclasses.replace(GIVEN, prototxt=None)
    if format_ == "caffemodel":
        options = dataclasses.replace(options, prototxt=whole / "net.prototxt")
    elif format_ == "prototxt":
        path, options = whole / "net.caffemodel", dataclasses.replace(GIVEN, prototxt=path)
    elif format_ == "npy":
        options = dataclasses.replace(options, mean=None, mean_file=path)
        options = dataclasses.replace(options, prototxt=whole / "net.prototxt")
        path = whole / "net.caffemodel"
    with pytest.raises(ValueError, match=rf"net\.{format_} {message}"):
        READ[path.suffix[1:]](path, options, BASE)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (("net/data.pkl", "net/code/__torch__.py"), "a TorchScript program, which is never run"),
        (("config.json", "model.weights.h5"), "a .keras file: --format=keras reads it"),
        (("conv1.npy", "fc8.npy"), "a NumPy archive"),
    ],
)
def test_an_archive_is_named_for_what_it_is(entries, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        for entry in entries:
            archive.writestr(entry, b"0")
    with pytest.raises(ValueError, match=message):
        importing.from_pytorch(tmp_path / "net.pth", PRESET, BASE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t | {"features.stage1.unit1.conv.weight": np.zeros((8, 3, 11, 11))},
            r"stage1\.unit1\.conv\.weight is \[8, 3, 11, 11\], expected \[maps, inputs, 7, 7\]",
        ),
        (
            lambda t: t | {"output.fc2.fc.weight": np.zeros((18, 21))},
            r"output\.fc2\.fc: its weight is \[18, 21\], expected \[18, 20\]",
        ),
        (
            lambda t: {n: a for n, a in t.items() if n != "output.fc3.bias"},
            r"there is no tensor output\.fc3\.bias",
        ),
        (lambda t: t | {"bn.weight": np.zeros(8)}, r"tensor bn\.weight \[8\] has no place"),
        (
            lambda t: t | {"output.fc3.bias": np.full(7, np.nan)},
            "logits: its bias holds values that are not finite",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(change, message, whole, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensors = torch.load(the_file(whole, "net.pth"), weights_only=True)
    changed = {
        name: torch.as_tensor(np.asarray(array, np.float32))
        for name, array in change(dict(tensors)).items()
    }
    torch.save(changed, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=message):
        importing.from_pytorch(tmp_path / "net.pth", PRESET, BASE)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {1: 2}])
def test_what_is_no_state_dict(content, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ValueError, match="expected a"):
        importing.from_pytorch(tmp_path / "net.pth", PRESET, BASE)


def test_nothing_is_half_written(whole, tmp_path, monkeypatch):
    imported = read(whole / "net.caffemodel", whole)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        write.write_workdir(tmp_path / "there", imported, BASE)

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("zfnet_jax.files.write_json", fail)
    with pytest.raises(OSError, match="no space"):
        write.write_workdir(tmp_path / "new", imported, BASE)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("net.onnx", {"preset": "pytorchcv_zfnet"}, "leave out --preset"),
        ("net.pth", {"output": "fc8"}, "leave out --output"),
        ("net.caffemodel", {"preset": "pytorchcv_zfnet"}, "leave out --preset"),
        ("net.caffemodel", {"prototxt": None}, r"needs the file of its architecture: --prototxt"),
        ("net.pth", {"mean_file": "mean.npy"}, "give one of them"),
        ("exported.safetensors", {"bgr": False}, r"leave out --order: .* is an export"),
    ],
)
def test_options_that_would_go_unheeded(name, given, message, whole):
    path = the_file(whole, name)
    start = importing.Options() if name.startswith("exported") else GIVEN
    if path.suffix == ".pth":
        start = PRESET
    with pytest.raises(ValueError, match=message):
        READ[path.suffix[1:]](path, dataclasses.replace(start, **given), BASE)


def test_the_script_says_it_in_one_line(whole, tmp_path):
    good, bad = whole / "net.caffemodel", tmp_path / "net.caffemodel"
    bad.write_bytes(good.read_bytes()[:5000])
    arguments = [f"--prototxt={whole / 'net.prototxt'}", "--order=bgr", "--image_size=200"]
    (tmp_path / "names.txt").write_text("".join(f"name {n}\n" for n in range(7)))
    for path, extra, code in (
        (bad, ["--mean=1,2,3"], shell.WRONG),
        (good, ["--mean=123.68,116.779,103.939", f"--classes={tmp_path / 'names.txt'}"], 0),
    ):
        done = forked.run(
            [sys.executable, "-m", "scripts.import_weights", "--format=caffe",
             f"--weights={path}", f"--workdir={tmp_path / 'run'}", *arguments, *extra]
        )  # fmt: skip
        assert done.returncode == code, done.stderr[-2000:]
        if code:
            assert done.stderr.strip().startswith("error: ")
            assert "\n" not in done.stderr.strip()
            assert not (tmp_path / "run").exists()
    assert "conv5, 2 dense layers, 7 classes; images of 192 of 200 pixels" in done.stdout
    assert "mean 123.68, 116.779, 103.939 (red, green, blue), scale 1:" in done.stdout
    assert '"name 3"' in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.parametrize(
    ("package", "name"),
    [("torch", "net.pth"), ("onnx", "net.onnx"), ("safetensors", "net.safetensors")],
)
def test_a_missing_package_is_named(package, name, whole, monkeypatch):
    path = the_file(whole, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r'not installed: pip install "zfnet_jax\[import]"'):
        read(path, whole)


def test_nothing_optional_is_loaded_by_importing_the_package():
    code = (
        "import sys; from zfnet_jax.importers import importing; from zfnet_jax.exporters import "
        "compiled, onnx, safetensors; "
        "assert not {'h5py', 'torch', 'onnx', 'onnxruntime', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
