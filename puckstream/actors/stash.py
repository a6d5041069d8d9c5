"""Messages an actor puts aside until it can handle them, in the order in which it got them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from puckstream.actors import lifecycle
from puckstream.actors.deferred import put_aside
from puckstream.errors import StashFull

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["put_back", "stash"]


def stash(ref: ActorRef[Any], message: Any) -> None:
    """Put ``message`` aside, and the request with it if it is the one being handled.

    Raises:
        StashFull: if the actor's ``stash_limit`` is reached.
    """
    extra = ref._ensure_extra()
    limit = ref.actor_class.stash_limit
    if limit is not None and extra.stash is not None and len(extra.stash) >= limit:
        raise StashFull(ref, limit, message)
    request = ref._request
    if request is not None and request.message is message:
        message = put_aside(request)
    if not ref._put_in_stash(message):
        lifecycle.return_to_sender(ref._system, ref, message)


def put_back(ref: ActorRef[Any]) -> int:
    """Put all that was put aside ahead of what waits; say how many there were."""
    messages = ref._empty_stash()
    ref._deliver_first(*messages)
    return len(messages)
