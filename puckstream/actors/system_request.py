"""What the engine answers about an actor on its behalf (OTP ``sys``).

The actor is asked between two messages, on its own thread, so that its attributes are at rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from puckstream.actors.state import SUSPENDED
from puckstream.actors.watch import Event, Observer, Statistics, watch_of
from puckstream.errors import InvalidOption, StateNotReplaced

if TYPE_CHECKING:
    from puckstream.actors.actor import Actor
    from puckstream.actors.mailbox import Request
    from puckstream.actors.ref import ActorRef

__all__ = ["Status", "serve"]

_OWN_REF: Final = "_actor_ref"


@dataclass(frozen=True, slots=True)
class Status:
    """An actor as it answers for itself (OTP ``get_status``).

    Args:
        ref: the actor.
        suspended: whether it handles nothing but such questions.
        parent: the supervisor it is linked to.
        observed: what is switched on: ``"statistics"``, ``"log"``, names of debug functions.
        attributes: its state, as `Inspector.state` gives it.
    """

    ref: ActorRef[Any]
    suspended: bool
    parent: ActorRef[Any] | None
    observed: tuple[str, ...]
    attributes: Mapping[str, Any]


def serve(ref: ActorRef[Any], actor: Actor, request: Request) -> None:
    """Answer a request whose message is a `SystemRequest`; never raises."""
    asked, args = request.message
    operation = _OPERATIONS.get(asked)
    if operation is None:
        expected = f"one of {', '.join(_OPERATIONS)}"
        request.reply._reject(InvalidOption("operation", asked, expected))
        return
    try:
        answer = operation(ref, actor, *args)
    except Exception as error:  # noqa: BLE001  # it is the asker's, and changed nothing
        request.reply._reject(error)
    else:
        request.reply._resolve(answer)


def _state(_ref: ActorRef[Any], actor: Actor) -> dict[str, Any]:
    attributes = dict(actor.__dict__)
    attributes.pop(_OWN_REF, None)
    return attributes


def _status(ref: ActorRef[Any], actor: Actor) -> Status:
    suspended = ref._state == SUSPENDED
    return Status(ref, suspended, ref._parent, _observed(ref), _state(ref, actor))


def _replace_state(ref: ActorRef[Any], actor: Actor, function: Callable[..., Any]) -> Any:
    try:
        replaced = function(_state(ref, actor))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
        raise StateNotReplaced(ref, problem) from error
    if inspect.iscoroutine(replaced):
        replaced.close()
    if not isinstance(replaced, Mapping) or not all(isinstance(name, str) for name in replaced):
        raise StateNotReplaced(ref, f"the function returned {replaced!r}, no dict of attributes")
    attributes: dict[str, Any] = dict(replaced)
    # In one step, and never without the one attribute that is not its own.
    actor.__dict__ = {**attributes, _OWN_REF: ref}
    return attributes


def _suspend(ref: ActorRef[Any], _actor: Actor) -> None:
    ref._suspend()


def _resume(ref: ActorRef[Any], _actor: Actor) -> None:
    ref._resume()


def _statistics(
    ref: ActorRef[Any],
    _actor: Actor,
    switch: bool | None = None,  # noqa: FBT001  # as in the request
) -> Statistics | None:
    watch = None if ref._extra is None else ref._extra.watch
    before = None if watch is None else watch.statistics
    if switch is not None:
        watch_of(ref).count(on=switch)
        _tidy(ref)
    return before


def _log(ref: ActorRef[Any], _actor: Actor, keep: int | None = None) -> tuple[Event, ...]:
    watch = None if ref._extra is None else ref._extra.watch
    before = () if watch is None else watch.log
    if keep is not None:
        watch_of(ref).keep(keep)
        _tidy(ref)
    return before


def _install(ref: ActorRef[Any], _actor: Actor, name: str, observer: Observer) -> None:
    watch_of(ref).install(name, observer)


def _remove(ref: ActorRef[Any], _actor: Actor, name: str) -> bool:
    watch = None if ref._extra is None else ref._extra.watch
    removed = watch is not None and watch.remove(name)
    _tidy(ref)
    return removed


def _no_debug(ref: ActorRef[Any], _actor: Actor) -> None:
    watch = None if ref._extra is None else ref._extra.watch
    if watch is not None:
        watch.stop_looking()
        _tidy(ref)


def _observed(ref: ActorRef[Any]) -> tuple[str, ...]:
    watch = None if ref._extra is None else ref._extra.watch
    return () if watch is None else watch.observed


def _tidy(ref: ActorRef[Any]) -> None:
    """Have messages that nobody looks at cost nothing again."""
    extra = ref._extra
    if extra is not None and extra.watch is not None and not extra.watch.needed:
        extra.watch = None


_OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "state": _state,
    "status": _status,
    "replace_state": _replace_state,
    "suspend": _suspend,
    "resume": _resume,
    "statistics": _statistics,
    "log": _log,
    "install": _install,
    "remove": _remove,
    "no_debug": _no_debug,
}
