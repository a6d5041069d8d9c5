"""Which streams end with whom: the owners of streams, and what they own.

An owner is an actor; often it is the actor of another stream, whose function started this one.
When the owner ends, or the stream that it runs, what it owns is ended too, in a turn of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from puckstream.streams.stream import StreamActor

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.streams.log import StreamRecord

__all__ = ["Family"]


class Family:
    """The streams of one node that end with somebody. Belongs to the loop's thread.

    Args:
        end: called as ``end(record, owner)``, from the owner's last handler: it must not wait.
    """

    def __init__(self, end: Callable[[StreamRecord, ActorRef[Any]], object]) -> None:
        self._end = end
        # By generation, in the order of their start; an owner without any stays until its end.
        self._owned: dict[ActorRef[Any], dict[int, StreamRecord]] = {}

    def adopt(self, owner: ActorRef[Any], record: StreamRecord) -> None:
        """Have ``record`` end with ``owner``; at once if that has ended."""
        owned = self._owned.get(owner)
        if owned is None:
            owned = self._owned[owner] = {}
            actor = owner._actor
            owned[record.generation] = record
            if isinstance(actor, StreamActor):
                # The stream may be over long before its actor, which waits for its worker.
                actor.record.log.on_end(lambda _event: self._orphan(owner))
            owner._on_death(self._owner_died)
        else:
            owned[record.generation] = record
            if has_ended(owner):
                self._orphan(owner)
        record.log.on_end(lambda _event: owned.pop(record.generation, None))

    def owned_by(self, owner: ActorRef[Any]) -> tuple[StreamRecord, ...]:
        """Return the running streams that end with ``owner``."""
        return tuple(self._owned.get(owner, {}).values())

    def _owner_died(self, owner: ActorRef[Any], _reason: object) -> None:
        self._orphan(owner)
        self._owned.pop(owner, None)

    def _orphan(self, owner: ActorRef[Any]) -> None:
        for record in self.owned_by(owner):
            self._end(record, owner)


def has_ended(owner: ActorRef[Any]) -> bool:
    """Whether ``owner`` is dead, or the stream it runs is over."""
    actor = owner._actor
    if isinstance(actor, StreamActor):
        return actor.record.log.terminal is not None
    return not owner.is_alive()
