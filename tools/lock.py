"""Write ``constraints/``: for each group of pyproject.toml, the versions and hashes it installs.

One resolution covers everything, so no two files disagree; the hashes are those of every file of a
release, so one file serves all Python versions and systems. No address of an index is written:
where packages come from is the installer's configuration.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools.installer import INSTALLERS, SetupFailed, say

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-config"),
)


def main(arguments: list[str]) -> int:
    """Resolve anew, or with ``PACKAGE …`` as arguments only bring these to their newest version.

    Raises:
        SetupFailed: uv is missing or finds no solution; the files are as they were.
    """
    if not INSTALLERS["uv"].works():
        msg = "constraints are made with uv: install it first"
        raise SetupFailed(msg)
    folder = ROOT / "constraints"
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    with tempfile.TemporaryDirectory() as temporary:
        every = Path(temporary) / "every.txt"
        if arguments:  # what is not named keeps its version
            old = [file.read_text("utf-8") for file in sorted(folder.glob("*.txt"))]
            every.write_text("\n".join(keep(old)), "utf-8")
        named = [part for group in groups for part in ("--group", group)]
        upgrade = [part for name in arguments for part in ("--upgrade-package", name)]
        compile_(["pyproject.toml", "--all-extras", *named, *upgrade, "-o", str(every)])
        written = {"run": ["pyproject.toml"]}
        written |= {group: ["--group", group] for group in groups}
        for group, source in written.items():
            file = Path(temporary) / f"{group}.txt"
            compile_([*source, "-c", str(every), "-o", str(file)])
            title = f"# What {group!r} of pyproject.toml installs. Written by ./dev lock.\n"
            folder.mkdir(exist_ok=True)
            (folder / f"{group}.txt").write_text(title + file.read_text("utf-8"), "utf-8")
            say(f"wrote constraints/{group}.txt")
    return 0


def compile_(arguments: list[str]) -> None:
    command = ["uv", "pip", "compile", *OPTIONS, *arguments]
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode != 0:
        msg = "uv found no solution"
        raise SetupFailed(msg)


def keep(files: list[str]) -> list[str]:
    """Return the pinned requirements of these files, each once."""
    pins = {line.rstrip(" \\") for file in files for line in file.splitlines() if "==" in line[:80]}
    return sorted(pin for pin in pins if not pin.startswith((" ", "#")))
