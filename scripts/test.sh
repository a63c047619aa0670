#!/usr/bin/env bash
# Passes the tests and the checks of style, imports and types, making .venv where it is missing.
# `--slow` as the first argument: the tests marked slow too. Others go to pytest.
# With ZFNET_PHOTOS naming a folder of photo sets the tests on photos run too.
set -euo pipefail
which=(-m "not slow")
if [ "${1:-}" = --slow ]; then
  which=(-m "") # no empty list: older shells call that unset
  shift
fi
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure tests -e ".[test,tfds,slurm]"
ruff check .
ruff format --check .
if [ $# = 0 ]; then # not while working on one room's tests
  lint-imports --no-cache --no-logo
  pyrefly check
fi
unset PYTHONDONTWRITEBYTECODE # or each of the many processes would compile all files anew
# Most of the time is compiling, on one core each: so many tests at once as there are cores (one more
# gains nothing), and who is done takes over half of what another has left. One file alone starts sooner
# without workers.
workers=auto
if [[ $# = 1 && $1 = *.py* ]]; then workers=0; fi
python -m pytest -n "$workers" --dist worksteal "${which[@]}" "$@"
