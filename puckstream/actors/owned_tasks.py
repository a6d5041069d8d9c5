"""The tasks an actor runs beside its handlers; their ends are messages to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from puckstream.actors.signals import TaskDone, TaskFailed
from puckstream.actors.state import STOPPING
from puckstream.errors import TaskExists

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["cancel_task", "start_task"]

logger = logging.getLogger("puckstream.actors")


def start_task(
    ref: ActorRef[Any],
    name: str,
    function: Callable[..., Coroutine[Any, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Run ``await function(*args, **kwargs)`` as a task of ``ref``; on the loop's thread.

    Raises:
        TaskExists: if a task of that name is running.
    """
    extra = ref._ensure_extra()
    if extra.tasks is None:
        extra.tasks = {}
    tasks = extra.tasks
    if name in tasks:
        raise TaskExists(name, ref)
    if ref._state >= STOPPING:
        return
    system = ref._system
    context = (ref._context or system.new_context(ref)).copy()
    coroutine = function(*args, **kwargs)
    task = system.loop.create_task(
        _owned(coroutine),
        name=f"puckstream:{ref.actor_class.__name__}#{ref.id}:{name}",
        context=context,
    )
    tasks[name] = task

    def ended(task: asyncio.Task[Any]) -> None:
        if asyncio.iscoroutine(coroutine):
            coroutine.close()  # a task that is cancelled at once has not begun it
        if tasks.get(name) is task:
            del tasks[name]
        if task.cancelled():
            ref._deliver(TaskFailed(name, asyncio.CancelledError()))
            return
        error = task.exception()
        result = None if error is not None else task.result()
        if type(result) is _Exited:
            error = result.error
        if error is not None:
            if not ref._deliver(TaskFailed(name, error)) and isinstance(error, Exception):
                logger.error("task %r of %s, which has ended, failed", name, ref, exc_info=error)
        else:
            ref._deliver(TaskDone(name, result))

    task.add_done_callback(ended)


def cancel_task(ref: ActorRef[Any], name: str) -> bool:
    """Cancel a task of ``ref``, from any thread; say whether there was one of that name."""
    extra = ref._extra
    task = None if extra is None or extra.tasks is None else extra.tasks.get(name)
    if task is None:
        return False
    ref._system.run_on_loop(task.cancel)
    return True


class _Exited:
    """The result of a task that raised ``SystemExit``, which asyncio would pass on."""

    __slots__ = ("error",)

    def __init__(self, error: SystemExit) -> None:
        self.error = error


async def _owned(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except SystemExit as error:
        return _Exited(error)
