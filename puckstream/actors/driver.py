"""Drives handlers that are coroutines: directly, and by a task once they suspend."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from puckstream.actors.state import DEAD, EXITING, RUNNING, WAITING
from puckstream.actors.vessel import Finished, Vessel

if TYPE_CHECKING:
    from puckstream.actors.mailbox import Request
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Driver"]

# The hooks asyncio documents for those who run coroutines themselves ("Extending").
_enter, _leave = asyncio.tasks._enter_task, asyncio.tasks._leave_task


class Driver:
    """Runs the coroutines of one engine's actors. Belongs to the loop's thread."""

    __slots__ = ("_context", "_spare", "_system")

    def __init__(self, system: Scheduler) -> None:
        self._system = system
        self._context = contextvars.copy_context()
        self._spare: Vessel | None = None

    def drive(
        self,
        ref: ActorRef[Any],
        coroutine: Coroutine[Any, Any, Any],
        request: Request | None,
        message: Any,
    ) -> bool:
        """Run a handler up to its end or its first suspension; true if it suspended.

        Called inside the actor's context. The reply to ``request`` is settled at the end.

        Args:
            message: what it handles, that of ``request`` if there is one; for the crash report.

        Raises:
            BaseException: what the handler raises before it suspends.
        """
        system = self._system
        loop = system.loop
        vessel, self._spare = self._spare, None
        if vessel is None or vessel.spoilt:
            if vessel is not None:
                vessel.abandon()
            vessel = Vessel(loop, self._context)
        # Nested calls run inside their caller's task, which is current until now.
        outer = asyncio.current_task(loop) if system.depth else None
        if outer is not None:
            _leave(loop, outer)
        _enter(loop, vessel.task)
        try:
            suspended_on = coroutine.send(None)
        except StopIteration as stop:
            self._keep(vessel)
            if request is not None:
                request.reply._resolve(stop.value)
            return False
        except BaseException:
            self._keep(vessel)
            raise
        finally:
            _leave(loop, vessel.task)
            if outer is not None:
                _enter(loop, outer)
        if ref._state == RUNNING:
            ref._state = WAITING
        extra = ref._ensure_extra()
        extra.vessel = vessel
        vessel.message = message
        context = ref._context
        if context is None:
            # Killed by its own handler, which goes on as a zombie.
            context = system.new_context(ref)
        vessel.take_over(ref, coroutine, context, handler_finished, suspended_on)
        if ref._state == EXITING:
            vessel.cancel()
        elif ref._state == DEAD:
            system.haunt(ref, vessel)
            if request is not None:
                request.reply._reject(ref._dead())
        return True

    def _keep(self, vessel: Vessel) -> None:
        """Keep an unused vessel for the next handler."""
        if self._spare is None and not self._system.closed:
            self._spare = vessel
        else:
            vessel.abandon()

    def hand_over(
        self, ref: ActorRef[Any], coroutine: Coroutine[Any, Any, Any], finished: Finished
    ) -> None:
        """Have a task of its own run a coroutine of ``ref`` that has not begun."""
        system = self._system
        vessel = Vessel(system.loop, self._context)
        ref._ensure_extra().vessel = vessel
        context = ref._context or system.new_context(ref)
        vessel.take_over(ref, coroutine, context, finished, begun=False)

    async def close(self) -> None:
        """End the spare task."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.abandon()
            await asyncio.wait([spare.task])


def handler_finished(ref: ActorRef[Any], value: Any, error: BaseException | None) -> None:
    """Take an actor up again after its suspended handler has ended."""
    system = ref._system
    extra = ref._extra
    message: Any = None
    if extra is not None:
        if extra.vessel is not None:
            message = extra.vessel.message
        extra.vessel = None
    request, ref._request = ref._request, None
    actor = ref._actor
    if ref._state == DEAD or actor is None:
        return
    if ref._state == WAITING:
        ref._state = RUNNING
    if error is not None:
        system.failed(ref, actor, message if request is None else request, error)
    elif request is not None:
        request.reply._resolve(value)
    system.settle(ref)
