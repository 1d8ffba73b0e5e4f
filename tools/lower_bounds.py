"""Tests the package with the oldest versions of what it requires.

    python -m tools.lower_bounds ENVIRONMENT [PYTEST ARGUMENTS]

Makes a virtual environment in the folder ENVIRONMENT with the lower bounds of `setup.cfg`, exactly,
and runs the tests in it (by default those that need nothing but the requirements). What the
requirements need themselves comes as pip chooses it.
"""

import configparser
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = tuple(
    f"tests/test_{name}.py" for name in ("restorer", "model", "losses", "images", "sixteen_bits")
)


def lowest(requirements: str) -> list[str]:
    """Each requirement pinned to its lower bound, environment markers kept.

    Args:
        requirements: lines such as ``numpy >= 2.4`` or ``grain >= 0.2; python_version > "3"``.

    Raises:
        ValueError: one has no lower bound, or more than that.
    """
    pinned = []
    for line in requirements.strip().splitlines():
        requirement, _, marker = line.partition(";")
        match = re.fullmatch(r"\s*([\w.\[\]-]+)\s*>=\s*([\w.]+)\s*", requirement)
        if not match:
            raise ValueError(f"expected NAME >= VERSION in setup.cfg; found {line.strip()!r}")
        pinned.append(f"{match[1]}=={match[2]}" + (f"; {marker.strip()}" if marker else ""))
    return pinned


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    environment, tests = Path(arguments[0]).resolve(), arguments[1:] or TESTS
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    pinned = lowest(settings["options"]["install_requires"])
    print("\n".join(pinned))
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *pinned, "pytest"], check=True)
    return subprocess.run([python, "-m", "pytest", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
