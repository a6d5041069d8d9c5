"""`TaskSupervisor`: functions as supervised actors (Elixir ``Task.Supervisor``).

::

    tasks = await node.start_child(puck.TaskSupervisor)
    task = await tasks.run(fetch, url)              # its failure is that of the calling actor
    page = await task.result(timeout=10)
    await tasks.start_child(send_mail, address)     # nobody waits for it
    async for page in tasks.stream(fetch, urls, max_concurrency=8):
        ...

A task's function is ``async def``, or plain and quick; one that blocks is run with
``in_thread=True``. It runs in a copy of the caller's contextvars.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, ClassVar, TypeVar, cast, overload

from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.errors import InvalidOption
from puckstream.supervision.child import ChildSpec, Restart, Shutdown
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.handle import DynamicSupervisorRef
from puckstream.supervision.job import Job, TaskActor, ThreadTaskActor, name_of
from puckstream.supervision.task import Task
from puckstream.supervision.task_stream import OnFailure, Plan, run_stream

__all__ = ["TaskSupervisor", "TaskSupervisorRef"]

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741  # an item


class TaskSupervisorRef(DynamicSupervisorRef):
    """The ref of a `TaskSupervisor`."""

    __slots__ = ()

    @overload
    def run(
        self,
        function: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        link: bool = True,
        in_thread: bool = False,
        shutdown: Shutdown = 5.0,
        **kwargs: Any,
    ) -> Reply[Task[T]]: ...
    @overload
    def run(
        self,
        function: Callable[..., T],
        /,
        *args: Any,
        link: bool = True,
        in_thread: bool = False,
        shutdown: Shutdown = 5.0,
        **kwargs: Any,
    ) -> Reply[Task[T]]: ...

    def run(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        link: bool = True,
        in_thread: bool = False,
        shutdown: Shutdown = 5.0,
        **kwargs: Any,
    ) -> Reply[Task[Any]]:
        """Run ``function(*args, **kwargs)`` as a task whose result somebody wants.

        Where an actor is calling the task is linked to it, and monitored by it: the failure of
        either ends the other, and the end of the task comes as messages unless it is awaited, see
        `Task`. Elsewhere there is nothing to link, and the task is only awaited. An argument of
        the function that has the name of an option here must be bound with `functools.partial`.

        Args:
            link: ``False`` keeps the failures apart (Elixir's ``async_nolink``).
            in_thread: whether the function blocks and needs a thread of its own.
            shutdown: see `ChildSpec`; how long the function has when the task is to end.

        Returns:
            A reply with the `Task`, settled when it has been started.

        Raises (when awaited):
            TooManyChildren: if the supervisor's ``max_children`` is reached.
            StartFailed: if the calling actor has ended meanwhile.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``function`` cannot be called, or is ``async`` and ``in_thread``.
            InvalidSpec: if ``shutdown`` has an impossible value.
        """
        owner = CURRENT.get()
        task: Task[Any] = Task(self, name_of(function), owner, linked=link)
        spec = _spec(
            Job.of_caller(function, args, kwargs, task), "temporary", shutdown, in_thread=in_thread
        )
        return super().start_child(spec).map(lambda _ref: task)

    def start_child(
        self,
        item: ChildSpec | Callable[..., Any],
        *args: Any,
        restart: Restart = "temporary",
        shutdown: Shutdown = 5.0,
        in_thread: bool = False,
        **kwargs: Any,
    ) -> Reply[Any]:
        """Run ``item(*args, **kwargs)`` as a task nobody waits for; its result is dropped.

        It is neither linked to the caller nor does it send anything. A failure is logged, and
        restarts it, with the same arguments, if ``restart`` says so. A `ChildSpec` is started as
        it is.

        Args:
            item: the function.
            restart: ``"temporary"``, ``"transient"`` (until it succeeds) or ``"permanent"``.
            shutdown: see `run`.
            in_thread: see `run`.

        Returns:
            A reply with the task's ref.

        Raises (when awaited):
            TooManyChildren: if the supervisor's ``max_children`` is reached.
            StartFailed: for a `ChildSpec` only: if it did not start.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``item`` cannot be called, is an actor class, or is ``async`` and
                ``in_thread``.
            InvalidSpec: if ``restart`` or ``shutdown`` has an impossible value.
        """
        if isinstance(item, ChildSpec):
            return super().start_child(item)
        spec = _spec(Job.of_caller(item, args, kwargs), restart, shutdown, in_thread=in_thread)
        return super().start_child(spec)

    @overload
    def stream(
        self,
        function: Callable[[I], Awaitable[T]],
        items: Iterable[I],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float | None = None,
        on_timeout: OnFailure = "raise",
        on_error: OnFailure = "raise",
        in_thread: bool = False,
    ) -> AsyncGenerator[T, None]: ...
    @overload
    def stream(
        self,
        function: Callable[[I], T],
        items: Iterable[I],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float | None = None,
        on_timeout: OnFailure = "raise",
        on_error: OnFailure = "raise",
        in_thread: bool = False,
    ) -> AsyncGenerator[T, None]: ...

    def stream(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        max_concurrency: int | None = None,
        ordered: bool = True,
        timeout: float | None = None,
        on_timeout: OnFailure = "raise",
        on_error: OnFailure = "raise",
        in_thread: bool = False,
    ) -> AsyncGenerator[Any, None]:
        """Iterate over ``function(item)`` for every item, each run as a task of its own.

        Items are taken, and tasks started, only while somebody waits for the next result. Results
        that are there before their turn are kept. When the iteration ends early, by an exception,
        ``break`` or the end of the calling actor, the tasks that run are killed; no message, link
        or monitor remains in any case. After a ``break`` this takes until the iterator is
        collected; close it with ``contextlib.aclosing`` to be sure.

        Args:
            max_concurrency: how many tasks may run at once, at least 1; by default as many as the
                machine has processors.
            ordered: ``True`` keeps the order of ``items``, ``False`` takes what is there first.
            timeout: how long each task may take, in seconds of the node's clock.
            on_timeout: what to do with a task that has timed out, after it was killed: ``"raise"``
                its `CallTimeout`, or ``"yield"`` it in the place of the result.
            on_error: the same for the exception of a function that failed, and for the
                `ActorDead` of a task that somebody else has ended.
            in_thread: see `run`.

        Raises (while iterating):
            CallTimeout: see ``on_timeout``.
            TooManyChildren: if the supervisor's ``max_children`` is reached.
            ActorDead: if the supervisor has stopped, and see ``on_error``.
            BaseException: what the function raised, see ``on_error``, or the iterator of items.

        Raises (at once):
            InvalidOption: if an argument has an impossible value.
        """
        plan = Plan(max_concurrency, ordered, timeout, on_timeout, on_error)

        def start(item: Any) -> Reply[Task[Any]]:
            task: Task[Any] = Task(self, name_of(function), None, linked=False)
            job = Job.of_caller(function, (item,), {}, task)
            spec = _spec(job, "temporary", "brutal_kill", in_thread=in_thread)
            return super(TaskSupervisorRef, self).start_child(spec).map(lambda _ref: task)

        _check(function, in_thread=in_thread)
        given = cast("object", items)
        if not isinstance(given, Iterable):
            raise InvalidOption("items", items, "something to iterate over")
        return run_stream(plan, self._system, start, iter(items))


class TaskSupervisor(DynamicSupervisor):
    """Runs functions as its children; see its ref, `TaskSupervisorRef`, for how to start them.

    Args:
        max_children: how many tasks may run at once; ``None`` is any number.
        intensity: restarts allowed within ``period``; only `start_child` with ``restart=`` makes
            tasks that are restarted.
        period: the window, in seconds, above 0.

    Raises:
        InvalidSpec: if a flag has an impossible value.
    """

    _ref_class: ClassVar[type[ActorRef[Any]]] = TaskSupervisorRef

    def __init__(
        self, *, max_children: int | None = None, intensity: int = 3, period: float = 5.0
    ) -> None:
        super().__init__(intensity=intensity, period=period, max_children=max_children)


def _spec(job: Job, restart: Restart, shutdown: Shutdown, *, in_thread: bool) -> ChildSpec:
    _check(job.function, in_thread=in_thread)
    return ChildSpec(
        name_of(job.function),
        ThreadTaskActor if in_thread else TaskActor,
        (job,),
        restart=restart,
        shutdown=shutdown,
    )


def _check(function: object, *, in_thread: bool) -> None:
    if not callable(function) or (isinstance(function, type) and issubclass(function, Actor)):
        raise InvalidOption(
            "function", function, "a function; start actors with a DynamicSupervisor"
        )
    if in_thread and inspect.iscoroutinefunction(cast("Any", function)):
        raise InvalidOption("in_thread", in_thread, f"{function!r} is async; leave it out")
