"""Exports a net to ONNX, safetensors or a serialised JAX function.

python -m scripts.export_weights --workdir=DIR --format=onnx|safetensors|jax --out=FILE

The file is read back and its class scores are compared with the net's own before it is kept.
ONNX and safetensors files can be imported again (scripts.import_weights).
"""

from __future__ import annotations

from absl import flags

from zfnet_jax.command import outputs, shell, step_flag

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_FORMAT = flags.DEFINE_enum(
    "format", None, ["onnx", "safetensors", "jax"], "What to write.", required=True
)
_OUT = flags.DEFINE_string("out", None, "The file: .onnx, .safetensors or any name.", required=True)
_STEP = step_flag.define()


def main() -> None:
    from zfnet_jax.exporters import compiled, onnx, safetensors  # so that --help needs no jax
    from zfnet_jax.runs.run import open_run

    out = outputs.file(_OUT.value)
    run = open_run(_WORKDIR.value, _STEP.value)
    export = {"onnx": onnx, "safetensors": safetensors, "jax": compiled}[_FORMAT.value].export
    difference = export(run, out)
    what = "class scores" if run.class_names else "last maps"
    print(f"{run.checkpoint}: {_OUT.value}; {what} differ by at most {difference:.1e}")


if __name__ == "__main__":
    shell.run(main)
