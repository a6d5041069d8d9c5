"""One task: the function to run, the actor that runs it, and the handle of who wants its result.

A task is an actor that runs one function and ends. It is started by a `TaskSupervisor`.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from puckstream.actors import links
from puckstream.actors._pykka import ActorDeadError
from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.signals import Crash, ExitReason
from puckstream.actors.state import EXITING
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, ChildNotFound, Refuse

if TYPE_CHECKING:
    from puckstream.supervision.tasks import TaskSupervisorRef

__all__ = [
    "Job",
    "Task",
    "TaskActor",
    "TaskReply",
    "ThreadTaskActor",
    "ancestors",
    "callers",
    "name_of",
]

T = TypeVar("T")

_CALLERS: contextvars.ContextVar[tuple[ActorRef[Any], ...]] = contextvars.ContextVar(
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


class TaskReply(NamedTuple):
    """The result of a task, as a message to the actor that started it and does not await it.

    The `Down` of the task, reason normal, comes after it.
    """

    task: Task[Any]
    result: Any


class Task(Generic[T]):
    """A running task, as seen by whoever started it: await it for the result.

    If an actor started it, two messages tell that actor about the end: `TaskReply` with the
    result, unless the task failed, and then `Down` with the task's exit reason. As soon as the
    actor awaits the task or asks for its `result` neither comes any more, and those that wait in
    its mailbox are taken out. Two kinds of callers get no messages: code outside of any actor,
    and a `ThreadActor`, which waits with ``task.result().get()``.

    Once the result is there, the task takes no place in its supervisor any more.
    """

    __slots__ = (
        "_claimed",
        "_outcome",
        "_returned",
        "_supervisor",
        "ancestors",
        "callers",
        "linked",
        "monitor",
        "name",
        "owner",
        "ref",
    )

    ref: ActorRef[Any]
    """The task's actor."""

    def __init__(
        self,
        supervisor: TaskSupervisorRef,
        name: str,
        owner: ActorRef[Any] | None,
        *,
        linked: bool,
    ) -> None:
        self._supervisor = supervisor
        self._outcome: Reply[T] = Reply()
        self._returned: tuple[T] | None = None
        self._claimed = owner is None or owner.actor_class._threaded
        self.name = name
        """What the task's function is called."""
        self.owner = owner
        """The actor that started it, if there is one."""
        self.linked = linked and owner is not None
        """Whether the failure of either is one of both."""
        self.monitor: int | None = None
        """The number its `Down` will have; ``None`` if no message is due."""
        self.callers: tuple[ActorRef[Any], ...] = ()
        """The owner, and if that is a task, its callers (Elixir's ``$callers``)."""
        self.ancestors: tuple[ActorRef[Any], ...] = ()
        """The supervisors above it, the nearest first (Elixir's ``$ancestors``)."""

    def __repr__(self) -> str:
        return f"<Task {self.name}: {'done' if self.done else 'running'}>"

    @property
    def done(self) -> bool:
        """Whether it has ended, with a result or without."""
        return self._outcome.done

    # -- the waiting side

    def __await__(self) -> Generator[Any, None, T]:
        """Suspend until the result is there, on whichever loop is running.

        Raises:
            ActorDead: if the task was killed or stopped before it had a result.
            BaseException: what its function raised.
        """
        return self.result().__await__()

    def result(self, timeout: float | None = None) -> Reply[T]:
        """Return a reply with the result; it may be asked for again and by anybody.

        Cancelling the waiter, or the passing of its time, does nothing to the task: it goes on,
        and sends no message when it ends.

        Args:
            timeout: how long to wait, in seconds of the node's clock; ``None`` is without limit.

        Raises (when awaited):
            CallTimeout: if ``timeout`` passes.
            ActorDead: if the task was killed or stopped before it had a result.
            BaseException: what its function raised.

        Raises (at once):
            NodeNotRunning: from another thread, if the node has shut down and there is no result.
        """
        outcome = self._outcome
        owned = not self._claimed and CURRENT.get() is self.owner
        if not owned and (timeout is None or outcome.done):
            return outcome
        system = self._supervisor._system
        waiting: Reply[T] = Reply()

        def wait() -> None:
            if owned:
                self._claim()
            outcome._when_done(partial(_forward, outcome, waiting))
            if timeout is not None and not waiting.done:
                system.deadlines.add(waiting, timeout, self.ref)

        system.run_on_loop(wait)
        return waiting

    def cancel(self) -> Reply[bool]:
        """End the task: it is unlinked from its owner, and its function is cancelled.

        A function that does not end within the task's ``shutdown`` time is killed, a blocking one
        left behind as a zombie. When the reply comes the task is down, and awaiting it raises
        `ActorDead`. It does not matter whether its supervisor lives.

        Returns:
            A reply that says whether it was running.

        Raises (at once):
            NodeNotRunning: from another thread, if the node has shut down.
        """
        owned = CURRENT.get() is self.owner
        return self._supervisor._system.perform(self._cancel, owned)

    def _cancel(self, owned: bool) -> Reply[bool]:
        if owned:
            self._claim()
        if self.owner is not None:
            links.unlink(self.owner, self.ref)
        cancelled: Reply[bool] = Reply()
        if self.done:
            cancelled._resolve(False)
            return cancelled
        terminated = self._supervisor.terminate_child(self.ref)

        def settle() -> None:
            try:
                terminated.get()
            except (ActorDead, ChildNotFound):
                # Its supervisor knows it no more, or is gone and has taken its children along.
                self.ref.wait_stopped()._when_done(lambda: cancelled._resolve(False))
            else:
                cancelled._resolve(True)

        terminated._when_done(settle)
        return cancelled

    # -- on the loop's thread

    def _claim(self) -> None:
        """Send its owner no message any more, and take out those that wait in its mailbox."""
        owner, number = self.owner, self.monitor
        if owner is None or self._claimed:
            return
        self._claimed = True
        if number is not None and owner._actor is not None:
            owner._actor.demonitor(number)
        box = owner._box
        for message in tuple(box or ()):
            if type(message) is TaskReply and message.task is self and box is not None:
                box.remove(message)

    def _begin(self, ref: ActorRef[Any]) -> None:
        """Note that ``ref`` runs the function from now on.

        Raises:
            ActorDead: if the owner has ended meanwhile.
        """
        self.ref = ref
        owner = self.owner
        if owner is not None:
            actor = owner._actor
            if actor is None:
                msg = f"{owner}, which wanted the task {self.name}, has stopped"
                raise ActorDeadError(msg)
            if self.linked:
                actor.link(ref)
            if not self._claimed:
                self.monitor = actor.monitor(ref)
        ref._on_death(self._ended)

    def _finish(self, result: T) -> None:
        """Take the result; whoever waits gets it when the actor is down."""
        self._returned = (result,)
        if not self._claimed and self.owner is not None:
            self.owner._deliver(TaskReply(self, result))

    def _ended(self, _ref: ActorRef[Any], reason: ExitReason) -> None:
        if self._returned is not None:
            self._outcome._resolve(self._returned[0])
            return
        error = reason.error if isinstance(reason, Crash) else None
        if error is None or isinstance(error, asyncio.CancelledError):
            # A CancelledError would look as if whoever waits had been cancelled.
            msg = f"the task {self.name} ended without a result: {reason}"
            dead = ActorDeadError(msg)
            dead.__cause__ = error
            error = dead
        self._outcome._reject(error)


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
    """Runs the function of a job on the loop, and ends with its reason."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self.actor_ref._context = job.context_for(self.actor_ref)
        if job.task is not None:
            job.task._begin(self.actor_ref)

    def on_start(self) -> None:
        """Have the function run, once the supervisor has gone on."""
        self.actor_ref._deliver(_RUN)

    def on_receive(self, message: Any) -> Any:
        """Run the function."""
        if message is not _RUN:
            return super().on_receive(message)
        job = self._job
        if job.task is not None:
            job.task.ancestors = ancestors(self.actor_ref)
        try:
            result = job.function(*job.args, **job.kwargs)
        except Refuse as refusal:
            # A refusal is for requests; a task that lived on after it would do nothing.
            raise refusal.error from refusal
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
        ref = self.actor_ref
        if ref._state >= EXITING:
            return  # its function has outlived the exit signal, which counts
        if self._job.task is not None:
            self._job.task._finish(value)
        self.finish()

    def describe(self) -> str:
        """Return what the function is called, for the tree."""
        return name_of(self._job.function)


class ThreadTaskActor(ThreadActor):
    """Runs the function of a job in a thread of its own, where it may block."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._context = job.context_for(self.actor_ref)
        if job.task is not None:
            job.task._begin(self.actor_ref)

    def on_start(self) -> None:
        """Have the function run."""
        self.actor_ref._deliver(_RUN)

    def on_receive(self, message: Any) -> Any:
        """Run the function."""
        if message is not _RUN:
            return super().on_receive(message)
        job, ref = self._job, self.actor_ref
        if job.task is not None:
            job.task.ancestors = ancestors(ref)
        try:
            result = self._context.run(job.function, *job.args, **job.kwargs)
        except Refuse as refusal:
            raise refusal.error from refusal
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            msg = f"{name_of(job.function)} returned {result!r}: in_thread=True is for functions that block"
            raise TypeError(msg)
        if job.task is not None:
            ref._system.post(self._hand_in, job.task, result)
        self.finish()
        return None

    def _hand_in(self, task: Task[Any], result: Any) -> None:
        if self.actor_ref._state < EXITING:
            task._finish(result)

    def describe(self) -> str:
        """Return what the function is called, for the tree."""
        return name_of(self._job.function)


def name_of(function: Callable[..., Any]) -> str:
    """Return what ``function`` is called, without what `functools.partial` has put around it."""
    inner: Any = function
    while isinstance(inner, partial):
        inner = inner.func
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)


def _forward(source: Reply[T], target: Reply[T]) -> None:
    try:
        target._resolve(source.get())
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        target._reject(error)
