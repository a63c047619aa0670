# Sourced by the other shell scripts: makes .venv where it is missing and activates it.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed; name one with PYTHON=... (this is $("$python" -V 2>&1))" >&2
  exit 1
fi
# The stamp goes down last, so an install that broke off is done again.
stamp=.venv/installed-requirements.txt
if ! cmp -s requirements.txt "$stamp"; then
  echo "Installing into .venv (a few minutes the first time)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt "$stamp"
fi
source .venv/bin/activate
