"""The life of an actor: construction and start handshake, termination, death.

The steps of an ordinary end are always the same: close the mailbox and answer what waits in it,
run the hook, cancel the owned tasks and wait for them, then tell parent, links and monitors. A
killed actor is declared dead at once; what of it still runs is a *zombie*, counted until it ends.
"""

from __future__ import annotations

import asyncio
import logging
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal

from puckstream.actors import links
from puckstream.actors._pykka import ActorDeadError, Stop, strike_off
from puckstream.actors.mailbox import Request
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, NORMAL, Crash, ExitReason, Shutdown
from puckstream.actors.state import DEAD, EXITING, IDLE, QUEUED, STARTING, STOPPING
from puckstream.errors import PuckstreamError, StartFailed

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from puckstream.actors.actor import Actor
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = [
    "Hook",
    "construct",
    "crash",
    "die",
    "kill",
    "launch",
    "return_to_sender",
    "spawn",
    "terminate",
    "told_to_asker",
]

logger = logging.getLogger("puckstream.actors")

Hook = Literal["stop", "failure"]


# -- start


def spawn(
    system: Scheduler,
    actor_class: type[Actor],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    parent: ActorRef[Any] | None = None,
    name: Hashable | None = None,
) -> ActorRef[Any]:
    """Construct an actor and run its ``on_start``, on the loop's thread.

    Args:
        parent: the supervisor it is linked to.
        name: claimed in the node's registry before ``on_start`` runs.

    Returns:
        The ref. If ``on_start`` suspended, its state is *starting* and ``_extra.started`` is the
        reply that settles with the ref or with `StartFailed`.

    Raises:
        StartFailed: if the constructor or ``on_start`` raised; nothing of the actor remains.
    """
    ref = actor_class._ref_class(system, actor_class, system.next_id())
    actor = actor_class.__new__(actor_class)
    try:
        construct(ref, actor, args, kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise StartFailed(actor_class.__name__, Crash(error)) from error
    if name is not None and system.names is not None:
        try:
            system.names.claim(name, ref)
        except PuckstreamError as error:
            ref._state = DEAD
            ref._actor = None
            raise StartFailed(actor_class.__name__, Crash(error)) from error
    if parent is not None:
        links.adopt(parent, ref)
    launch(system, ref, actor)
    return ref


def construct(
    ref: ActorRef[Any], actor: Actor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Run the constructor with ref and actor already joined, and messages held back.

    Raises:
        BaseException: whatever the constructor raises; the ref is dead then.
    """
    actor._actor_ref = ref
    ref._actor = actor
    ref._state = STARTING
    try:
        actor.__init__(*args, **kwargs)  # type: ignore[misc]  # the ref must be there before it
    except BaseException:
        ref._state = DEAD
        ref._actor = None
        raise


def launch(system: Scheduler, ref: ActorRef[Any], actor: Actor) -> None:
    """Let a constructed actor live: run ``on_start``, then open it for messages.

    Raises:
        StartFailed: if ``on_start`` raised without suspending first.
    """
    system.actors[ref.id] = ref
    actor_class = ref.actor_class
    if actor_class._threaded:
        ref._ensure_extra().started = Reply()
        ref._start_thread(actor)  # type: ignore[attr-defined]  # a ThreadRef
    elif actor_class._has_on_start:
        try:
            result: Any = system.run_in_context(ref, actor.on_start)
        except BaseException as error:
            _start_failed(system, ref, error)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise StartFailed(actor_class.__name__, ref._reason) from error
        if type(result) is CoroutineType:
            ref._ensure_extra().started = Reply()
            system.driver.hand_over(ref, result, _on_start_finished)
        else:
            _open(system, ref)
    else:
        _open(system, ref)


def _open(system: Scheduler, ref: ActorRef[Any]) -> None:
    if ref._state == EXITING:
        terminate(system, ref, ref._reason or KILLED, None)
    elif ref._state == STARTING:
        if ref._box or (ref._extra is not None and ref._extra.control):
            system.enqueue(ref, QUEUED)
        else:
            ref._state = IDLE


def _start_failed(system: Scheduler, ref: ActorRef[Any], error: BaseException) -> None:
    # The starter is told by return, so the link must stay silent (OTP proc_lib does the same).
    links.disown(ref)
    exiting = ref._state == EXITING and isinstance(error, asyncio.CancelledError)
    reason: ExitReason = Crash(error)
    if exiting and ref._reason is not None:
        reason = ref._reason
    elif isinstance(error, StartFailed) and ref.actor_class.child_type == "supervisor":
        # It has shut down because of a child (OTP: shutdown with failed_to_start_child).
        reason = Shutdown(error)
    failure = StartFailed(ref.actor_class.__name__, reason)
    failure.__cause__ = error
    extra = ref._ensure_extra()
    started, extra.started = extra.started, None
    if extra.listed and not exiting:
        logger.error("Unhandled exception in %s:", ref, exc_info=error)
    terminate(system, ref, reason, None)
    if started is not None:
        started._reject(failure)


def _on_start_finished(ref: ActorRef[Any], _value: Any, error: BaseException | None) -> None:
    system = ref._system
    extra = ref._ensure_extra()
    extra.vessel = None
    if ref._state == DEAD:
        return
    if error is not None:
        _start_failed(system, ref, error)
        return
    started, extra.started = extra.started, None
    _open(system, ref)
    if started is not None:
        if ref._state < EXITING:
            started._resolve(ref)
        else:
            started._reject(StartFailed(ref.actor_class.__name__, ref._reason))


# -- end


def told_to_asker(ref: ActorRef[Any], error: BaseException) -> BaseException:
    """Return what an asker gets when a handler raised ``error``.

    What is not an ``Exception`` means something to whoever it is raised in: a cancellation would
    pass for the asker's own, and ``SystemExit`` would end its program.
    """
    if isinstance(error, Exception):
        return error
    msg = f"{ref} ended before it replied: {type(error).__name__}"
    dead = ActorDeadError(msg)
    dead.__cause__ = error
    return dead


def crash(system: Scheduler, ref: ActorRef[Any], error: BaseException) -> None:
    """End an actor whose hook or handler raised ``error``; logged once, here."""
    logger.error("Unhandled exception in %s:", ref, exc_info=error)
    # pykka runs on_failure for exceptions, and on_stop for what is not an Exception.
    hook: Hook = "failure" if isinstance(error, Exception) else "stop"
    terminate(system, ref, Crash(error), hook, error)


def terminate(
    system: Scheduler,
    ref: ActorRef[Any],
    reason: ExitReason,
    hook: Hook | None,
    error: BaseException | None = None,
) -> None:
    """End an actor in order: mailbox, hook, owned tasks, and then its death.

    Args:
        hook: which of the actor's hooks to run; ``None`` for an untrapped signal, which runs
            neither (OTP: ``terminate`` is not called then).
    """
    ref._state = STOPPING
    ref._reason = reason
    _close(system, ref)
    actor = ref._actor
    if hook is None or actor is None or (hook == "stop" and not ref.actor_class._has_on_stop):
        _end_tasks(system, ref)
        return
    try:
        if hook == "stop":
            result: Any = system.run_in_context(ref, actor.on_stop)
        else:
            assert error is not None
            result = system.run_in_context(
                ref, actor.on_failure, type(error), error, error.__traceback__
            )
    except BaseException as failure:
        _hook_failed(ref, failure)
        _end_tasks(system, ref)
        if isinstance(failure, KeyboardInterrupt):
            raise
        return
    if type(result) is CoroutineType:
        system.driver.hand_over(ref, result, _hook_finished)
    else:
        _end_tasks(system, ref)


def _hook_finished(ref: ActorRef[Any], _value: Any, error: BaseException | None) -> None:
    if ref._extra is not None:
        ref._extra.vessel = None
    if ref._state == DEAD:
        return
    if error is not None:
        _hook_failed(ref, error)
    _end_tasks(ref._system, ref)


def _hook_failed(ref: ActorRef[Any], error: BaseException) -> None:
    logger.error("Unhandled exception in %s:", ref, exc_info=error)
    if ref._reason is None or ref._reason.expected:
        ref._reason = Crash(error)


def _close(system: Scheduler, ref: ActorRef[Any]) -> None:
    """Refuse further messages, and answer or keep as dead letters those that wait."""
    box, ref._box = ref._box, None
    extra = ref._extra
    if box:
        for message in box:
            return_to_sender(system, ref, message)
        box.clear()
    if extra is not None:
        control, extra.control = extra.control, None
        for message in control or ():
            return_to_sender(system, ref, message)
        if extra.listed:
            extra.listed = False
            strike_off(ref)
        if extra.event is not None:
            extra.event.set()


def return_to_sender(system: Scheduler, ref: ActorRef[Any], message: Any) -> None:
    """Answer a request that ``ref`` will not handle, or keep a message as a dead letter."""
    if type(message) is Request:
        if type(message.message) is Stop:
            message.reply._resolve(None)
        else:
            msg = f"{ref} stopped before handling the message"
            message.reply._reject(ActorDeadError(msg))
    elif type(message) is not Stop:
        system.dead_letters.add(ref, message, "the actor stopped")


def _end_tasks(system: Scheduler, ref: ActorRef[Any]) -> None:
    extra = ref._extra
    tasks = None if extra is None else extra.tasks
    if not tasks:
        die(system, ref)
        return
    remaining = set(tasks.values())

    def ended(task: asyncio.Task[Any]) -> None:
        remaining.discard(task)
        if not remaining and ref._state == STOPPING:
            die(system, ref)

    for task in tuple(remaining):
        task.cancel()
        task.add_done_callback(ended)


def die(system: Scheduler, ref: ActorRef[Any]) -> None:
    """Declare an actor dead, and tell everybody who watches."""
    reason = ref._reason or NORMAL
    ref._reason = reason
    ref._state = DEAD
    system.actors.pop(ref.id, None)
    ref._actor = None
    ref._context = None
    links.notify(system, ref, reason)
    extra = ref._extra
    if extra is None:
        return
    if extra.timers:
        for timer in extra.timers.values():
            timer.cancel()
        extra.timers = None
    started, extra.started = extra.started, None
    if started is not None:
        started._reject(StartFailed(ref.actor_class.__name__, reason))
    request, extra.request = extra.request, None
    if request is not None:
        msg = f"{ref} stopped before it replied"
        request.reply._reject(ActorDeadError(msg))
    callbacks, extra.on_death = extra.on_death, None
    for callback in callbacks or ():
        try:
            callback(ref, reason)
        except Exception:
            logger.exception("a callback on the death of %s failed", ref)


def kill(system: Scheduler, ref: ActorRef[Any]) -> None:
    """Declare an actor dead at once, whatever it is doing (OTP ``exit(Pid, kill)``)."""
    if ref._state == DEAD:
        return
    ref._reason = KILLED
    _close(system, ref)
    extra = ref._extra
    if extra is not None:
        vessel = extra.vessel
        if vessel is not None:
            system.haunt(ref, vessel)
        for task in tuple((extra.tasks or {}).values()):
            system.haunt(ref, task)
    if ref.actor_class._threaded:
        ref._abandon_thread()  # type: ignore[attr-defined]  # a ThreadRef
    die(system, ref)
