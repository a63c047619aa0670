"""The scripts from any folder: `zfnet-jax NAME FLAGS...` is `python -m scripts.NAME FLAGS...`.

In a checkout scripts/ and configs/ lie beside this package; an installed one has them in programs/.
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent
_INSTALLED = _PACKAGE / "programs"

# Holds scripts/ and configs/.
HOME = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent


def main() -> None:
    """What `zfnet-jax` does: runs the script that the first argument names."""
    scripts = _scripts()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("zfnet-jax NAME [FLAGS...]; --help after a name lists its flags\n")
        for name, does in scripts.items():
            print(f"  {name:20} {does}")
        return
    name = sys.argv[1]
    if name not in scripts:
        print(f"error: no script {name!r}: there are {', '.join(scripts)}", file=sys.stderr)
        raise SystemExit(2)
    run(name, sys.argv[2:])


def run(name: str, arguments: Sequence[str]) -> None:
    """Runs a script in this process, as its main module.

    A config file configs/... that the current folder does not hold is ours of that name.
    """
    sys.path.insert(0, str(HOME))
    sys.argv = [name, *map(_with_config, arguments)]
    runpy.run_module(f"scripts.{name}", run_name="__main__", alter_sys=True)


def typed(script: str) -> str:
    """How a script is called here: an installed package's are no modules of the folder that one is
    in."""
    return f"zfnet-jax {script}" if HOME == _INSTALLED else f"python -m scripts.{script}"


def as_typed(text: str) -> str:
    """A message with its commands as they work here."""
    return text.replace("python -m scripts.", typed(""))


def _scripts() -> dict[str, str]:
    """The first line of each script's docstring, by name."""
    result = {}
    for path in sorted((HOME / "scripts").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if 'if __name__ == "__main__":' in text:
            result[path.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return result


def _with_config(argument: str) -> str:
    match = re.fullmatch(r"(--?config=)?(configs/[^:]+)(:.*)?", argument)
    if not match:
        return argument
    flag, file, arg = (part or "" for part in match.groups())
    found = HOME / file
    if Path(file).exists() or not found.exists():
        return argument
    return f"{flag}{found}{arg}"
