"""One message to many actors, at the cost of calling their handlers.

An actor that is idle has nothing before this message, so it can handle it now: no mailbox is
filled, no turn is waited for. Order is the same, each actor still runs in its own context, handles
one message at a time, and crashes alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from puckstream.actors.scheduler import TURN
from puckstream.actors.state import IDLE, QUEUED, RUNNING, STOPPING

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["multicast"]

# How many handlers run between two looks at the clock.
_STRIDE = 64


def multicast(system: Scheduler, refs: Sequence[ActorRef[Any]], message: Any) -> None:
    """Deliver ``message`` to every one of ``refs`` that lives, in order; on the loop's thread.

    Idle ones handle it before this returns, as long as that takes no longer than a turn of the
    loop may; the others find it in their mailbox.

    Args:
        refs: actors without a thread and without a bound.
    """
    deadline = time.perf_counter() + TURN
    outer = system.running
    system.depth += 1
    try:
        for first in range(0, len(refs), _STRIDE):
            some = refs[first : first + _STRIDE]
            if time.perf_counter() < deadline:
                _hand_out(system, some, message)
            else:
                _put_in(system, some, message)
    finally:
        system.depth -= 1
        system.running = outer


def _hand_out(system: Scheduler, refs: Sequence[ActorRef[Any]], message: Any) -> None:
    for ref in refs:
        actor, extra = ref._actor, ref._extra
        if ref._state != IDLE or actor is None or (extra is not None and extra.watch is not None):
            _put_in(system, (ref,), message)
            continue
        ref._state = RUNNING
        system.running = ref
        context = ref._context
        if context is None:
            context = system.new_context(ref)
        try:
            result = context.run(actor.on_receive, message)
            if (
                result is not None
                and type(result) is CoroutineType
                and context.run(system.driver.drive, ref, result, None, message)
            ):
                continue
        except BaseException as error:  # noqa: BLE001  # it ends that actor only
            system.failed(ref, actor, message, error)
        if ref._state == RUNNING and ref._box is None and ref._extra is None:
            ref._state = IDLE
        else:
            system.settle(ref)


def _put_in(system: Scheduler, refs: Sequence[ActorRef[Any]], message: Any) -> None:
    ready = system.ready
    spare = system.spare_boxes
    for ref in refs:
        if ref._state >= STOPPING:
            continue
        box = ref._box
        if box is None:
            box = ref._box = spare.pop() if spare else deque()
        box.append(message)
        if ref._state == IDLE:
            ref._state = QUEUED
            ready.append(ref)
    if ready and not system.armed:
        system.arm()
