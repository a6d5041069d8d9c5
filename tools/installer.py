"""The two ways to make a virtual environment and install into it: uv, and venv with pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["INSTALLERS", "Installer", "SetupFailed", "run", "say", "succeeds"]


class SetupFailed(Exception):
    """A step of the set-up failed; the text says which, and what to do."""


class Installer(Protocol):
    """What makes an environment and fills it. Every method raises ``SetupFailed``."""

    name: str

    def works(self) -> bool:
        """Return whether this machine has it."""
        ...

    def create(self, path: Path) -> None:
        """Make an environment of this Python at ``path``, in place of what was there."""
        ...

    def install(self, python: Path, arguments: Sequence[str], root: Path) -> None:
        """Install what ``pip install`` would with these arguments, seen from ``root``."""
        ...


class Uv:
    """uv, where it is installed."""

    name = "uv"

    def works(self) -> bool:
        """Return whether ``uv`` is on PATH and runs."""
        return shutil.which("uv") is not None and succeeds("uv", "--version")

    def create(self, path: Path) -> None:
        """Make the environment; uv installs into it from outside, so it gets no pip."""
        say(f"creating {path.name} with uv (Python {version()})")
        run(["uv", "venv", "--quiet", "--clear", "--python", base(), str(path)], path.parent)

    def install(self, python: Path, arguments: Sequence[str], root: Path) -> None:
        """Install with ``uv pip``."""
        run(["uv", "pip", "install", "--quiet", "--python", str(python), *arguments], root)


class Venv:
    """The standard library's venv, and the pip that comes with it."""

    name = "venv"

    def works(self) -> bool:
        """Return True: what is missing is provided, or named by ``create``."""
        return True

    def create(self, path: Path) -> None:
        """Make the environment, also on systems that ship Python without its ``ensurepip``."""
        say(f"creating {path.name} with venv (Python {version()})")
        make = [base(), "-m", "venv", "--clear", str(path)]
        if succeeds(base(), "-c", "import ensurepip; ensurepip.version()"):
            run(make, path.parent)
        elif succeeds(base(), "-m", "pip", "--version"):
            run([*make, "--without-pip"], path.parent)
            pip = [base(), "-m", "pip", "--python", str(path / "bin" / "python")]
            run([*pip, "install", "--quiet", "pip"], path.parent)
        elif os.geteuid() == 0 and shutil.which("apt-get"):
            say(f"this Python has no ensurepip: installing {debian_package()} with apt-get")
            run(["apt-get", "update", "-qq"], path.parent)
            run(["apt-get", "install", "-y", "-qq", debian_package()], path.parent)
            run(make, path.parent)
        else:
            msg = (
                "this Python can make no environment: it has neither ensurepip nor pip. "
                f"Install them (Debian, Ubuntu: apt-get install {debian_package()}), or uv"
            )
            raise SetupFailed(msg)

    def install(self, python: Path, arguments: Sequence[str], root: Path) -> None:
        """Install with the environment's own pip."""
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--no-input", *arguments], root)


INSTALLERS: dict[str, Installer] = {"uv": Uv(), "venv": Venv()}  # in order of preference


def say(text: str) -> None:
    """Tell the user one step, on stderr: stdout belongs to the command."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str], folder: Path) -> None:
    """Run a step of the set-up; its output goes to stderr.

    Raises:
        SetupFailed: it cannot be started, or ended with another status than 0.
    """
    try:
        status = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        ).returncode
    except OSError as error:
        msg = f"{command[0]} cannot be started: {error}"
        raise SetupFailed(msg) from error
    if status != 0:
        msg = f"failed with status {status}: {' '.join(command)}"
        raise SetupFailed(msg)


def succeeds(*command: str | Path) -> bool:
    """Return whether the command can be started and ends with status 0; its output is dropped."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def base() -> str:
    """Return the interpreter under this one: an environment is not made of an environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def version() -> str:
    """Return the version of this Python."""
    return ".".join(map(str, sys.version_info[:3]))


def debian_package() -> str:
    """Return the name of the Debian package that has this Python's ensurepip."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
