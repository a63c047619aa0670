"""A state_dict's tensors matched with an architecture of ours: the net answers as PyTorch's."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (zfnet_jax[import])")

import jax
import torch
from ml_collections import ConfigDict
from torch import nn

from configs import architectures, zfnet
from tests import foreign
from zfnet_jax import model
from zfnet_jax.command import import_flags
from zfnet_jax.importers import importing, matching

MEAN, SCALE = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)
RELU = {"kind": "relu"}
POOL = {"kind": "max_pool", "window": 2, "stride": 2}
MEANS = {"kind": "average_pool", "window": 2, "stride": 2}


def section(dense=(), classifier="dense", **convs) -> ConfigDict:
    built_in = architectures.zfnet()
    found = ConfigDict({name: field for name, field in built_in.items() if "conv" not in name})
    found.contrast_norm = built_in.contrast_norm
    for name, (maps, kernel, then) in convs.items():
        found[name] = {"maps": maps, "kernel": kernel, "padding": kernel // 2, "then": then}
    found.layers, found.dense, found.dropout = tuple(convs), dense, 0.0
    found.classifier = classifier
    return found


def drawn(net: nn.Module) -> nn.Module:
    """With random statistics of its batch norms."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.uniform_(0.5, 2)
                module.bias.data.normal_()
    return net.eval()


def imported(folder, state, config: ConfigDict, **options) -> importing.Imported:
    torch.save(state, folder / "net.pth")
    known = {"bgr": False, "mean": np.float32(MEAN), "scale": SCALE, "crop": 8, "image_size": 8}
    return importing.from_pytorch(
        folder / "net.pth",
        importing.Options(architecture=config, **(known | options)),
        zfnet.get_config(),
    )


def check_answers(net: nn.Module, found: importing.Imported) -> None:
    photos = foreign.images(8)
    built = model.from_config(ConfigDict(found.net.model), found.net.classes)
    x = (photos - found.preprocessing.mean) / np.float32(found.preprocessing.scale)
    logits, activations = jax.jit(built.apply)({"params": found.net.params}, x)
    with torch.no_grad():
        theirs = net(torch.from_numpy(foreign.nchw(photos, MEAN, SCALE, False, 8))).numpy()
    ours = logits if found.net.classes else activations["conv2"].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ours.reshape(2, -1), theirs.reshape(2, -1), rtol=1e-4, atol=1e-4)


def deep() -> nn.Module:
    """Batch norms straight after layers, after a relu, before the next layer and before all."""
    return drawn(
        nn.Sequential(
            nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4),
            nn.LeakyReLU(0.25), nn.BatchNorm2d(4, affine=False), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(24, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3),
        )
    )  # fmt: skip


DEEP = section(
    dense=(5,),
    conv1=(4, 3, [{"kind": "leaky_relu", "slope": 0.25}, {"kind": "affine"}, POOL]),
    conv2=(6, 3, [RELU, MEANS]),
)


def test_batch_norms_fold_or_stay(tmp_path):
    net = deep()
    found = imported(tmp_path, net.state_dict(), DEEP)
    check_answers(net, found)
    lines = found.source["matched"]
    assert "0.weight [3] -> the image, batch norm" in lines
    assert "1.weight [4, 3, 3, 3] -> conv1" in lines
    assert "4.running_var [4] -> conv1, batch norm" in lines
    assert lines[-2:] == ["14.weight [3, 5] -> logits", "14.bias [3] -> logits"]
    assert len(lines) == sum("tracked" not in name for name in net.state_dict())


def test_nets_that_end_in_maps(tmp_path):
    """Class scores (NIN) of a grey net, and a trunk."""
    body = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1)]
    convs = {"conv1": (4, 3, [RELU, POOL])}
    nin = nn.Sequential(*body, nn.ReLU(), nn.AvgPool2d(4))
    last = [RELU, {"kind": "average_pool", "window": 4, "stride": 4}]
    config = section((), "maps", **convs, conv2=(3, 1, last))
    found = imported(tmp_path, nin.state_dict(), config, bgr=None)
    assert (found.net.classes, found.source["order"]) == (3, "grey")
    check_answers(lambda x: nin(x.mean(1, keepdim=True)), found)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *body[1:])
    found = imported(tmp_path, trunk.state_dict(), section((), "none", **convs, conv2=(3, 1, [])))
    assert found.net.classes == 0
    check_answers(trunk, found)
    pooled = section((), "none", **convs, conv2=(3, 1, last))
    found = imported(tmp_path, trunk.state_dict(), pooled)
    assert (found.net.classes, found.net.model["classifier"]) == (0, "none")
    with pytest.raises(ValueError, match=r"conv2: class scores of 4 x 4 units each.*--crop"):
        imported(tmp_path, trunk.state_dict(), section((), "maps", **convs, conv2=(3, 1, [RELU])))


def test_safetensors_in_the_order_of_their_numbers(tmp_path):
    """The file has its own: by type, then by letter."""
    save_file = pytest.importorskip("safetensors.torch", reason="it is not installed").save_file
    net = deep()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    options = importing.Options(
        architecture=DEEP, bgr=False, mean=np.float32(MEAN), scale=SCALE, crop=8, image_size=8
    )
    found = importing.from_pytorch(tmp_path / "net.safetensors", options, zfnet.get_config())
    check_answers(net, found)


def modules(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Their weights by name; a batch norm's with its statistics, which have one axis."""
    leaves = {
        1: ("weight", "bias", "running_mean", "running_var"),
        2: ("weight",),
        4: ("bias", "weight"),
    }
    return {
        f"{name}.{leaf}": np.ones(shape if leaf == "weight" else shape[:1], np.float32)
        for name, shape in shapes.items()
        for leaf in leaves[len(shape)]
    }


MAPS, DENSE = (4, 4, 3, 3), {"classifier.0": (5, 16), "classifier.10": (3, 5)}
CONVS = section((5,), conv1=(4, 3, [RELU]), conv2=(4, 3, [RELU]), conv3=(4, 3, [RELU]))


def test_the_order_of_names_with_numbers():
    """Torchvision's, whose classifier comes first by letter, with batch norms; and one section."""
    named = {
        "features.0": (4, 3, 3, 3), "features.1": (4,), "features.3": MAPS, "features.10": MAPS,
        "features.11": (4,), "classifier.0": (5, 16), "classifier.1": (5,), "classifier.10": (3, 5),
    }  # fmt: skip
    blocks = {"a": (4, 3, 3, 3), "b2.conv": MAPS, "b10.conv": MAPS, "b11.0": (5, 16), "fc": (3, 5)}
    for order in (named, blocks):
        shuffled = modules(**{name: order[name] for name in sorted(order)})
        _, _, lines = matching.match(shuffled, CONVS, in_order=False)
        assert list(dict.fromkeys(re.sub(r"\.\w+ .*", "", line) for line in lines)) == list(order)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"a": (4, 3, 3, 3), "stem_two": MAPS, "stem_three": MAPS} | DENSE,
         r"stem_three\..* \[.*\] and stem_two\..*: a safetensors file has .* save it as \.pth"),
        # Others between them: the architecture may be the same from either end.
        ({"a": (4, 3, 3, 3), "b": MAPS, "c": (4, 4, 5, 5), "d": MAPS}, r"b\..* and d\."),
        ({"conv1": (4, 3, 3, 3), "conv2": MAPS, "bn1": (4,), "bn2": (4,)}, r"conv2\..* and bn1\."),
        ({"a1.bn": (4,), "a1.conv": (4, 3, 3, 3)}, r"a1\.bn\..* and a1\.conv\."),
        ({"left": (5, 5), "conv": MAPS, "right": (5, 5)}, r"left\..* and right\."),
    ],
)  # fmt: skip
def test_an_order_by_letters_is_refused(named, message):
    with pytest.raises(ValueError, match=message):
        matching.match(modules(**named), CONVS, in_order=False)


def changed(state, old: str, new: str | None) -> dict[str, torch.Tensor]:
    """With tensors renamed in place, or without them."""
    renamed = {re.sub(f"^{old}", new or "", name): t for name, t in state.items()}
    return renamed if new is not None else {n: t for n, t in state.items() if not re.match(old, n)}


@pytest.mark.parametrize(
    ("old", "new", "config", "message"),
    [
        ("14", None, DEEP, r"no tensor is left for logits, expected \[classes, inputs\]; 11\.runn"),
        ("6", None, DEEP, r"10\.weight \[5, 24\] does not fit conv2, expected \[6, 4, 3, 3\]; 4\."),
        ("11.running_mean", None, DEEP, r"11\.weight \[5\] is nothing of a convolution"),
        ("14.bias", "14.weight_g", DEEP, r"14\.weight_g \[3\] is nothing of a convolution"),
        ("14", "14", section((5,), conv1=(4, 5, [RELU]), conv2=(6, 3, [RELU])),
         r"1\.weight \[4, 3, 3, 3\] does not fit conv1, expected \[4, 3, 5, 5\]; 0\."),
        ("14", "14", section((5,), conv1=(4, 3, [RELU]), conv2=(6, 3, [RELU])),
         r"conv1: 2 batch norms follow 1\.weight \[4, 3, 3, 3\]; the architecture has 0 affine"),
        ("14", "14", section((), conv1=(4, 3, [RELU, {"kind": "affine"}]), conv2=(6, 3, [RELU])),
         r"14\.weight \[3, 5\] is left over: logits, batch norm was the architecture's last"),
        ("14", "14", section((6,), conv1=(4, 3, [RELU, {"kind": "affine"}]), conv2=(6, 3, [RELU])),
         r"10\.weight \[5, 24\] does not fit fc3, expected \[6, inputs\]; 6\.bias \[6\] -> conv2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(old, new, config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        imported(tmp_path, changed(deep().state_dict(), old, new), config)


def test_what_is_not_said_is_asked_for(tmp_path):
    """No image's size is taken from the config, which has one for training."""
    with pytest.raises(ValueError, match=r"--order=rgb\|bgr; .*--crop=N; .*--image_size=N"):
        imported(tmp_path, deep().state_dict(), ConfigDict({"model": DEEP}),
                 bgr=None, mean=None, crop=None, image_size=None)  # fmt: skip
    with pytest.raises(ValueError, match="leave out --preset: --architecture says what net it is"):
        imported(tmp_path, deep().state_dict(), DEEP, preset="torchvision_vgg11")
    wrong = section((5,), conv1=(4, 3, [{"kind": "sigmoid"}]), conv2=(6, 3, [RELU]))
    with pytest.raises(ValueError, match=r"model.conv1.then: .* is none of relu, leaky_relu"):
        matching.match({}, wrong)


def test_the_flag_takes_a_config_file(tmp_path):
    (tmp_path / "net.py").write_text(
        "def get_config(arg=''):\n    return {'arg': arg}\n", encoding="utf-8"
    )
    (tmp_path / "none.py").write_text("", encoding="utf-8")
    assert import_flags.read_config(f"{tmp_path}/net.py:wide") == {"arg": "wide"}
    assert import_flags.read_config(f"{tmp_path}/net.py") == {"arg": ""}
    with pytest.raises(ValueError, match=r"--architecture=no\.py: there is no file no\.py"):
        import_flags.read_config("no.py")
    with pytest.raises(ValueError, match=r"none\.py has no function get_config"):
        import_flags.read_config(f"{tmp_path}/none.py")
