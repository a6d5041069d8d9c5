"""The reply to a request: awaited on a loop, or waited for by a thread, never both by accident.

A `Reply` is a pykka future. Beyond pykka's it can be awaited on any event loop without blocking
it, refuses to block a thread that runs a loop, and runs no foreign code while it holds a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from puckstream.actors._pykka import AskTimeout, PykkaFuture
from puckstream.errors import AlreadyAnswered, BlockingCall

__all__ = ["Reply", "get_all"]

T = TypeVar("T")
M = TypeVar("M")

_PENDING, _VALUE, _ERROR = 0, 1, 2

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Reply(PykkaFuture[T], Generic[T]):
    """The value of a request, now or later.

    Safe to share between threads and loops. ``await reply`` suspends; ``reply.get(timeout=…)``
    blocks a thread that runs no event loop. Every waiter sees the same value or exception.
    Cancelling one waiter disturbs no other.
    """

    # One lock for all replies: held for a few bytecodes, and a lock each would cost more than
    # the rest of the reply. Reentrant, because the collector may run a finalizer in those
    # bytecodes, or a signal its handler, and either may settle a reply.
    _guard = threading.RLock()
    # The state a reply is born with stands on the class: a request inside the loop is answered
    # in about a microsecond, and storing five attributes would be a third of that.
    _get_hook: Callable[[float | None], Any] | None = None
    _hook_lock: threading.Lock
    _state: int = _PENDING
    _value: Any = None
    _waiters: list[Callable[[], object]] | None = None

    __init__ = object.__init__

    def __repr__(self) -> str:
        state = ("pending", "done", "failed")[self._state]
        return f"<Reply {state}>"

    @property
    def done(self) -> bool:
        """Whether the value or the exception is there."""
        return self._state != _PENDING

    @classmethod
    def of(cls, value: T) -> Reply[T]:
        """Return a reply that has its value already."""
        reply: Reply[T] = cls()
        reply._value = value
        reply._state = _VALUE
        return reply

    # -- the answering side

    def _resolve(self, value: Any) -> bool:
        """Store ``value`` unless the reply is settled; say whether it was stored."""
        with self._guard:
            if self._state:
                return False
            self._value = value
            self._state = _VALUE
            waiters, self._waiters = self._waiters, None
        if waiters is not None:
            for waiter in waiters:
                waiter()
        return True

    def _reject(self, error: BaseException) -> bool:
        """Store ``error`` unless the reply is settled; say whether it was stored."""
        with self._guard:
            if self._state:
                return False
            self._value = (error, error.__traceback__)
            self._state = _ERROR
            waiters, self._waiters = self._waiters, None
        if waiters is not None:
            for waiter in waiters:
                waiter()
        return True

    def set(self, value: T | None = None) -> None:
        """Store the value and wake every waiter.

        Raises:
            AlreadyAnswered: if the reply is settled or has a get hook.
        """
        if self._get_hook is not None or not self._resolve(value):
            msg = f"{self!r} was set a second time, to {value!r}"
            raise AlreadyAnswered(msg)

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Store an exception and wake every waiter.

        Args:
            exc_info: as from ``sys.exc_info()``, which is used if it is left out.

        Raises:
            AlreadyAnswered: if the reply is settled or has a get hook.
            ValueError: if there is no exception to store.
        """
        kind, error, traceback = exc_info or sys.exc_info()
        if error is None:
            if kind is None:
                msg = "set_exception() needs exc_info, or an exception being handled"
                raise ValueError(msg)
            error = kind()
        if traceback is not None:
            error = error.with_traceback(traceback)
        if self._get_hook is not None or not self._reject(error):
            msg = f"{self!r} was set a second time, to {error!r}"
            raise AlreadyAnswered(msg)

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have ``func(timeout)`` produce the value at the first ``get`` (pykka's contract).

        One getter at a time runs the hook; others wait no longer than their own timeout.

        Raises:
            AlreadyAnswered: if the reply is settled.
        """
        with self._guard:
            if self._state:
                msg = f"{self!r} has a value; a get hook would never run"
                raise AlreadyAnswered(msg)
            self._get_hook = func
            self._hook_lock = threading.Lock()

    # -- the waiting side

    def _when_done(self, waiter: Callable[[], object]) -> None:
        """Call ``waiter()`` once settled: at once, or from the settling thread."""
        with self._guard:
            if not self._state:
                if self._waiters is None:
                    self._waiters = [waiter]
                else:
                    self._waiters.append(waiter)
                return
        waiter()

    def _forget(self, waiter: Callable[[], object]) -> None:
        """Drop a waiter that has given up, so that a late reply does not collect them."""
        with self._guard:
            if self._waiters is not None and waiter in self._waiters:
                self._waiters.remove(waiter)

    def _outcome(self) -> T:
        if self._state == _VALUE:
            return cast("T", self._value)
        error, traceback = self._value
        # The traceback of the raising side, whatever earlier waiters have appended to it.
        raise error.with_traceback(traceback)

    def get(self, *, timeout: float | None = None) -> T:
        """Return the value, waiting for it if need be.

        Args:
            timeout: how long to wait, in seconds; ``None`` waits without limit.

        Raises:
            BlockingCall: if it would have to wait on a thread that runs an event loop.
            AskTimeout: if ``timeout`` passes; also a ``pykka.Timeout`` and a ``TimeoutError``.
            BaseException: the exception the reply was settled with.
        """
        if self._state:
            return self._outcome()
        if self._get_hook is not None:
            return self._get_from_hook(timeout)
        if timeout is not None and timeout <= 0:
            msg = f"{timeout} seconds"
            raise AskTimeout(msg)
        if asyncio._get_running_loop() is not None:  # None instead of an exception
            raise BlockingCall("get()", "'await reply', or 'await ref.call(message)'")
        arrived = threading.Lock()
        arrived.acquire()
        waiter = arrived.release
        self._when_done(waiter)
        try:
            if not arrived.acquire(timeout=-1 if timeout is None else timeout):
                msg = f"{timeout} seconds"
                raise AskTimeout(msg)
        finally:
            if not self._state:
                self._forget(waiter)
        return self._outcome()

    def _get_from_hook(self, timeout: float | None) -> T:
        if asyncio._get_running_loop() is not None:
            raise BlockingCall("get()", "'await reply'")
        began = time.monotonic()
        if not self._hook_lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            msg = f"{timeout} seconds"
            raise AskTimeout(msg)
        try:
            if not self._state:
                assert self._get_hook is not None
                if timeout is not None:
                    timeout = max(timeout - (time.monotonic() - began), 0.0)
                self._resolve(self._get_hook(timeout))
        finally:
            self._hook_lock.release()
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T]:
        """Suspend until the value is there, on whichever loop is running.

        Raises:
            BaseException: the exception the reply was settled with.
        """
        if not self._state:
            loop = asyncio.get_running_loop()
            if self._get_hook is not None:
                yield from loop.run_in_executor(None, self._get_from_hook, None)
            else:
                arrived = loop.create_future()
                waiter = functools.partial(_wake, loop, threading.get_ident(), arrived)
                self._when_done(waiter)
                try:
                    yield from arrived
                finally:
                    if not self._state:
                        self._forget(waiter)
        return self._outcome()

    __iter__ = __await__

    # -- derived replies, settled by the thread that settles the first one

    def _derive(self, compute: Callable[[T], M]) -> Reply[M]:
        derived: Reply[M] = Reply()
        # The code is its author's: in the context of the settling actor it would act for that one.
        context = contextvars.copy_context()

        def settle() -> None:
            try:
                derived._resolve(context.run(compute, self._outcome()))
            except BaseException as error:  # noqa: BLE001  # whoever waits for it must learn of it
                derived._reject(error)

        if self._get_hook is not None:
            derived.set_get_hook(lambda timeout: compute(self.get(timeout=timeout)))
        else:
            self._when_done(settle)
        return derived

    def map(self, func: Callable[[T], M]) -> Reply[M]:
        """Return a reply with ``func(value)``; its exception is the new reply's."""
        return self._derive(func)

    def filter(self, func: Callable[[Any], bool]) -> Reply[Any]:
        """Return a reply with the list of the value's items for which ``func(item)`` is true."""
        return self._derive(lambda value: [item for item in cast("Any", value) if func(item)])

    def reduce(self, func: Callable[[Any, Any], Any], *args: Any) -> Reply[Any]:
        """Return a reply with ``functools.reduce(func, value, *args)``."""
        return self._derive(lambda value: functools.reduce(func, cast("Any", value), *args))

    def join(self, *futures: PykkaFuture[Any]) -> Reply[Iterable[Any]]:
        """Return a reply with the values of this one and ``futures``, in that order.

        A timeout given to its ``get`` is for all of them together. It fails with the first
        exception, in that order.
        """
        joined: Reply[Iterable[Any]] = Reply()
        members: list[PykkaFuture[Any]] = [self, *futures]
        if all(isinstance(one, Reply) and one._get_hook is None for one in members):
            waiting = [len(members)]

            def settle() -> None:
                with self._guard:
                    waiting[0] -= 1
                    last = not waiting[0]
                if last:
                    try:
                        joined._resolve([one.get() for one in members])
                    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                        joined._reject(error)

            for one in members:
                cast("Reply[Any]", one)._when_done(settle)
        else:
            joined.set_get_hook(lambda timeout: get_all(members, timeout=timeout))
        return joined


def _wake(loop: asyncio.AbstractEventLoop, thread: int, arrived: asyncio.Future[None]) -> None:
    if threading.get_ident() == thread:
        if not arrived.done() and not loop.is_closed():
            arrived.set_result(None)
    else:
        # Its loop may be closed; then nobody is left who could be waiting on it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_wake, loop, thread, arrived)


def get_all(replies: Iterable[PykkaFuture[T]], *, timeout: float | None = None) -> list[T]:
    """Return the values of all ``replies``, in order.

    Args:
        timeout: for all of them together, in seconds (pykka's own counts anew for each).

    Raises:
        BlockingCall: if it would have to wait on a thread that runs an event loop.
        AskTimeout: if ``timeout`` passes.
        BaseException: the first exception, in order.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    return [
        one.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0))
        for one in replies
    ]
