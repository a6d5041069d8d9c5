"""Listeners of a registry: actors that are told who registers and who unregisters.

As in Elixir, an owner's end is no message: who wants to know of it monitors the owner.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.registry import Registry

__all__ = ["Listeners", "Registered", "Unregistered"]


class Registered(NamedTuple):
    """``ref`` has registered under ``key``; sent to the listeners of ``registry``."""

    registry: Registry
    key: Hashable
    ref: ActorRef[Any]
    value: Any


class Unregistered(NamedTuple):
    """``ref`` owns ``key`` no more, by its own doing; not sent when an owner ends."""

    registry: Registry
    key: Hashable
    ref: ActorRef[Any]


class Listeners:
    """Who listens to ``registry``. Belongs to the loop's thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.refs: dict[ActorRef[Any], None] = {}

    def registered(self, key: Hashable, ref: ActorRef[Any], value: Any) -> None:
        """Tell of a registration."""
        for listener in self.refs:
            listener._deliver(Registered(self._registry, key, ref, value))

    def unregistered(self, key: Hashable, ref: ActorRef[Any]) -> None:
        """Tell that ``ref`` has taken itself off ``key``."""
        for listener in self.refs:
            listener._deliver(Unregistered(self._registry, key, ref))

    def remove(self, listener: ActorRef[Any]) -> None:
        """Forget ``listener``, and take back what it has not got to."""
        if listener in self.refs:
            del self.refs[listener]
            listener._forget(self._is_own)

    def _is_own(self, message: Any) -> bool:
        return type(message) in _NEWS and message.registry is self._registry


_NEWS = frozenset({Registered, Unregistered})
