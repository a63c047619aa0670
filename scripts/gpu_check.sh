#!/usr/bin/env bash
# Checks and times this code on the accelerator at hand: bash scripts/gpu_check.sh OUT [--small]
# Installs nothing and needs no photos; PYTHON names the python that has jax for the accelerator.
# Ends in at most eight minutes. OUT gets gpu_check.md, gpu_check.json and a log of each part.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: bash scripts/gpu_check.sh OUT [--small]" >&2; exit 2; }
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python3}" -m scripts.gpu_check --out="$out" "${@:2}"
