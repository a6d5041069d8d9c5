"""How the nodes of one machine find each other without being told: sockets in one directory.

Each node holds a lock on a file beside its socket. The kernel lets go of the lock when the process
ends, however it ends, so that what a dead node has left is known from what a live one needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from puckstream.errors import InsecureBind, InvalidOption

__all__ = ["RunDirectory"]

_SOCKET: Final = ".sock"
_LOCK: Final = ".lock"
_LONGEST: Final = 100  # bytes of a socket's path: Linux takes 107, other systems 103


class RunDirectory:
    """A node's place in the directory of its cluster.

    Args:
        cluster: letters, digits, ``-``, ``_`` and ``.``; each has a directory of its own.
        base: where these are: ``$XDG_RUNTIME_DIR/puckstream``, or one in the system's place for
            temporary files that belongs to the user.

    Raises:
        InvalidOption: if the cluster's name cannot be a directory's.
        InsecureBind: if somebody else could get at the directory.
        OSError: if it cannot be made.
    """

    def __init__(self, cluster: str, base: Path | None = None) -> None:
        if not cluster.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise InvalidOption("cluster", cluster, "letters, digits, '-', '_' and '.'")
        self.path = (base or _user_directory()) / cluster
        for directory in (self.path.parent, self.path):
            _make_private(directory)
        self._lock: int | None = None
        self._own: Path | None = None

    def claim(self, name: str) -> str:
        """Take a place under ``name``, and return the address to bind.

        Raises:
            OSError: if a live node has the name, or the lock cannot be had.
            InvalidOption: if the socket's path would be longer than systems allow.
        """
        socket = self.path / f"{name}{_SOCKET}"
        if len(os.fsencode(socket)) > _LONGEST:
            problem = f"a path of at most {_LONGEST} bytes: set XDG_RUNTIME_DIR or 'run_directory'"
            raise InvalidOption("run_directory", str(socket), problem)
        while True:
            lock = _locked(self.path / f"{name}{_LOCK}")
            if lock is not None:
                self._lock, self._own = lock, socket
                return f"ipc://{socket}"

    def release(self) -> None:
        """Give the place back. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None and self._own is not None:
            _remove(self._own)
            os.close(lock)

    def addresses(self) -> list[str]:
        """Return the addresses in the directory, this node's and those of dead ones among them."""
        return sorted(f"ipc://{path}" for path in self.path.glob(f"*{_SOCKET}"))

    def sweep(self) -> list[str]:
        """Remove what dead nodes have left; return their names."""
        swept: list[str] = []
        for path in self.path.glob(f"*{_LOCK}"):
            socket = path.with_suffix(_SOCKET)
            if socket == self._own:
                continue
            try:
                lock = _locked(path, create=False)
            except OSError:
                continue  # its node lives, or another one is sweeping
            if lock is not None:
                _remove(socket)
                os.close(lock)
                swept.append(path.stem)
        return swept


def _user_directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "puckstream"
    return Path(tempfile.gettempdir()) / f"puckstream-{os.getuid()}"


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whoever came first may have made it for us, to read along.
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise InsecureBind(str(directory), "it is no directory of this user")
    if status.st_mode & 0o077:
        raise InsecureBind(str(directory), "others may use it; its mode has to be 0700")


def _locked(path: Path, *, create: bool = True) -> int | None:
    """Return a descriptor that holds the lock on ``path``; None if the file was just removed.

    Raises:
        OSError: if somebody else holds it, or there is no such file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove(socket: Path) -> None:
    """Remove a socket and its lock, whose lock must be held."""
    for path in (socket, socket.with_suffix(_LOCK)):
        path.unlink(missing_ok=True)
