"""The actor of a task: it runs one function and ends.

A plain function or a coroutine runs on the loop, as the code of a `TaskActor`; one that blocks
has the thread of a `ThreadTaskActor`.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.state import EXITING
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import NodeNotRunning, Refuse
from puckstream.supervision.task import Task

__all__ = ["Job", "TaskActor", "ThreadTaskActor", "ancestors", "callers", "name_of"]

_CALLERS: Final[contextvars.ContextVar[tuple[ActorRef[Any], ...]]] = contextvars.ContextVar(
    "puckstream.callers", default=()
)


def callers() -> tuple[ActorRef[Any], ...]:
    """Return the actors on whose behalf the running task works, the nearest first.

    That is the actor that started the task; if it is a task itself, its callers follow. Outside
    of a task, and in one that no actor started, there are none (Elixir's ``$callers``).
    """
    return _CALLERS.get()


def ancestors(ref: ActorRef[Any] | None = None) -> tuple[ActorRef[Any], ...]:
    """Return the supervisors above ``ref``, or above the calling actor, the nearest first.

    An actor that has ended, or that nobody supervises, has none (Elixir's ``$ancestors``).
    """
    above: list[ActorRef[Any]] = []
    lower = CURRENT.get() if ref is None else ref
    while lower is not None and lower._parent is not None:
        lower = lower._parent
        above.append(lower)
    return tuple(above)


@dataclass(frozen=True, slots=True)
class Job:
    """What a task is to do, and for whom.

    Args:
        function: what to call.
        args: its positional arguments.
        kwargs: its keyword arguments.
        context: the caller's contextvars; every run gets a copy.
        callers: see `callers`.
        task: the handle that wants the result; ``None`` if nobody does.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    context: Context
    callers: tuple[ActorRef[Any], ...]
    task: Task[Any] | None = None

    @classmethod
    def of_caller(
        cls,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        task: Task[Any] | None = None,
    ) -> Job:
        """Return a job for the calling code."""
        caller = CURRENT.get()
        chain = () if caller is None else (caller, *callers())
        if task is not None:
            task.callers = chain
        return cls(function, args, kwargs, contextvars.copy_context(), chain, task)

    def context_for(self, ref: ActorRef[Any]) -> Context:
        """Return the context in which ``ref`` does the job."""
        context = self.context.copy()
        context.run(CURRENT.set, ref)
        context.run(_CALLERS.set, self.callers)
        return context


class _Run:
    """Message of a task's actor to itself, so that its starter need not wait for the function."""


_RUN: Final = _Run()


class TaskActor(Actor):
    """Runs the function of a job on the loop, and ends as it ends."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._context = job.context_for(self.actor_ref)
        self._take_place()
        if job.task is not None:
            job.task._begin(self.actor_ref)

    def _take_place(self) -> None:
        # Instead of a copy of the node's context, in which actors run otherwise.
        self.actor_ref._context = self._context

    def on_start(self) -> None:
        """Have the function run, once the supervisor has gone on."""
        if self._job.task is not None:
            self._job.task.ancestors = ancestors(self.actor_ref)
        self._let_run()

    def _let_run(self) -> None:
        self.actor_ref._deliver(_RUN)

    def on_receive(self, message: Any) -> Any:
        """Run the function."""
        if message is not _RUN:
            return super().on_receive(message)
        try:
            return self._run(self._job)
        except Refuse as refusal:
            # A refusal is for requests; a task that lived on after it would do nothing.
            raise refusal.error from refusal

    def _run(self, job: Job) -> Any:
        result = job.function(*job.args, **job.kwargs)
        if inspect.isawaitable(result):
            return self._wait(result)
        self._end(result)
        return None

    async def _wait(self, result: Awaitable[Any]) -> None:
        try:
            value = await result
        except Refuse as refusal:
            raise refusal.error from refusal
        self._end(value)

    def _end(self, value: Any) -> None:
        task = self._job.task
        # A function that has outlived an exit signal comes too late.
        if task is not None and self.actor_ref._state < EXITING:
            self._hand_in(task, value)
        self.finish()

    def _hand_in(self, task: Task[Any], value: Any) -> None:
        task._finish(value)

    def describe(self) -> str:
        """Return what the function is called, for the tree."""
        return name_of(self._job.function)


class ThreadTaskActor(TaskActor, ThreadActor):
    """Runs the function of a job in a thread of its own, where it may block."""

    def _take_place(self) -> None:
        pass

    def _let_run(self) -> None:
        self.actor_ref._system.post(self._let_run_when_started)

    def _let_run_when_started(self) -> None:
        # A child that has ended by the time its supervisor learns of its start counts as one that
        # did not start. The supervisor is told in the turn of the loop behind the handshake's.
        ref = self.actor_ref
        started = None if ref._extra is None else ref._extra.started
        if started is not None:
            soon = ref._system.loop.call_soon
            started._when_done(lambda: soon(soon, ref._deliver, _RUN))

    def _run(self, job: Job) -> None:
        result = self._context.run(job.function, *job.args, **job.kwargs)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            msg = f"{name_of(job.function)} is async; without in_thread=True it runs on the loop"
            raise TypeError(msg)
        self._end(result)

    def _hand_in(self, task: Task[Any], value: Any) -> None:
        with contextlib.suppress(NodeNotRunning):  # then nobody waits any more
            self.actor_ref._system.post(task._finish, value)


def name_of(function: Callable[..., Any]) -> str:
    """Return what ``function`` is called, without what `functools.partial` has put around it."""
    inner: Any = function
    while isinstance(inner, partial):
        inner = inner.func
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)
