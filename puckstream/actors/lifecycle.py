"""The life of an actor: construction and start handshake, termination, death.

The steps of an ordinary end are always the same: close the mailbox and answer what waits in it,
run the hook, cancel the owned tasks and wait for them, then tell parent, links and monitors. A
killed actor is declared dead at once; what of it still runs is a *zombie*, counted until it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal

from puckstream.actors import links
from puckstream.actors._pykka import ActorDeadError, Stop, strike_off
from puckstream.actors.deferred import abandon
from puckstream.actors.mailbox import Continue, Fetch, Request
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, NORMAL, Crash, ExitReason, Shutdown
from puckstream.actors.state import DEAD, EXITING, IDLE, QUEUED, STARTING, STOPPING
from puckstream.errors import NodeNotRunning, PuckstreamError, StartFailed

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from puckstream.actors.actor import Actor
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = [
    "Hook",
    "answer_stop",
    "clear_mailbox",
    "construct",
    "crash",
    "die",
    "end_quietly",
    "end_tasks",
    "handshake",
    "hook_failed",
    "kill",
    "launch",
    "return_to_sender",
    "spawn",
    "start_failed",
    "terminate",
    "told_to_asker",
]

logger = logging.getLogger("puckstream.actors")

Hook = Literal["stop", "failure"]


# -- start


def spawn(  # noqa: PLR0917  # called 100,000 times in a row: keywords would cost
    system: Scheduler,
    actor_class: type[Actor],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    parent: ActorRef[Any] | None = None,
    name: Hashable | None = None,
    starter: ActorRef[Any] | None = None,
) -> ActorRef[Any]:
    """Construct an actor and run its ``on_start``, on the loop's thread.

    Args:
        parent: the supervisor it is linked to.
        name: claimed in the node's registry before ``on_start`` runs.
        starter: the actor it is linked to before ``on_start`` runs, if its start asks for that.

    Returns:
        The ref. If ``on_start`` suspended, or runs in a thread, `handshake` has the reply that
        settles with the ref or with `StartFailed`.

    Raises:
        StartFailed: if the constructor or ``on_start`` raised, or it ended in ``on_start``;
            nothing of the actor remains, and neither parent nor starter gets an exit signal.
        NodeNotRunning: if the node has shut down.
    """
    if system.closed:
        msg = f"{actor_class.__name__} was not started: the node has shut down"
        raise NodeNotRunning(msg)
    ref = actor_class._ref_class(system, actor_class, system.next_id())
    actor = actor_class.__new__(actor_class)
    try:
        construct(ref, actor, args, kwargs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise StartFailed(actor_class.__name__, Crash(error)) from error
    if ref._state == DEAD:
        # Killed by its own constructor: there is nothing left to name or to link.
        raise StartFailed(actor_class.__name__, ref._reason)
    if name is not None and system.names is not None:
        try:
            system.names.claim(name, ref)
        except PuckstreamError as error:
            _discard(system, ref, Crash(error))
            raise StartFailed(actor_class.__name__, Crash(error)) from error
    if parent is not None:
        links.adopt(parent, ref)
    if starter is not None:
        links.link(starter, ref)
        ref._ensure_extra().starter = starter
    launch(system, ref, actor)
    if starter is not None and ref._state != STARTING:
        ref._ensure_extra().starter = None
    return ref


def handshake(ref: ActorRef[Any]) -> ActorRef[Any] | Reply[ActorRef[Any]]:
    """Return what tells that ``ref``, just spawned, has started: itself, or a reply with it.

    On the loop's thread. A thread's actor may have ended by now, but nobody has noted that yet.
    """
    extra = ref._extra
    return ref if extra is None or extra.started is None else extra.started


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
    except BaseException as error:
        # It may have sent itself messages, linked itself, or started tasks.
        with contextlib.suppress(NodeNotRunning):
            ref._system.run_on_loop(_discard, ref._system, ref, Crash(error))
        raise


def _discard(system: Scheduler, ref: ActorRef[Any], reason: ExitReason) -> None:
    """End an actor that never ran: no hook, and what it has begun is cut off."""
    if ref._state >= STOPPING:
        return
    ref._close(reason)
    clear_mailbox(system, ref)
    if ref._extra is not None:
        for task in tuple((ref._extra.tasks or {}).values()):
            system.haunt(ref, task)
    die(system, ref)


def launch(system: Scheduler, ref: ActorRef[Any], actor: Actor) -> None:
    """Let a constructed actor live: run ``on_start``, then open it for messages.

    Raises:
        StartFailed: if ``on_start`` raised, or ended the actor, without suspending first.
    """
    actor_class = ref.actor_class
    if ref._state != STARTING:
        # Ended by its own constructor, or by others before the loop got to it.
        if ref._state == EXITING:
            end_quietly(ref)
            _discard(system, ref, ref._reason or KILLED)
        raise StartFailed(actor_class.__name__, ref._reason)
    system.actors[ref.id] = ref
    if actor_class._threaded:
        ref._ensure_extra().started = Reply()
        try:
            ref._start_thread(actor)  # type: ignore[attr-defined]  # a ThreadRef
        except RuntimeError as error:
            # The system has no thread left.
            start_failed(system, ref, error)
            raise StartFailed(actor_class.__name__, ref._reason) from error
    elif actor_class._has_on_start:
        try:
            result: Any = system.run_in_context(ref, actor.on_start)
        except BaseException as error:
            start_failed(system, ref, error)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise StartFailed(actor_class.__name__, ref._reason) from error
        if type(result) is CoroutineType:
            ref._ensure_extra().started = Reply()
            system.driver.hand_over(ref, result, _on_start_finished)
        else:
            _open(system, ref)
            if ref._state >= STOPPING:
                raise StartFailed(actor_class.__name__, ref._reason)
    else:
        _open(system, ref)


def _open(system: Scheduler, ref: ActorRef[Any]) -> None:
    if ref._state == EXITING:
        end_quietly(ref)
        terminate(system, ref, ref._reason or KILLED, None)
    elif ref._state == STARTING:
        if ref._box or (ref._extra is not None and ref._extra.control):
            system.enqueue(ref, QUEUED)
        else:
            ref._state = IDLE


def end_quietly(ref: ActorRef[Any]) -> None:
    """Unlink an actor that fails to start from those who are told so by return."""
    # OTP's proc_lib does the same.
    links.disown(ref)
    extra = ref._extra
    if extra is not None and extra.starter is not None:
        links.unlink(extra.starter, ref)


def start_failed(system: Scheduler, ref: ActorRef[Any], error: BaseException) -> None:
    """End an actor whose ``on_start`` raised ``error``, and fail its start handshake."""
    end_quietly(ref)
    exiting = ref._state == EXITING
    cancelled = exiting and isinstance(error, asyncio.CancelledError)
    reason: ExitReason = Crash(error)
    if exiting and ref._reason is not None:
        # The signal came first, and its reason counts.
        reason = ref._reason
    elif isinstance(error, StartFailed) and ref.actor_class.child_type == "supervisor":
        # It has shut down because of a child (OTP: shutdown with failed_to_start_child).
        reason = Shutdown(error)
    failure = StartFailed(ref.actor_class.__name__, reason)
    failure.__cause__ = error
    extra = ref._ensure_extra()
    started, extra.started = extra.started, None
    if extra.listed and not cancelled:
        logger.error("Unhandled exception in %s:", ref, exc_info=error)
    _discard(system, ref, reason)
    if started is not None:
        started._reject(failure)


def _on_start_finished(ref: ActorRef[Any], _value: Any, error: BaseException | None) -> None:
    system = ref._system
    extra = ref._ensure_extra()
    extra.vessel = None
    if ref._state == DEAD:
        return
    if error is not None:
        start_failed(system, ref, error)
        return
    started, extra.started = extra.started, None
    _open(system, ref)
    extra.starter = None
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


def crash(system: Scheduler, ref: ActorRef[Any], error: BaseException, message: Any) -> None:
    """End an actor that raised ``error`` while it handled ``message``; reported once, here."""
    system.crash_reports.report(ref, error, message)
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
    ref._close(reason)
    clear_mailbox(system, ref)
    actor = ref._actor
    if hook is None or actor is None or (hook == "stop" and not ref.actor_class._has_on_stop):
        end_tasks(system, ref)
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
        hook_failed(ref, failure)
        end_tasks(system, ref)
        if isinstance(failure, KeyboardInterrupt):
            raise
        return
    if type(result) is CoroutineType:
        system.driver.hand_over(ref, result, _hook_finished)
    else:
        end_tasks(system, ref)


def _hook_finished(ref: ActorRef[Any], _value: Any, error: BaseException | None) -> None:
    if ref._extra is not None:
        ref._extra.vessel = None
    if ref._state == DEAD:
        return
    if error is not None:
        hook_failed(ref, error)
    end_tasks(ref._system, ref)


def hook_failed(ref: ActorRef[Any], error: BaseException) -> None:
    """Note what ``on_stop`` or ``on_failure`` raised; it becomes the reason of an expected end."""
    ref._system.crash_reports.report(ref, error)
    if ref._reason is None or ref._reason.expected:
        ref._reason = Crash(error)


def clear_mailbox(system: Scheduler, ref: ActorRef[Any]) -> None:
    """Answer the messages that wait, or keep them as dead letters."""
    for message in ref._take_all():
        return_to_sender(system, ref, message)
    extra = ref._extra
    if extra is not None:
        if extra.listed:
            extra.listed = False
            strike_off(ref)
        if extra.event is not None:
            extra.event.set()


def return_to_sender(system: Scheduler, ref: ActorRef[Any], message: Any) -> None:
    """Answer a request that ``ref`` will not handle, or keep a message as a dead letter."""
    if type(message) is Request:
        if type(message.message) is Stop:
            answer_stop(ref, message.reply)
        else:
            msg = f"{ref} stopped before handling the message"
            message.reply._reject(ActorDeadError(msg))
    elif type(message) not in (Stop, Fetch):
        lost = message.message if type(message) is Continue else message
        system.dead_letters.add(ref, lost, "the actor stopped")


def answer_stop(ref: ActorRef[Any], reply: Reply[Any]) -> None:
    """Answer a request to stop as soon as ``ref`` is fully down; from any thread."""
    try:
        ref._system.run_on_loop(ref._on_death, lambda _ref, _reason: reply._resolve(None))
    except NodeNotRunning:
        reply._resolve(None)


def end_tasks(system: Scheduler, ref: ActorRef[Any]) -> None:
    """Cancel what ``ref`` still runs, wait for its end, and declare ``ref`` dead."""
    if ref._state == DEAD:
        return
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
    if ref._request is not None:
        request, ref._request = ref._request, None
        msg = f"{ref} stopped before it replied"
        request.reply._reject(ActorDeadError(msg))
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
    if extra.watch is not None:
        extra.watch.close()
        extra.watch = None
    if extra.owed:
        abandon(ref, extra)
    extra.mourner = None
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
    if ref.actor_class._threaded:
        # What it has sent through the loop comes before the news of its end.
        system.inbound.accept()
        if ref._state == DEAD:
            return
    ref._close(KILLED)
    clear_mailbox(system, ref)
    extra = ref._extra
    if extra is not None:
        if extra.started is not None:
            end_quietly(ref)
        vessel = extra.vessel
        if vessel is not None:
            system.haunt(ref, vessel)
        for task in tuple((extra.tasks or {}).values()):
            system.haunt(ref, task)
    if ref.actor_class._threaded:
        ref._abandon_thread()  # type: ignore[attr-defined]  # a ThreadRef
    die(system, ref)
