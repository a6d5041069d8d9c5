"""Threads for what blocks: a stream's function, a handler's plain method.

Each runs in a thread of its own, so that one that hangs keeps nobody waiting, and in a daemon, so
that it does not keep the program from ending either. Nothing in Python can stop a thread: one
that is left behind is counted among the node's zombies until it ends by itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from puckstream.errors import NodeNotRunning, StreamError

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Threads"]

# Idle threads kept for the next call; starting one takes about 0.1 ms.
_SPARE: Final = 8

_Outcome: TypeAlias = tuple[Any, BaseException | None]
_Job: TypeAlias = tuple[Callable[[], Any], "asyncio.Future[_Outcome]"]


class Threads:
    """Runs blocking calls, each in a thread of its own. Its methods belong to the loop's thread.

    Args:
        system: the engine of the node they belong to.
    """

    def __init__(self, system: Scheduler) -> None:
        self._system = system
        self._idle: list[_Worker] = []
        self._busy: dict[asyncio.Future[_Outcome], _Worker] = {}
        self._numbers = itertools.count(1)
        self._closed = False

    def run(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[_Outcome]:
        """Call ``function(*args)`` in a thread, in the caller's context.

        Returns:
            A future with the result and the exception, one of which is ``None``. Cancelling it
            does not stop the function.

        Raises:
            StreamError: of kind ``crashed``, if the system has no thread left.
        """
        future: asyncio.Future[_Outcome] = self._system.loop.create_future()
        context = contextvars.copy_context()
        worker = self._idle.pop() if self._idle else self._new_worker()
        self._busy[future] = worker
        self._system.threads.add(worker.thread)
        worker.jobs.put((lambda: context.run(function, *args), future))
        return future

    def leave(self, future: asyncio.Future[_Outcome], owner: ActorRef[Any]) -> None:
        """Count the thread of a call nobody waits for as a zombie of ``owner``, while it runs."""
        worker = self._busy.get(future)
        if worker is not None:
            self._system.zombies[worker.thread] = owner

    def close(self) -> None:
        """Keep no thread from now on; what still runs, and what is yet to be run, may finish."""
        self._closed = True
        while self._idle:
            self._idle.pop().jobs.put(None)

    def _new_worker(self) -> _Worker:
        try:
            return _Worker(self, f"puckstream-worker-{next(self._numbers)}")
        except RuntimeError as error:
            problem = f"the system has no thread left: {error}"
            raise StreamError("crashed", problem) from error

    def _done(self, worker: _Worker, future: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
        """Hand on what a call came to; on the loop."""
        self._busy.pop(future, None)
        self._system.threads.discard(worker.thread)
        self._system.zombies.pop(worker.thread, None)
        if not future.done():
            future.set_result(outcome)
        if self._closed or len(self._idle) >= _SPARE:
            worker.jobs.put(None)
        else:
            self._idle.append(worker)

    def _told(self, worker: _Worker, future: asyncio.Future[_Outcome], outcome: _Outcome) -> bool:
        """Report the end of a call; false if no node is left to report to. In the thread."""
        try:
            # Behind whatever the call has sent to actors.
            self._system.post(self._done, worker, future, outcome)
        except NodeNotRunning:
            self._system.threads.discard(worker.thread)
            self._system.zombies.pop(worker.thread, None)
            return False
        return True


class _Worker:
    """A thread that does one job after the other."""

    __slots__ = ("jobs", "thread")

    def __init__(self, threads: Threads, name: str) -> None:
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=_work, args=(threads, self), name=name, daemon=True)
        self.thread.start()


def _work(threads: Threads, worker: _Worker) -> None:
    while True:
        job = worker.jobs.get()
        if job is None:
            return
        function, future = job
        # Returned, not raised: a future takes no StopIteration, and a SystemExit or
        # KeyboardInterrupt coming out of one would end the loop.
        outcome: _Outcome
        try:
            outcome = function(), None
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
            outcome = None, error
        del job, function
        if not threads._told(worker, future, outcome):
            return
        del future, outcome
