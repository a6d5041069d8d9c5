"""A key of a registry as an address: send to whoever owns it at that moment (Elixir ``:via``)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from puckstream.actors.reply import Reply
from puckstream.errors import NameNotFound

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.registry import Registry

__all__ = ["Via"]


class Via:
    """The owner of ``key`` in ``registry``, whoever that is; made by `Registry.via`.

    Each call looks the owner up anew, so that it reaches the next instance of an actor that was
    restarted. It can be given wherever a name can: as ``name=`` of a child, to ``node.whereis``,
    ``node.register`` and ``node.wait_registered``. Two are equal if they name the same key of the
    same registry.
    """

    __slots__ = ("key", "registry", "value")

    def __init__(self, registry: Registry, key: Hashable, value: Any = None) -> None:
        self.registry = registry
        self.key = key
        self.value = value
        """What is stored with the key when an actor is registered by this."""

    def __repr__(self) -> str:
        return f"{self.registry.name}.via({self.key!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Via) and self.registry is other.registry and self.key == other.key

    def __hash__(self) -> int:
        return hash((id(self.registry), self.key))

    def whereis(self) -> ActorRef[Any] | None:
        """Return the live owner, or ``None``; immediate, from any thread.

        Raises:
            NodeNotRunning: if the registry has not been started.
        """
        return self.registry.whereis(self.key)

    def _owner(self) -> ActorRef[Any]:
        ref = self.whereis()
        if ref is None:
            raise NameNotFound(self)
        return ref

    def tell(self, message: Any) -> None:
        """Send ``message`` to the owner and go on; see `ActorRef.tell`.

        Raises:
            NameNotFound: if there is none.
            ActorDead: if it has stopped meanwhile.
            MailboxFull: if its mailbox is bounded, full, and refuses.
            NodeNotRunning: if the registry has not been started, or its node has shut down.
        """
        self._owner().tell(message)

    def call(
        self, message: Any, timeout: float | None = 5.0, *, control: bool = False
    ) -> Reply[Any]:
        """Ask the owner; awaiting the result suspends. See `ActorRef.call`.

        The request is for the owner of this moment; it is not sent again to the next.

        Raises (when awaited):
            NameNotFound: if there is no owner.
            CallTimeout, ActorDead, Exception: as `ActorRef.call`.

        Raises (at once):
            CallingSelf: from inside the owner's own handler.
            NodeNotRunning: if the registry has not been started, or its node has shut down.
        """
        try:
            owner = self._owner()
        except NameNotFound as error:
            refused: Reply[Any] = Reply()
            refused._reject(error)
            return refused
        return owner.call(message, timeout, control=control)

    def ask(self, message: Any, *, timeout: float | None = None) -> Any:
        """Ask the owner, blocking this thread. See `ActorRef.ask`.

        Raises:
            NameNotFound: if there is none.
            NodeNotRunning: if the registry has not been started.
            BlockingCall, CallingSelf, CallTimeout, ActorDead, Exception: as `ActorRef.ask`.
        """
        return self._owner().ask(message, timeout=timeout)
