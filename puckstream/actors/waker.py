"""Wakes a loop from other threads, with as little work on both sides as the system allows.

``call_soon_threadsafe`` makes a handle, writes to a socket pair, and has the loop read that until
it is empty before it runs the handle. Where Linux offers an eventfd, one write and one read do:
the round trip of a thread that asks an actor takes a quarter less (docs/performance.md).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Waker"]


class Waker:
    """Calls ``callback`` on the loop's thread after each `wake`, or once after several."""

    __slots__ = ("__weakref__", "_callback", "_closed", "_fd", "_lock", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._closed = False
        # Opened at the first wake-up: most engines of a test, and many nodes, never see a thread.
        self._fd: int | None = None
        # A descriptor that is closed may be another file's a moment later. Reentrant, because a
        # finalizer that runs within these bytecodes may send a message.
        self._lock = threading.RLock()

    def wake(self) -> None:
        """Have the callback run soon; from any thread.

        Raises:
            RuntimeError: if the loop is closed.
        """
        if not self._loop.is_closed():
            with self._lock:
                fd = self._fd
                if fd is not None:
                    os.eventfd_write(fd, 1)
                    return
        self._loop.call_soon_threadsafe(self._first)

    def close(self) -> None:
        """Let go of the descriptor; wakes that come later take the loop's own way."""
        self._closed = True
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _first(self) -> None:
        if self._fd is None and not self._closed and hasattr(os, "eventfd"):
            self._open()
        self._callback()

    def _open(self) -> None:
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._loop.add_reader(fd, self._read)
        except NotImplementedError:
            # A loop that cannot watch descriptors.
            os.close(fd)
            self._closed = True
        else:
            self._fd = fd

    def _read(self) -> None:
        if self._fd is not None:
            os.eventfd_read(self._fd)
            self._callback()

    def __del__(self) -> None:
        # The loop was closed without the engine: nothing watches the descriptor any more.
        if self._fd is not None:
            os.close(self._fd)
