#!/usr/bin/env bash
# Passes a short part of the tests with the newest JAX, which needs a newer Python than the oldest
# that will do: in .venv-newest, where a Python 3.13 or 3.12 is found, on PATH or with pyenv.
set -euo pipefail
default=${PYTHON:-python3}
newest=
for minor in 13 12; do
  for candidate in "$default" "python3.$minor" \
    "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
    if [ -z "$newest" ] && "$candidate" -c "import ensurepip, sys
sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
      newest=$candidate
    fi
  done
done
if [ -z "$newest" ]; then
  echo "The newest JAX is not tested: there is no Python 3.12 or 3.13 here"
  exit
elif [ "$newest" = "$default" ]; then
  echo "The newest JAX needs no tests of its own: $("$default" -V) is the newest Python here"
  exit
fi
PYTHON=$newest venv=.venv-newest
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure tests -e ".[test]"
python -c 'import jax, platform
print(f"A part of the tests on Python {platform.python_version()}, JAX {jax.__version__}")'
# The operators, a training, projections, checkpoints.
python -m pytest -n auto --dist loadfile tests/test_{convolution,pooling,contrast_norm}.py \
  tests/test_{stages,deconvnet}.py tests/training/test_train.py tests/runs/test_checkpoint.py
