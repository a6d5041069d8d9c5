"""The registry: keys to the actors that own them (Elixir ``Registry``).

An actor owns its entries: they vanish when it ends, and a unique key is free again at that
moment. The table is written on the loop's thread, in one step, and outlives the registry actor,
which watches the owners: its restart loses no entry.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT, Scheduler
from puckstream.actors.service import Service
from puckstream.actors.signals import Down
from puckstream.errors import ActorDead, InvalidOption, NameTaken, NotInActor

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["Entry", "Keys", "Registry", "RegistryActor"]

Keys = Literal["unique", "duplicate"]
"""Whether a key has one owner at a time, or any number."""


class Entry(NamedTuple):
    """Who owns a key, and the value stored with it."""

    ref: ActorRef[Any]
    value: Any


class _Watch(NamedTuple):
    ref: ActorRef[Any]


class _Announce(NamedTuple):
    key: Hashable


class _Table:
    """The entries: by key in order of registration, and by owner."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.by_key: dict[Hashable, dict[ActorRef[Any], Any]] = {}
        self.by_owner: dict[ActorRef[Any], dict[Hashable, None]] = {}
        self.monitors: dict[ActorRef[Any], int] = {}
        self.waiting: dict[Hashable, list[Reply[ActorRef[Any]]]] = {}

    def live(self, key: Hashable) -> Iterator[Entry]:
        # A copy in one step, since threads read while the loop writes. An owner that has ended
        # counts no more, even if the registry has not been told yet.
        for ref, value in self.by_key.get(key, {}).copy().items():
            if ref.is_alive():
                yield Entry(ref, value)

    def claim(self, key: Hashable, ref: ActorRef[Any], value: Any) -> None:
        if self.keys == "unique":
            for entry in self.live(key):
                if entry.ref is not ref or entry.value != value:
                    raise NameTaken(key, entry.ref)
                return
            for dead in tuple(self.by_key.get(key, ())):
                self.remove(key, dead)
        self.by_key.setdefault(key, {})[ref] = value
        self.by_owner.setdefault(ref, {})[key] = None

    def remove(self, key: Hashable, ref: ActorRef[Any]) -> None:
        owners = self.by_key.get(key)
        if owners is not None:
            owners.pop(ref, None)
            if not owners:
                del self.by_key[key]
        owned = self.by_owner.get(ref)
        if owned is not None:
            owned.pop(key, None)
            if not owned:
                del self.by_owner[ref]


class RegistryActor(Actor):
    """Watches the owners of a registry's entries, and removes what the dead have left."""

    def __init__(self, table: _Table, service: Service) -> None:
        super().__init__()
        self._table = table
        self._service = service

    def on_start(self) -> None:
        """Take the table over from a predecessor, if there was one."""
        self._table.monitors.clear()
        for ref in tuple(self._table.by_owner):
            self._watch(ref)
        for key in tuple(self._table.waiting):
            self._announce(key)
        self._service.provided_by(self.actor_ref)

    def on_receive(self, message: Any) -> Any:
        """Watch an owner, announce one, or clear up after one."""
        match message:
            case _Watch(ref):
                self._watch(ref)
                return None
            case _Announce(key):
                self._announce(key)
                return None
            case Down(_, ref, _):
                for key in tuple(self._table.by_owner.get(ref, ())):
                    self._table.remove(key, ref)
                self._table.monitors.pop(ref, None)
                return None
            case _:
                return super().on_receive(message)

    def _announce(self, key: Hashable) -> None:
        for entry in tuple(self._table.live(key))[:1]:
            for waiting in self._table.waiting.pop(key, ()):
                waiting._resolve(entry.ref)

    def _watch(self, ref: ActorRef[Any]) -> None:
        monitors = self._table.monitors
        if ref in self._table.by_owner:
            if ref not in monitors:
                monitors[ref] = self.monitor(ref)
        elif ref in monitors:
            self.demonitor(monitors.pop(ref))


class Registry:
    """Finds actors by key.

    Reading takes a lookup in a table and can be done from anywhere; an actor that has ended is
    never found.

    Args:
        system: the engine of the node it belongs to.
        keys: ``"unique"`` or ``"duplicate"``.

    Raises:
        InvalidOption: if ``keys`` is neither.
    """

    def __init__(self, system: Scheduler, keys: Keys = "unique") -> None:
        if keys not in ("unique", "duplicate"):
            raise InvalidOption("keys", keys, "'unique' or 'duplicate'")
        self._table = _Table(keys)
        self.service = Service(system, "registry", self._refuse_waiting)

    def actor(self) -> tuple[type[RegistryActor], tuple[Any, ...]]:
        """Return the class and arguments of the actor that keeps this registry."""
        return RegistryActor, (self._table, self.service)

    def register(
        self, key: Hashable, ref: ActorRef[Any] | None = None, value: Any = None
    ) -> Reply[None]:
        """Make ``ref``, or the calling actor, an owner of ``key``.

        Registering the same owner and value again changes nothing.

        Raises (when awaited):
            NameTaken: if keys are unique and another live actor owns it, or the same one with
                another value.
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``key`` is not hashable.
        """
        _check_key(key)
        return self.service.system.perform(self.claim, key, self._owner(ref), value)

    def claim(self, key: Hashable, ref: ActorRef[Any], value: Any = None) -> None:
        """Do what `register` does, at once; only on the loop's thread.

        Raises:
            NameTaken: as `register` does.
            ActorDead: as `register` does.
        """
        if not ref.is_alive():
            msg = f"{ref} has stopped and cannot own the key {key!r}"
            raise ActorDead(msg)
        self._table.claim(key, ref, value)
        self.service.tell(_Watch(ref))
        if key in self._table.waiting:
            # By way of the actor, so that whoever claims it has gone on with its work by then.
            self.service.tell(_Announce(key))

    def unregister(self, key: Hashable, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Take ``ref``, or the calling actor, off ``key``; nothing happens if it is not there.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
        """
        owner = self._owner(ref)

        def release() -> None:
            self._table.remove(key, owner)
            self.service.tell(_Watch(owner))

        return self.service.system.perform(release)

    def lookup(self, key: Hashable) -> tuple[Entry, ...]:
        """Return the live owners of ``key`` in order of registration."""
        return tuple(self._table.live(key))

    def whereis(self, key: Hashable) -> ActorRef[Any] | None:
        """Return the first live owner of ``key``, or ``None``."""
        return next((entry.ref for entry in self._table.live(key)), None)

    def wait_registered(self, key: Hashable) -> Reply[ActorRef[Any]]:
        """Return a reply with the owner of ``key``, settled as soon as there is a live one.

        So one waits for the next instance of a child that is being restarted. A waiter that is
        cancelled is forgotten when the key is registered.

        Raises (when awaited):
            NodeNotRunning: if the node shuts down first.
        """
        reply: Reply[ActorRef[Any]] = Reply()

        def wait() -> None:
            ref = self.whereis(key)
            if ref is not None:
                reply._resolve(ref)
            elif self.service.closed:
                reply._reject(self.service.refusal())
            else:
                self._table.waiting.setdefault(key, []).append(reply)

        self.service.system.run_on_loop(wait)
        return reply

    def keys(self, ref: ActorRef[Any]) -> tuple[Hashable, ...]:
        """Return the keys ``ref`` owns; none if it has stopped."""
        return tuple(self._table.by_owner.get(ref, ())) if ref.is_alive() else ()

    def count(self) -> int:
        """Return the number of keys that have a live owner."""
        return sum(1 for key in tuple(self._table.by_key) if self.lookup(key))

    def _refuse_waiting(self) -> None:
        waiting, self._table.waiting = self._table.waiting, {}
        for replies in waiting.values():
            for reply in replies:
                reply._reject(self.service.refusal())

    @staticmethod
    def _owner(ref: ActorRef[Any] | None) -> ActorRef[Any]:
        owner = CURRENT.get() if ref is None else ref
        if owner is None:
            msg = "registering needs a ref=…, unless an actor registers itself"
            raise NotInActor(msg)
        return owner


def _check_key(key: object) -> None:
    try:
        hash(key)
    except TypeError:
        option = "key"
        raise InvalidOption(option, key, "a key is hashable, such as text") from None
