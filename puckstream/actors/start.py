"""Starting an actor, and how long that may take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from puckstream.actors import lifecycle
from puckstream.actors.signals import ExitReason, TimedOut
from puckstream.errors import InvalidOption, StartTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from puckstream.actors.actor import Actor
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply
    from puckstream.actors.scheduler import Scheduler

__all__ = ["check_start_timeout", "limit_start", "start"]


def start(  # noqa: PLR0917  # given on as they are
    system: Scheduler,
    actor_class: type[Actor],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    partner: ActorRef[Any] | None = None,
    timeout: float | None = None,
) -> ActorRef[Any] | Reply[ActorRef[Any]]:
    """Start an actor that nobody supervises, on the loop's thread.

    Args:
        partner: linked to it before its ``on_start`` runs.
        timeout: see `limit_start`.

    Returns:
        Its ref, or a reply that settles with it when ``on_start`` has returned.

    Raises (here, or when awaited):
        StartFailed: if its constructor or ``on_start`` raised.
        StartTimeout: if ``timeout`` seconds passed.

    Raises:
        NodeNotRunning: if the node has shut down.
    """
    ref = lifecycle.spawn(system, actor_class, args, kwargs, starter=partner)
    if timeout is not None:
        limit_start(ref, timeout)
    return lifecycle.handshake(ref)


def check_start_timeout(seconds: object) -> None:
    """Refuse what is no time limit.

    Raises:
        InvalidOption: if ``seconds`` is neither None nor a number above 0.
    """
    if seconds is None:
        return
    number = math.nan
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
        number = seconds
    if not 0 < number < math.inf:
        option = "start_timeout"
        raise InvalidOption(option, seconds, "seconds, more than 0, or None for no limit")


def limit_start(ref: ActorRef[Any], seconds: float) -> None:
    """Kill ``ref``, just spawned, unless it has started within ``seconds``; on the loop's thread.

    Its starter gets `StartTimeout` when it is dead for everybody, so that its name is free. No
    exit signal goes to parent or starter. A start that blocks the loop cannot be cut short.
    """
    extra = ref._extra
    started = None if extra is None else extra.started
    if started is None:
        return
    system = ref._system
    timer = system.clock.call_later(seconds, _expire, ref, started, seconds)
    started._when_done(timer.cancel)


def _expire(ref: ActorRef[Any], started: Reply[Any], seconds: float) -> None:
    # What a thread has said by now counts as in time.
    ref._system.inbound.accept()
    extra = ref._extra
    if extra is None or extra.started is not started:
        return
    # Taken first: who dies tells his starter that he was killed.
    lifecycle.end_quietly(ref)
    extra.started = None
    lifecycle.kill(ref._system, ref)
    reason: ExitReason = TimedOut(seconds)
    started._reject(StartTimeout(ref.actor_class.__name__, reason, seconds))
