"""`Task`: the handle of whoever wants the result of a function that runs as an actor.

`puckstream.supervision.tasks` starts tasks, `puckstream.supervision.job` runs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from puckstream.actors import links
from puckstream.actors._pykka import ActorDeadError
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.signals import Crash, ExitReason
from puckstream.errors import ActorDead, ChildNotFound

if TYPE_CHECKING:
    from puckstream.supervision.tasks import TaskSupervisorRef

__all__ = ["Task", "TaskReply"]

T = TypeVar("T")


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
    its mailbox are taken out. A `ThreadActor` waits with ``task.result().get()``. Code outside of
    any actor gets no messages.

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
        self._claimed = owner is None
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
        by = CURRENT.get()
        return self._supervisor._system.perform(self._cancel, by)

    def _cancel(self, by: ActorRef[Any] | None) -> Reply[bool]:
        if by is self.owner:
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
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                cancelled._reject(error)
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
        owner._forget(lambda message: type(message) is TaskReply and message.task is self)

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
        if self.done:
            return  # killed before this came from its thread
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


def _forward(source: Reply[T], target: Reply[T]) -> None:
    try:
        target._resolve(source.get())
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        target._reject(error)
