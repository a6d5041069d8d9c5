"""A task that takes over a handler which turned out to suspend.

An ``async def`` handler is first driven directly, which costs no task. Code in it may still ask
for ``asyncio.current_task()``: ``asyncio.timeout`` and anyio do, and keep it for later. So that
they get the task which will drive the handler if it suspends, a spare one stands ready, is
*current* during the direct drive, and takes the coroutine over at its first suspension.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["Finished", "Vessel"]

Finished = Callable[["ActorRef[Any]", Any, BaseException | None], None]
"""Called with the actor, the coroutine's value, and its exception if it raised."""


# References to a task nobody else has: the vessel's, its wake-up's, the variable's, the call's.
_UNSHARED = 4


class Vessel:
    """One task, waiting for a coroutine to carry on with."""

    __slots__ = (
        "_cancelled",
        "_cargo",
        "_context",
        "_handed",
        "_loop",
        "_started",
        "coroutine",
        "message",
        "since",
        "task",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        # The task's own context is the engine's: it may be made in one actor and serve another.
        self._context = context
        self._handed: asyncio.Future[None] = loop.create_future()
        self._cargo: tuple[Any, ...] | None = None
        self._started = False
        self._cancelled = False
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        """What it drives, since ``since`` on the node's clock."""
        self.message: Any = None
        """What that handles, if it is a handler."""
        self.since = 0.0
        self.task: asyncio.Task[None] = loop.create_task(
            self._run(), name="puckstream:spare", context=context.copy()
        )

    def take_over(
        self,
        ref: ActorRef[Any],
        coroutine: Coroutine[Any, Any, Any],
        context: Context,
        finished: Finished,
        suspended_on: object = None,
        *,
        begun: bool = True,
    ) -> None:
        """Drive ``coroutine`` to its end in ``context``, then call ``finished``.

        Args:
            suspended_on: what the coroutine yielded when it suspended.
            begun: whether it was driven up to that point, or not started at all.
        """
        self.task.set_name(f"puckstream:{ref.actor_class.__name__}#{ref.id}")
        self._cargo = (ref, coroutine, context, finished, suspended_on, begun)
        self.coroutine = coroutine
        self.since = ref._system.clock.now()
        if not self._started:
            self.task.add_done_callback(self._lost)
        if not self._handed.done():
            self._handed.set_result(None)

    @property
    def spoilt(self) -> bool:
        """Whether somebody who took the spare task for his own still has it, or cancelled it.

        What he does with it later must not hit the handler of another actor.
        """
        task = self.task
        return task.cancelling() > 0 or task.done() or sys.getrefcount(task) > _UNSHARED

    def cancel(self) -> None:
        """Cancel the coroutine, also before the task has had its first step."""
        if self._started:
            self.task.cancel()
        else:
            # asyncio ends a task that is cancelled before its first step without running it.
            self._cancelled = True

    def _lost(self, _task: asyncio.Task[None]) -> None:
        """Find another task for a cargo whose own was cancelled before its first step."""
        if self._cargo is not None:
            cargo, self._cargo = self._cargo, None
            other = Vessel(self._loop, self._context)
            ref, coroutine, context, finished, suspended_on, begun = cargo
            extra = ref._ensure_extra()
            if extra.vessel is self:
                extra.vessel = other
            other.message = self.message
            other.take_over(ref, coroutine, context, finished, suspended_on, begun=begun)
            other.cancel()

    def abandon(self) -> None:
        """End a spare task that was never needed."""
        self.task.cancel()

    async def _run(self) -> None:
        self._started = True
        cancelled: BaseException | None = None
        try:
            await self._handed
        except asyncio.CancelledError as error:
            # Cancelled by whoever took it for the current task, or as a spare at shutdown.
            cancelled = error
        if self._cancelled:
            cancelled = asyncio.CancelledError()
        if self._cargo is None:
            return
        ref, coroutine, context, finished, suspended_on, begun = self._cargo
        self._cargo = None
        value: Any = None
        failure: BaseException | None = None
        try:
            value = await _carry_on(coroutine, context, suspended_on, begun, cancelled)
        except (KeyboardInterrupt, SystemExit) as error:
            failure = error
            if isinstance(error, KeyboardInterrupt):
                # Ctrl-C belongs to the program; the actor it hit ends as well.
                finished(ref, None, error)
                raise
        except BaseException as error:  # noqa: BLE001  # it becomes the actor's exit reason
            failure = error
        finished(ref, value, failure)


@types.coroutine
def _carry_on(
    coroutine: Coroutine[Any, Any, Any],
    context: Context,
    suspended_on: Any,
    begun: bool,  # noqa: FBT001  # passed on as it was given
    cancelled: BaseException | None,
) -> Generator[Any, Any, Any]:
    """Drive ``coroutine`` inside a task, each step in the actor's own context."""
    send, throw = coroutine.send, coroutine.throw
    try:
        if not begun:
            suspended_on = context.run(send, None)
        if cancelled is not None and not (
            # The task was cancelled between the suspension and now, so the future the coroutine
            # waits for has not been told. As in any task, the coroutine is once that has ended.
            asyncio.isfuture(suspended_on) and suspended_on.cancel()
        ):
            suspended_on = context.run(throw, cancelled)
        while True:
            try:
                sent = yield suspended_on
            except BaseException as error:  # noqa: BLE001  # thrown on into the coroutine
                suspended_on = context.run(throw, error)
            else:
                suspended_on = context.run(send, sent)
    except StopIteration as stop:
        return stop.value
    finally:
        coroutine.close()
