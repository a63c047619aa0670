# Sourced by the other shell scripts: makes .venv (or the folder $venv) where it is missing, with
# what requirements.txt asks for, and activates it.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
venv=${venv:-.venv}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed; name one with PYTHON=... (this is $("$python" -V 2>&1))" >&2
  exit 1
fi

# ensure NAME ARGUMENTS...: has pip install them, unless it has with the list of pyproject.toml as
# it is. The stamp goes down last, so an install that broke off is done again.
ensure() {
  local stamp=$venv/installed-$1.json list
  list=$("$python" -c 'import json, tomllib
print(json.dumps(tomllib.load(open("pyproject.toml", "rb"))["project"]))') || return
  if [ "$list" != "$(cat "$stamp" 2>/dev/null)" ]; then
    echo "Installing $1 into $venv (a few minutes the first time)"
    { [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"; } &&
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}" &&
      printf '%s\n' "$list" >"$stamp"
  fi
}

ensure zfnet_jax -r requirements.txt
source "$venv/bin/activate"
