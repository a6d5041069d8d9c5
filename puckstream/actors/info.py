"""What can be seen of an actor from outside, at one moment (OTP ``process_info``)."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from puckstream.actors.crash_report import path_of
from puckstream.actors.state import DEAD, NAMES, RUNNING

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["Info", "info_of"]

_CALLERS = frozenset(
    f"puckstream.actors.{module}"
    for module in ("driver", "lifecycle", "scheduler", "thread_actor", "vessel")
)
"""What calls the code of actors; the rest of the engine is called by it, and may call back."""

_DEPTH = 50
"""The most calls that are shown of where an actor's code stands."""


@dataclass(frozen=True, slots=True)
class Info:
    """An actor as others see it; a snapshot, in which only the refs are alive.

    Args:
        ref: the actor.
        id: its number on its node.
        actor_class: its class.
        names: the names it has in the node's registry.
        path: the ids of the supervisors above it, from ``node`` on, and its own; empty if nobody
            supervises it.
        parent: the supervisor it is linked to.
        state: as `ActorRef.state`: ``idle``, ``waiting``, ``suspended`` and the like.
        mailbox: messages that wait.
        stashed: messages it has put aside.
        owed: requests that somebody has yet to answer; see `Actor.reply_to`.
        links: the actors it is linked to, its parent apart.
        monitors: the actors it monitors, one for each monitor.
        monitored_by: the actors that monitor it, likewise.
        trap_exit: whether it traps exits.
        tasks: the names of the tasks it owns.
        timers: how many `Actor.send_after` have yet to fire.
        stack: where its code stands, each call as ``file:line function``, the innermost last;
            empty if none runs.
        busy_for: seconds since that handler or hook began; None if none runs, or not known.
        zombie: whether it was killed, and its code still runs.
    """

    ref: ActorRef[Any]
    id: int
    actor_class: type[Any]
    names: tuple[Hashable, ...]
    path: str
    parent: ActorRef[Any] | None
    state: str
    mailbox: int
    stashed: int
    owed: int
    links: tuple[ActorRef[Any], ...]
    monitors: tuple[ActorRef[Any], ...]
    monitored_by: tuple[ActorRef[Any], ...]
    trap_exit: bool
    tasks: tuple[str, ...]
    timers: int
    stack: tuple[str, ...]
    busy_for: float | None
    zombie: bool


def info_of(ref: ActorRef[Any]) -> Info | None:
    """Return what there is to see of ``ref``; from any thread, None if it is dead and gone."""
    system, extra, actor, parent = ref._system, ref._extra, ref._actor, ref._parent
    state = ref._state
    zombie = state == DEAD and ref in system.zombies.copy().values()
    if state == DEAD and not zombie:
        return None
    names = () if system.names is None else system.names.keys(ref)
    stack, busy_for = _handler(ref)
    # Each of these may be taken away by the loop's thread at any moment, and is copied in one step.
    links = None if extra is None else extra.links
    monitors = None if extra is None else extra.watching
    monitored_by = None if extra is None else extra.monitors
    stash = None if extra is None else extra.stash
    owed = None if extra is None else extra.owed
    tasks = None if extra is None else extra.tasks
    timers = None if extra is None else extra.timers
    return Info(
        ref=ref,
        id=ref.id,
        actor_class=ref.actor_class,
        names=names,
        path="" if parent is None else _path(ref, parent),
        parent=parent,
        state=NAMES[state],
        mailbox=ref.mailbox_length,
        stashed=len(stash or ()),
        owed=len(owed or ()),
        links=tuple(links or ()),
        monitors=() if monitors is None else tuple(monitors.values()),
        monitored_by=() if monitored_by is None else tuple(monitored_by.values()),
        trap_exit=actor is not None and actor.trap_exit,
        tasks=tuple(tasks or ()),
        timers=len(timers or ()),
        stack=stack,
        busy_for=busy_for,
        zombie=zombie,
    )


def _path(ref: ActorRef[Any], parent: ActorRef[Any]) -> str:
    describe = getattr(parent._actor, "describe_child", None)
    id = f"{ref.actor_class.__name__}#{ref.id}" if describe is None else describe(ref)[0]
    return f"{path_of(parent)}/{id}"


def _handler(ref: ActorRef[Any]) -> tuple[tuple[str, ...], float | None]:
    """Return where the code of ``ref`` stands, and for how many seconds it has been at it."""
    system = ref._system
    vessel = None if ref._extra is None else ref._extra.vessel
    if vessel is not None and vessel.coroutine is not None:
        coroutine = vessel.coroutine
        running = getattr(coroutine, "cr_running", False)
        stack = _standing(system.thread_id) if running else _awaiting(coroutine)
        return stack, system.clock.now() - vessel.since
    thread, since = ref._occupied()
    if thread is not None:
        return _standing(thread), None if since is None else system.clock.now() - since
    if ref._state == RUNNING and system.running is ref:
        # A plain handler holds up the turn it is called in, and that has begun with it, or just
        # before; outside of turns nothing notes when.
        since_turn = None if system.depth else time.perf_counter() - system.turn_began
        return _standing(system.thread_id), since_turn
    return (), None


def _awaiting(coroutine: Any) -> tuple[str, ...]:
    """Return where a suspended coroutine stands, and all it awaits."""
    stack: list[str] = []
    while coroutine is not None and len(stack) < _DEPTH:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        if not _is_engine(frame):
            stack.append(_named(frame.f_code, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return tuple(stack)


def _standing(thread: int) -> tuple[str, ...]:
    """Return the calls a thread is in, from the one the engine has made inwards."""
    stack: list[str] = []
    frame = sys._current_frames().get(thread)
    while frame is not None and len(stack) < _DEPTH:
        if not _is_engine(frame):
            stack.append(_named(frame.f_code, frame.f_lineno))
        elif stack and frame.f_globals["__name__"] in _CALLERS:
            break
        frame = frame.f_back
    return tuple(reversed(stack))


def _is_engine(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("puckstream.actors.")


def _named(code: CodeType, line: int) -> str:
    return f"{code.co_filename}:{line} {code.co_qualname}"
