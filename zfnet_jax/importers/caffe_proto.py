"""The messages of Caffe's files, as far as a net of this family needs them.

Field numbers are those of BVLC/caffe src/caffe/proto/caffe.proto (BSD 2-clause) and, for RoI
pooling, of rbgirshick/caffe-fast-rcnn. Parsing skips every other field.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "bool": _Field.TYPE_BOOL,
}

# Message: field: (number, type, default). 'type*' is repeated, 'type**' repeated and packed; a type
# in capitals is another message, or an enum of `_ENUMS`.
_MESSAGES: dict[str, dict[str, tuple[Any, ...]]] = {
    "BlobShape": {"dim": (1, "int64**")},
    "BlobProto": {
        "shape": (7, "BlobShape"),
        "data": (5, "float**"),
        "double_data": (8, "double**"),
        "num": (1, "int64"),
        "channels": (2, "int64"),
        "height": (3, "int64"),
        "width": (4, "int64"),
    },
    "NetStateRule": {
        "phase": (1, "Phase"),
        "min_level": (2, "int64"),
        "max_level": (3, "int64"),
        "stage": (4, "string*"),
    },
    "BatchNormParameter": {"eps": (3, "float", "1e-5")},
    "BiasParameter": {"axis": (1, "int64", "1"), "num_axes": (2, "int64", "1")},
    "ScaleParameter": {
        "axis": (1, "int64", "1"),
        "num_axes": (2, "int64", "1"),
        "bias_term": (4, "bool", "false"),
    },
    "ConvolutionParameter": {
        "num_output": (1, "uint64"),
        "bias_term": (2, "bool", "true"),
        "pad": (3, "uint64*"),
        "kernel_size": (4, "uint64*"),
        "group": (5, "uint64", "1"),
        "stride": (6, "uint64*"),
        "pad_h": (9, "uint64"),
        "pad_w": (10, "uint64"),
        "kernel_h": (11, "uint64"),
        "kernel_w": (12, "uint64"),
        "stride_h": (13, "uint64"),
        "stride_w": (14, "uint64"),
        "dilation": (18, "uint64*"),
    },
    # The three layers that read photos; their other fields name files.
    "DataParameter": {"scale": (2, "float", "1"), "crop_size": (5, "uint32", "0")},
    "DummyDataParameter": {
        "height": (4, "uint32*"),
        "width": (5, "uint32*"),
        "shape": (6, "BlobShape*"),
    },
    "MemoryDataParameter": {"height": (3, "uint32"), "width": (4, "uint32")},
    "DropoutParameter": {"dropout_ratio": (1, "float", "0.5"), "scale_train": (2, "bool", "true")},
    "InnerProductParameter": {
        "num_output": (1, "uint64"),
        "bias_term": (2, "bool", "true"),
        "axis": (5, "int64", "1"),
        "transpose": (6, "bool", "false"),
    },
    "InputParameter": {"shape": (1, "BlobShape*")},
    "LRNParameter": {
        "local_size": (1, "uint64", "5"),
        "alpha": (2, "float", "1"),
        "beta": (3, "float", "0.75"),
        "norm_region": (4, "NormRegion"),
        "k": (5, "float", "1"),
    },
    "PoolingParameter": {
        "pool": (1, "PoolMethod"),
        "kernel_size": (2, "uint64"),
        "stride": (3, "uint64", "1"),
        "pad": (4, "uint64", "0"),
        "kernel_h": (5, "uint64"),
        "kernel_w": (6, "uint64"),
        "stride_h": (7, "uint64"),
        "stride_w": (8, "uint64"),
        "pad_h": (9, "uint64"),
        "pad_w": (10, "uint64"),
        "global_pooling": (12, "bool", "false"),
        "round_mode": (13, "RoundMode"),
    },
    "PowerParameter": {
        "power": (1, "float", "1"),
        "scale": (2, "float", "1"),
        "shift": (3, "float", "0"),
    },
    "ReLUParameter": {"negative_slope": (1, "float", "0")},
    "ReshapeParameter": {
        "shape": (1, "BlobShape"),
        "axis": (2, "int64", "0"),
        "num_axes": (3, "int64", "-1"),
    },
    "ROIPoolingParameter": {
        "pooled_h": (1, "uint32", "0"),
        "pooled_w": (2, "uint32", "0"),
        "spatial_scale": (3, "float", "1"),
    },
    "TransformationParameter": {
        "scale": (1, "float", "1"),
        "crop_size": (3, "uint32", "0"),
        "mean_value": (5, "float*"),
    },
    "LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "bottom": (3, "string*"),
        "top": (4, "string*"),
        "blobs": (7, "BlobProto*"),
        "include": (8, "NetStateRule*"),
        "exclude": (9, "NetStateRule*"),
        "transform_param": (100, "TransformationParameter"),
        "convolution_param": (106, "ConvolutionParameter"),
        "dropout_param": (108, "DropoutParameter"),
        "inner_product_param": (117, "InnerProductParameter"),
        "lrn_param": (118, "LRNParameter"),
        "pooling_param": (121, "PoolingParameter"),
        "power_param": (122, "PowerParameter"),
        "relu_param": (123, "ReLUParameter"),
        "reshape_param": (133, "ReshapeParameter"),
        "data_param": (107, "DataParameter"),
        "dummy_data_param": (109, "DummyDataParameter"),
        "image_data_param": (115, "DataParameter"),
        "memory_data_param": (119, "MemoryDataParameter"),
        "window_data_param": (129, "DataParameter"),
        "batch_norm_param": (139, "BatchNormParameter"),
        "bias_param": (141, "BiasParameter"),
        "scale_param": (142, "ScaleParameter"),
        "input_param": (143, "InputParameter"),
        "roi_pooling_param": (8266711, "ROIPoolingParameter"),
    },
    # Layers as files of 2014 hold them, and those of 2013: see `caffe_upgrade`.
    "V1LayerParameter": {
        "layer": (1, "V0LayerParameter"),
        "bottom": (2, "string*"),
        "top": (3, "string*"),
        "name": (4, "string"),
        "type": (5, "V1LayerType"),
        "blobs": (6, "BlobProto*"),
        "include": (32, "NetStateRule*"),
        "exclude": (33, "NetStateRule*"),
        "convolution_param": (10, "ConvolutionParameter"),
        "dropout_param": (12, "DropoutParameter"),
        "inner_product_param": (17, "InnerProductParameter"),
        "lrn_param": (18, "LRNParameter"),
        "pooling_param": (19, "PoolingParameter"),
        "power_param": (21, "PowerParameter"),
        "relu_param": (30, "ReLUParameter"),
        "data_param": (11, "DataParameter"),
        "dummy_data_param": (26, "DummyDataParameter"),
        "image_data_param": (15, "DataParameter"),
        "memory_data_param": (22, "MemoryDataParameter"),
        "window_data_param": (20, "DataParameter"),
        "transform_param": (36, "TransformationParameter"),
    },
    "V0LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "num_output": (3, "uint32"),
        "biasterm": (4, "bool", "true"),
        "pad": (7, "uint32", "0"),
        "kernelsize": (8, "uint32"),
        "group": (9, "uint32", "1"),
        "stride": (10, "uint32", "1"),
        "pool": (11, "PoolMethod"),
        "dropout_ratio": (12, "float", "0.5"),
        "local_size": (13, "uint32", "5"),
        "alpha": (14, "float", "1"),
        "beta": (15, "float", "0.75"),
        "scale": (17, "float", "1"),
        "cropsize": (20, "uint32", "0"),
        "k": (22, "float", "1"),
        "blobs": (50, "BlobProto*"),
        # ShaoqingRen/SPP_net's, in text alone: their numbers are not published.
        "conv_param": (2001, "ConvolutionParameter"),
        "pool_param": (2002, "PoolingParameter"),
        "inner_product_param": (2003, "InnerProductParameter"),
        "lrn_param": (2004, "LRNParameter"),
        "dropout_param": (2005, "DropoutParameter"),
    },
    "NetParameter": {
        "name": (1, "string"),
        "layers": (2, "V1LayerParameter*"),
        "input": (3, "string*"),
        "input_dim": (4, "int64*"),
        "input_shape": (8, "BlobShape*"),
        "layer": (100, "LayerParameter*"),
    },
}
_ENUMS: dict[str, dict[str, int]] = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "NormRegion": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "RoundMode": {"CEIL": 0, "FLOOR": 1},
    "V1LayerType": {
        "NONE": 0, "ABSVAL": 35, "ACCURACY": 1, "ARGMAX": 30, "BNLL": 2, "CONCAT": 3,
        "CONTRASTIVE_LOSS": 37, "CONVOLUTION": 4, "DATA": 5, "DECONVOLUTION": 39, "DROPOUT": 6,
        "DUMMY_DATA": 32, "EUCLIDEAN_LOSS": 7, "ELTWISE": 25, "EXP": 38, "FLATTEN": 8,
        "HDF5_DATA": 9, "HDF5_OUTPUT": 10, "HINGE_LOSS": 28, "IM2COL": 11, "IMAGE_DATA": 12,
        "INFOGAIN_LOSS": 13, "INNER_PRODUCT": 14, "LRN": 15, "MEMORY_DATA": 29,
        "MULTINOMIAL_LOGISTIC_LOSS": 16, "MVN": 34, "POOLING": 17, "POWER": 26, "RELU": 18,
        "SIGMOID": 19, "SIGMOID_CROSS_ENTROPY_LOSS": 27, "SILENCE": 36, "SOFTMAX": 20,
        "SOFTMAX_LOSS": 21, "SPLIT": 22, "SLICE": 33, "TANH": 23, "WINDOW_DATA": 24,
        "THRESHOLD": 31,
    },
}  # fmt: skip

# The names that the types of 2014 have today.
V1_TYPES = {
    "NONE": "None", "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax",
    "BNLL": "BNLL", "CONCAT": "Concat", "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution", "DATA": "Data", "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "POOLING": "Pooling",
    "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence",
    "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "SLICE": "Slice",
    "TANH": "TanH", "WINDOW_DATA": "WindowData", "THRESHOLD": "Threshold",
}  # fmt: skip


@functools.cache
def message(name: str) -> Any:
    """The class of a message, 'NetParameter' or 'BlobProto'.

    The messages are known to a pool of their own, so that another package's may live beside them.
    """
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="zfnet_jax/caffe.proto", package="caffe", syntax="proto2"
    )
    for enum, values in _ENUMS.items():
        # Names of values are global to their package: each enum lives in a message of its name.
        holder = file.message_type.add(name=f"{enum}Values")
        described = holder.enum_type.add(name=enum)
        for value, number in values.items():
            described.value.add(name=value, number=number)
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for field, (number, kind, *default) in fields.items():
            repeated, plain = "*" in kind, kind.rstrip("*")
            entry = described.field.add(name=field, number=number)
            entry.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if plain in _TYPES:
                entry.type = _TYPES[plain]
            elif plain in _ENUMS:
                entry.type, entry.type_name = _Field.TYPE_ENUM, f".caffe.{plain}Values.{plain}"
            else:
                entry.type, entry.type_name = _Field.TYPE_MESSAGE, f".caffe.{plain}"
            if kind.endswith("**"):
                entry.options.packed = True
            if default:
                entry.default_value = default[0]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
