#!/usr/bin/env bash
# Passes the tests and the style checks, making .venv where it is missing. Further arguments go to
# pytest. With ZFNET_PHOTOS naming a folder of photo sets the tests on photos run too.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure tests -e ".[test,tfds,slurm]"
ruff check .
ruff format --check .
# Most of the time is compiling, on one core each: two files at once.
python -m pytest -n auto --dist loadfile "$@"
