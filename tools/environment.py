"""The virtual environment of this folder: made on first use, kept up to date, never asked for.

A stamp inside it says for which folder it was made, by what, and which pinned files are installed.
As long as the stamp holds, ``ensure`` reads a few files and returns.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TypedDict, cast

from tools.installer import INSTALLERS, Installer, SetupFailed, say, succeeds

__all__ = ["Environment"]

PROJECT = "pyproject.toml"  # what a link to the sources depends on
NEEDED_BY_PROJECT = ("build", "run")

Digests = dict[str, str]


class Stamp(TypedDict):
    """What is remembered of an environment, inside it."""

    path: str
    made_by: str
    installed: Digests


class Environment:
    """One virtual environment and the files of versions and hashes that fill it.

    Args:
        root: the folder of the project, with ``constraints/`` in it.
        path: where the environment is made; ``.venv`` in ``root`` unless given.
    """

    def __init__(self, root: Path, path: Path | None = None) -> None:
        self.root = root
        self.path = path or root / ".venv"
        self.python = self.path / "bin" / "python"
        self._stamp = self.path / "puckstream-dev.json"

    def groups(self) -> tuple[str, ...]:
        """Return every group that has a pinned file."""
        return tuple(sorted(file.stem for file in (self.root / "constraints").glob("*.txt")))

    def variables(self) -> dict[str, str]:
        """Return this process's environment variables, with the environment's tools first."""
        found = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "PYTHONPATH"}}
        found["VIRTUAL_ENV"] = str(self.path)
        found["PATH"] = os.pathsep.join([str(self.python.parent), found.get("PATH", os.defpath)])
        return found

    def ensure(self, groups: Iterable[str], *, project: bool = True) -> None:
        """Have the groups installed, and the project itself as a link to its sources.

        Says each step on stderr, and nothing when there is nothing to do. Processes that come at
        the same time wait for each other. After a failure the next call tries again.

        Args:
            groups: names of files in ``constraints/``, without ``.txt``; no group, no environment.
            project: whether the project is installed as well.

        Raises:
            SetupFailed: a step failed, or a group does not exist.
        """
        wanted = {group: self._digest(group) for group in groups}
        if wanted and project:
            wanted |= {group: self._digest(group) for group in NEEDED_BY_PROJECT}
            wanted["project"] = hashlib.sha256((self.root / PROJECT).read_bytes()).hexdigest()
        if self._missing(wanted):
            with self._alone():
                self._provide(wanted)

    def installer(self) -> Installer:
        """Return what made this environment.

        Raises:
            SetupFailed: it was not made here, or by something that is gone.
        """
        stamp = self._read_stamp()
        found = None if stamp is None else INSTALLERS.get(stamp["made_by"])
        if found is None or not found.works():
            msg = f"{self.path} was not made by ./dev, or by what is no longer here"
            raise SetupFailed(msg)
        return found

    def _provide(self, wanted: Digests) -> None:
        started = time.monotonic()
        if self._usable():
            self._fill(self.installer(), wanted)
        else:
            self._make_and_fill(wanted)
        say(f"ready after {time.monotonic() - started:.1f} s")

    def _make_and_fill(self, wanted: Digests) -> None:
        if self.path.exists() and not (self.path / "pyvenv.cfg").is_file():
            msg = f"{self.path} exists and is no virtual environment: move it away"
            raise SetupFailed(msg)
        candidates = [installer for installer in INSTALLERS.values() if installer.works()]
        for installer in candidates:
            try:
                installer.create(self.path)
                self._write_stamp(installer, {})
                self._fill(installer, wanted)
            except SetupFailed as failure:
                if installer is candidates[-1]:
                    raise
                say(f"{failure}; trying without {installer.name}")
            else:
                return

    def _fill(self, installer: Installer, wanted: Digests) -> None:
        missing = self._missing(wanted)
        groups = sorted(missing - {"project"})
        if groups:
            say(f"installing {', '.join(f'constraints/{group}.txt' for group in groups)}")
            files = [part for group in groups for part in ("-r", str(self._pins(group)))]
            installer.install(self.python, ["--require-hashes", *files], self.root)
        if "project" in missing:
            say("installing puckstream itself, as a link to its sources")
            options = ["--no-deps", "--no-build-isolation", "--editable", str(self.root)]
            installer.install(self.python, options, self.root)
        self._write_stamp(installer, self._installed() | wanted)

    def _usable(self) -> bool:
        """Return whether the environment was made here, by what still works, and runs."""
        stamp = self._read_stamp()
        if stamp is None or not INSTALLERS[stamp["made_by"]].works():
            return False
        return succeeds(self.python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))")

    def _missing(self, wanted: Digests) -> set[str]:
        installed = self._installed()
        return {name for name, value in wanted.items() if installed.get(name) != value}

    def _installed(self) -> Digests:
        stamp = self._read_stamp()
        return {} if stamp is None else stamp["installed"]

    def _pins(self, group: str) -> Path:
        return self.root / "constraints" / f"{group}.txt"

    def _digest(self, group: str) -> str:
        try:
            return hashlib.sha256(self._pins(group).read_bytes()).hexdigest()
        except FileNotFoundError:
            msg = f"there is no group {group!r}; there are {', '.join(self.groups())}"
            raise SetupFailed(msg) from None

    def _read_stamp(self) -> Stamp | None:
        """Return the stamp, or None where there is none for an environment at this place."""
        try:
            stamp = cast("Stamp", json.loads(self._stamp.read_text("utf-8")))
            here = stamp["path"] == str(self.path) and stamp["made_by"] in INSTALLERS
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return stamp if here else None

    def _write_stamp(self, installer: Installer, installed: Digests) -> None:
        stamp = Stamp(path=str(self.path), made_by=installer.name, installed=installed)
        self._stamp.write_text(json.dumps(stamp, indent=1), "utf-8")

    @contextlib.contextmanager
    def _alone(self) -> Generator[None]:
        """Hold the lock that keeps two set-ups of this folder apart."""
        lock = self.root / ".cache" / "dev.lock"
        lock.parent.mkdir(exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another ./dev that is setting up")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
