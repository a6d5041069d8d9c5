"""The one file that knows pykka.

pykka is the surface of the actors here; the engine under it is this package's. This file names
the pykka classes the engine extends, gives the two errors pykka's callers expect, and keeps
pykka's process-wide `ActorRegistry` usable at scale: the registry holds its refs in a list and
searches it on every stop, so that stopping 20,000 actors took 54 s (measured, see
``docs/pykka.md``). `PykkaRefs` has the list's few operations in constant time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pykka
from pykka import messages
from pykka._introspection import get_attr_directly

from puckstream.errors import ActorDead, CallTimeout

__all__ = [
    "PROXY_MESSAGES",
    "ActorDeadError",
    "ActorProxy",
    "AskTimeout",
    "PykkaActor",
    "PykkaFuture",
    "PykkaRef",
    "PykkaRefs",
    "Stop",
    "enlist",
    "run_proxy_message",
    "strike_off",
]

if TYPE_CHECKING:
    A = TypeVar("A")

    # pykka declares its hooks as returning None and its attributes as writable. Here a hook may
    # be async, and the attributes are made on first use; a type checker that knew pykka's classes
    # as bases would refuse both, in every user's actor too.
    class PykkaActor:
        """``pykka.Actor``, at run time."""

    class PykkaRef(Generic[A]):
        """``pykka.ActorRef``, at run time."""
else:
    PykkaActor = pykka.Actor
    PykkaRef = pykka.ActorRef

PykkaFuture = pykka.Future
ActorProxy = pykka.ActorProxy
Stop = messages._ActorStop  # pykka's own stop message: ActorRegistry sends it

PROXY_MESSAGES = (messages.ProxyCall, messages.ProxyGetAttr, messages.ProxySetAttr)


class ActorDeadError(ActorDead, pykka.ActorDeadError):
    """The actor has stopped: puckstream's error, and pykka's at the same time."""


class AskTimeout(CallTimeout, pykka.Timeout):
    """No reply in time: puckstream's error, and pykka's at the same time."""


def run_proxy_message(actor: object, message: object) -> Any:
    """Carry out what a pykka proxy asks of ``actor``.

    Returns:
        What the attribute or the method's call gave; a coroutine for an ``async def`` method.

    Raises:
        Exception: whatever the attribute or method raises.
    """
    match message:
        case messages.ProxyCall(attr_path, args, kwargs):
            return get_attr_directly(actor, attr_path)(*args, **kwargs)
        case messages.ProxyGetAttr(attr_path):
            return get_attr_directly(actor, attr_path)
        case messages.ProxySetAttr(attr_path, value):
            parent = get_attr_directly(actor, attr_path[:-1])
            setattr(parent, attr_path[-1], value)
    return None


class PykkaRefs:
    """pykka's list of refs, with membership, append and remove in constant time."""

    def __init__(self, refs: list[Any]) -> None:
        self._refs: dict[Any, None] = dict.fromkeys(refs)

    def append(self, ref: object) -> None:
        """Add ``ref`` at the end."""
        self._refs[ref] = None

    def remove(self, ref: object) -> None:
        """Remove ``ref``.

        Raises:
            ValueError: if it is not there, as a list would.
        """
        try:
            del self._refs[ref]
        except KeyError:
            msg = f"{ref} is not registered"
            raise ValueError(msg) from None

    def __contains__(self, ref: object) -> bool:
        return ref in self._refs

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._refs))

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, index: slice) -> list[Any]:
        return list(self._refs)[index]


def enlist(ref: object) -> None:
    """Register ``ref`` in pykka's `ActorRegistry`, as ``Actor.start`` promises."""
    registry = pykka.ActorRegistry
    with registry._actor_refs_lock:  # pykka offers no other hook
        if isinstance(cast("object", registry._actor_refs), list):
            registry._actor_refs = cast("Any", PykkaRefs(registry._actor_refs))
    registry.register(cast("Any", ref))


def strike_off(ref: object) -> None:
    """Take ``ref`` off pykka's `ActorRegistry`; does nothing if it is not there."""
    pykka.ActorRegistry.unregister(cast("Any", ref))
