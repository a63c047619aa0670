"""The layers of Caffe's files of any age as files of today have them.

As BVLC/caffe's src/caffe/util/upgrade_proto.cpp does it: files of 2014 ('V1') have layers whose
types are in capitals, those of 2013 ('V0') layers with all fields in one message, and layers of
padding alone. Fields of data layers that are `transform_param`'s today are put there.
"""

from __future__ import annotations

from typing import Any

from zfnet_jax.importers.caffe_proto import V1_TYPES, message

# The names that the types of 2013 have today. Not here: 'padding'.
_V0_TYPES = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution",
    "data": "Data", "dropout": "Dropout", "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten", "hdf5_data": "HDF5Data", "hdf5_output": "HDF5Output",
    "im2col": "Im2col", "images": "ImageData", "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct", "inner_product": "InnerProduct", "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss", "pool": "Pooling", "relu": "ReLU",
    "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss",
    "split": "Split", "tanh": "TanH", "window_data": "WindowData",
}  # fmt: skip
_PADDING = "padding"

# Type: the field that its own are in today, and what they are called there.
_V0_FIELDS = {
    "Convolution": (
        "convolution_param",
        {"num_output": "num_output", "biasterm": "bias_term", "pad": "pad", "group": "group",
         "kernelsize": "kernel_size", "stride": "stride"},
    ),
    "InnerProduct": (
        "inner_product_param", {"num_output": "num_output", "biasterm": "bias_term"}
    ),
    "Pooling": (
        "pooling_param",
        {"pool": "pool", "pad": "pad", "kernelsize": "kernel_size", "stride": "stride"},
    ),
    "Dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "LRN": (
        "lrn_param", {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"}
    ),
}  # fmt: skip
_V0_TRANSFORM = {"scale": "scale", "cropsize": "crop_size"}

# SPP-net's files lie between the two: messages as today's, some under other names.
_V0_PARAMS = {
    "conv_param": "convolution_param", "pool_param": "pooling_param", "lrn_param": "lrn_param",
    "inner_product_param": "inner_product_param", "dropout_param": "dropout_param",
}  # fmt: skip

_OLD_TRANSFORMS = ("data_param", "image_data_param", "window_data_param")


def upgraded(net: Any) -> list[Any]:
    """The layers of a NetParameter, in order, as LayerParameter messages of today without tensors.

    Raises:
      ValueError: a layer of padding is read by what pads nothing.
    """
    old = [_of_2013(layer) if layer.HasField("layer") else _of_2014(layer) for layer in net.layers]
    layers = [*net.layer, *_without_padding(old)]
    for layer in layers:
        _move_transform(layer)
    return layers


def stored(net: Any) -> dict[str, list[Any]]:
    """The tensors' messages of each layer of a NetParameter by the layer's name."""
    layers = [layer.layer if layer.HasField("layer") else layer for layer in net.layers]
    return {layer.name: list(layer.blobs) for layer in (*layers, *net.layer)}


def _of_2014(old: Any) -> Any:
    layer = message("LayerParameter")()
    known = layer.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        if field.name == "type":
            types = field.enum_type.values_by_number
            layer.type = V1_TYPES[types[value].name] if value in types else str(value)
        elif field.name in known and field.name != "blobs":
            _copy(layer, field.name, value)
    return layer


def _of_2013(connection: Any) -> Any:
    old = connection.layer
    kind = _V0_TYPES.get(old.type, old.type)
    layer = message("LayerParameter")(
        name=old.name, type=kind, bottom=connection.bottom, top=connection.top
    )
    for name, today in _V0_PARAMS.items():
        if old.HasField(name):
            _copy(layer, today, getattr(old, name))
    param, fields = _V0_FIELDS.get("Convolution" if kind == _PADDING else kind, ("", {}))
    for name, today in fields.items():
        if old.HasField(name):
            _copy(getattr(layer, param), today, getattr(old, name))
    for name, today in _V0_TRANSFORM.items():
        if old.HasField(name):
            setattr(layer.transform_param, today, getattr(old, name))
    return layer


def _copy(target: Any, name: str, value: Any) -> None:
    """Sets a field, which may be repeated where it was single in the older message."""
    field = getattr(target, name)
    if hasattr(field, "CopyFrom"):  # a message
        field.CopyFrom(value)
    elif hasattr(field, "extend"):
        field.extend([value] if isinstance(value, str | int | float) else value)
    else:
        setattr(target, name, value)


def _without_padding(layers: list[Any]) -> list[Any]:
    """Layers of padding as padding of those that read them."""
    made: dict[str, Any] = {}  # the layer that made each blob last
    kept = []
    for layer in layers:
        for place, bottom in enumerate(layer.bottom):
            padding = made.get(bottom)
            if padding is None or padding.type != _PADDING:
                continue
            pad = sum(padding.convolution_param.pad)
            if layer.type == "Convolution":
                layer.convolution_param.pad[:] = [pad]
            elif layer.type == "Pooling":
                layer.pooling_param.pad = pad
            else:
                raise ValueError(
                    f"layer {layer.name} ({layer.type}) reads {padding.name}, which pads:"
                    " convolutions and pools alone can"
                )
            layer.bottom[place] = padding.bottom[0]
        made |= dict.fromkeys(layer.top, layer)
        if layer.type != _PADDING:
            kept.append(layer)
    return kept


def _move_transform(layer: Any) -> None:
    for name in _OLD_TRANSFORMS:
        for field in ("scale", "crop_size"):
            source = getattr(layer, name)
            if source.HasField(field) and not layer.transform_param.HasField(field):
                setattr(layer.transform_param, field, getattr(source, field))
