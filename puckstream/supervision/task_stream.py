"""A bounded number of tasks over many items, and their results (``Task.async_stream``)."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT, Scheduler
from puckstream.actors.signals import Down
from puckstream.errors import CallTimeout, InvalidOption, NodeNotRunning
from puckstream.supervision.task import Task

__all__ = ["OnFailure", "Plan", "run_stream"]

OnFailure: TypeAlias = Literal["raise", "yield"]
"""What a stream does with an exception: raise it, or yield it in the place of the result."""


class Plan:
    """How a stream goes about it; see `TaskSupervisorRef.stream`.

    Raises:
        InvalidOption: if an argument has an impossible value.
    """

    __slots__ = ("limit", "on_error", "on_timeout", "ordered", "timeout")

    def __init__(
        self,
        max_concurrency: int | None,
        ordered: bool,  # noqa: FBT001  # only `stream` calls this
        timeout: float | None,
        on_timeout: OnFailure,
        on_error: OnFailure,
    ) -> None:
        limit = (os.cpu_count() or 1) if max_concurrency is None else max_concurrency
        if type(limit) is not int or limit < 1:
            raise InvalidOption("max_concurrency", max_concurrency, "a whole number ≥ 1, or None")
        if timeout is not None and not timeout > 0:
            raise InvalidOption("timeout", timeout, "seconds above 0, or None")
        for option, value in (("on_timeout", on_timeout), ("on_error", on_error)):
            if value not in get_args(OnFailure):
                raise InvalidOption(option, value, "'raise' or 'yield'")
        self.limit = limit
        self.ordered = ordered
        self.timeout = timeout
        self.on_timeout = on_timeout
        self.on_error = on_error


class _Outcome(NamedTuple):
    place: int
    value: Any
    error: BaseException | None
    timed_out: bool


class _Running:
    """The tasks that run, and the outcomes of those that have ended, in that order."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task[Any]] = {}
        self.starting: Reply[Task[Any]] | None = None
        self._ended: deque[_Outcome] = deque()
        self._arrival: Reply[None] = Reply()

    def add(self, place: int, task: Task[Any], timeout: float | None) -> None:
        """Follow ``task`` to its end."""
        self.starting = None
        self.tasks[place] = task
        result = task.result(timeout)
        result._when_done(lambda: self._take(place, task, result))

    def _take(self, place: int, task: Task[Any], result: Reply[Any]) -> None:
        # On the node's loop, wherever the iteration itself runs.
        value, error = None, None
        try:
            value = result.get()
        except BaseException as failure:  # noqa: BLE001  # it is the iteration's to raise
            error = failure
        timed_out = isinstance(error, CallTimeout) and not task.done
        self._ended.append(_Outcome(place, value, error, timed_out))
        self._arrival._resolve(None)

    async def next(self) -> _Outcome:
        """Wait for the next task to end."""
        while not self._ended:
            await self._arrival
            self._arrival = Reply()
            # One that ended between these two lines is in the queue already.
        outcome = self._ended.popleft()
        task = self.tasks.pop(outcome.place, None)
        if outcome.timed_out and task is not None:
            _kill(task)
        return outcome

    def kill(self) -> None:
        """End all that run, without waiting, and the one that is being started."""
        starting, self.starting = self.starting, None
        if starting is not None:
            starting._when_done(lambda: _kill_started(starting))
        tasks, self.tasks = self.tasks, {}
        for task in tasks.values():
            _kill(task)


def _kill_started(starting: Reply[Task[Any]]) -> None:
    # It may not have started, or the node have ended. If it has started, this runs within its
    # supervisor's handler, which cannot ask itself.
    with contextlib.suppress(Exception):
        task = starting.get()
        task._supervisor._system.loop.call_soon_threadsafe(_kill, task)


def _kill(task: Task[Any]) -> None:
    # By its supervisor, which then has nothing to report: the task's shutdown is brutal.
    # From another thread, after the node's end, there is nothing left to kill.
    with contextlib.suppress(NodeNotRunning):
        task._supervisor.terminate_child(task.ref)


class _Keeper(Actor):
    """Kills the tasks of a stream when the actor that iterates over it has ended."""

    def __init__(self, owner: ActorRef[Any], running: _Running) -> None:
        super().__init__()
        self._owner = owner
        self._running = running

    def on_start(self) -> None:
        self.monitor(self._owner)

    def on_receive(self, message: Any) -> Any:
        if not isinstance(message, Down):
            return super().on_receive(message)
        self._running.kill()
        self.finish()
        return None


async def run_stream(
    plan: Plan,
    system: Scheduler,
    start: Callable[[Any], Reply[Task[Any]]],
    items: Iterator[Any],
) -> AsyncGenerator[Any, None]:
    """Yield the results of the tasks that ``start`` makes of ``items``.

    Raises:
        BaseException: see `TaskSupervisorRef.stream`.
    """
    running = _Running()
    keeper = await _keep(system, running)
    started = delivered = 0
    exhausted = False
    # Those that have ended before their turn.
    early: dict[int, _Outcome] = {}
    try:
        while True:
            while not exhausted and len(running.tasks) < plan.limit:
                try:
                    item = next(items)
                except StopIteration:
                    exhausted = True
                else:
                    running.starting = start(item)
                    running.add(started, await running.starting, plan.timeout)
                    started += 1
            if not running.tasks:
                return
            outcome = await running.next()
            early[outcome.place if plan.ordered else delivered] = outcome
            while delivered in early:
                yield _unfold(plan, early.pop(delivered))
                delivered += 1
    finally:
        # Nothing is awaited here: the iteration may be ending because its loop is.
        running.kill()
        if keeper is not None:
            with contextlib.suppress(NodeNotRunning):
                keeper.kill()


async def _keep(system: Scheduler, running: _Running) -> ActorRef[Any] | None:
    owner = CURRENT.get()
    if owner is None:
        return None
    return await system.perform(_spawn_keeper, system, owner, running)


def _spawn_keeper(system: Scheduler, owner: ActorRef[Any], running: _Running) -> ActorRef[Any]:
    return lifecycle.spawn(system, _Keeper, (owner, running), {})


def _unfold(plan: Plan, outcome: _Outcome) -> Any:
    error = outcome.error
    if error is None:
        return outcome.value
    if (plan.on_timeout if outcome.timed_out else plan.on_error) == "raise":
        raise error
    return cast("Any", error)
