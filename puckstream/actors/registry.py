"""The registry: keys to the actors that own them (Elixir ``Registry``).

An actor owns its entries: they vanish when it ends, and a unique key is free again at that
moment. The table is written on the loop's thread, in one step, and outlives the registry actor,
which watches the owners: its restart loses no entry, no listener and no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from puckstream.actors.actor import Actor
from puckstream.actors.directory import Directory, matcher
from puckstream.actors.entries import Keys, Registration, check_key
from puckstream.actors.listeners import Listeners
from puckstream.actors.locks import Lock, Locks
from puckstream.actors.reply import Reply
from puckstream.actors.service import Service
from puckstream.actors.signals import Down
from puckstream.actors.via import Via
from puckstream.errors import ActorDead, InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Registry", "RegistryActor"]

T = TypeVar("T")


class _Watch(NamedTuple):
    ref: ActorRef[Any]


class _Announce(NamedTuple):
    key: Hashable


class RegistryActor(Actor):
    """Watches owners and listeners of a registry, and removes what the dead have left."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry
        self._table = registry.table
        self._watched: dict[ActorRef[Any], int] = {}

    def on_start(self) -> None:
        """Take the table over from a predecessor, if there was one."""
        registry = self._registry
        registry.service.provided_by(self.actor_ref)
        for ref in (*self._table.by_owner, *registry.listeners.refs):
            self._watch(ref)
        for key in tuple(registry.waiting):
            self._announce(key)

    def on_receive(self, message: Any) -> Any:
        """Watch an owner, announce one, or clear up after one."""
        match message:
            case _Watch(ref):
                self._watch(ref)
            case _Announce(key):
                self._announce(key)
            case Down(_, ref, _):
                self._watched.pop(ref, None)
                self._table.remove_owner(ref)
                self._registry.listeners.remove(ref)
            case _:
                return super().on_receive(message)
        return None

    def _announce(self, key: Hashable) -> None:
        for entry in tuple(self._table.live(key))[:1]:
            for waiting in self._registry.waiting.pop(key, ()):
                waiting._resolve(entry.ref)

    def _watch(self, ref: ActorRef[Any]) -> None:
        if ref in self._table.by_owner or ref in self._registry.listeners.refs:
            if ref not in self._watched:
                self._watched[ref] = self.monitor(ref)
        elif ref in self._watched:
            self.demonitor(self._watched.pop(ref))


class Registry(Directory):
    """Finds actors by key.

    Reading takes a lookup in a table and can be done from anywhere; an actor that has ended is
    never found. Writing is one step on the node's loop: its `Reply` is settled at once on that
    loop, and otherwise awaited, or waited for with ``get()`` in a thread.

    Every node has one, ``node.registry``, for names. Others are children of a node:
    ``puck.child(*rooms.actor(), id="rooms")``. Where a key can be given, a `Via` is one too: it
    stands for its own key in its own registry. Only what `put_meta` stores has other keys.

    Args:
        keys: ``"unique"`` or ``"duplicate"``; in the latter each registration is an entry of its
            own, also of the same actor.
        name: what errors and logs call it.
        system: the engine of its node; ``None`` for that on which its actor is started.

    Raises:
        InvalidOption: if ``keys`` is neither.
    """

    def __init__(
        self, keys: Keys = "unique", *, name: str = "registry", system: Scheduler | None = None
    ) -> None:
        if keys not in ("unique", "duplicate"):
            raise InvalidOption("keys", keys, "'unique' or 'duplicate'")
        called = "registry" if name == "registry" else f"registry {name!r}"
        super().__init__(keys, Service(system, called, self._close))
        self.name = name
        self.listeners = Listeners(self)
        self.locks = Locks(self.service)
        self.waiting: dict[Hashable, list[Reply[ActorRef[Any]]]] = {}
        self._meta: dict[Hashable, Any] = {}

    def __repr__(self) -> str:
        return f"<Registry {self.name!r}: {self.table.keys} keys>"

    def actor(self) -> tuple[type[RegistryActor], Registry]:
        """Return the class and the argument of the actor that keeps this registry."""
        return RegistryActor, self

    # -- writing

    def register(
        self, key: Hashable, ref: ActorRef[Any] | None = None, value: Any = None
    ) -> Reply[None]:
        """Make ``ref``, or the calling actor, an owner of ``key``.

        Raises (when awaited):
            NameTaken: if keys are unique and a live actor owns it, be it the same one.
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``key`` is not hashable, or ``ref`` no actor of the same node.
            NodeNotRunning: if the registry has not been started, or its node has shut down.
        """
        if type(key) is Via:
            return key.registry.register(key.key, ref, key.value if value is None else value)
        check_key(key)
        return self.service.system.perform(self._enter, key, self.service.own(ref), value)

    def claim(self, key: Hashable, ref: ActorRef[Any], value: Any = None) -> None:
        """Do what `register` does, at once; only on the loop's thread.

        Raises:
            NameTaken, ActorDead, InvalidOption, NodeNotRunning: as `register` does.
        """
        if type(key) is Via:
            key.registry.claim(key.key, ref, key.value)
            return
        self._enter(key, self.service.own(ref), value)

    def _enter(self, key: Hashable, ref: ActorRef[Any], value: Any) -> None:
        if not ref.is_alive():
            msg = f"{ref} has stopped and cannot own the key {key!r}"
            raise ActorDead(msg)
        watched = ref in self.table.by_owner
        self.table.insert(key, ref, value)
        if not watched:
            self.service.tell(_Watch(ref))
        self.listeners.registered(key, ref, value)
        if key in self.waiting:
            # By way of the actor, so that whoever claims it has gone on with its work by then.
            self.service.tell(_Announce(key))

    def unregister(self, key: Hashable, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Take ``ref``, or the calling actor, off ``key``: all its entries there.

        Nothing happens if there are none.

        Raises (at once):
            NotInActor, InvalidOption, NodeNotRunning: as `register` does.
        """
        if type(key) is Via:
            return key.registry.unregister(key.key, ref)
        check_key(key)
        return self.service.system.perform(self._release, key, self.service.own(ref), None)

    def unregister_match(
        self,
        key: Hashable,
        pattern: object,
        ref: ActorRef[Any] | None = None,
        *,
        where: Callable[[Any], object] | None = None,
    ) -> Reply[None]:
        """Take ``ref``, or the calling actor, off ``key`` where the value fits; see `match`.

        ``where`` runs on the loop's thread. If it raises, nothing is changed.

        Raises (when awaited):
            BaseException: what ``where``, or a comparison with ``pattern``, raises.

        Raises (at once):
            NotInActor, InvalidOption, NodeNotRunning: as `register` does.
        """
        if type(key) is Via:
            return key.registry.unregister_match(key.key, pattern, ref, where=where)
        check_key(key)
        owner, wanted = self.service.own(ref), matcher(pattern, where)
        return self.service.system.perform(_safely, self._release, key, owner, wanted)

    def _release(
        self, key: Hashable, ref: ActorRef[Any], unwanted: Callable[[Any], bool] | None
    ) -> None:
        if self.table.remove(key, ref, unwanted):
            if ref not in self.table.by_owner:
                self.service.tell(_Watch(ref))
            self.listeners.unregistered(key, ref)

    def update_value(
        self, key: Hashable, function: Callable[[Any], Any], ref: ActorRef[Any] | None = None
    ) -> Reply[tuple[Any, Any]]:
        """Replace the value of ``ref``, or the calling actor, under ``key`` by ``function(value)``.

        It is one step on the loop's thread, where ``function`` runs and must not block: no update
        is lost between two that come at once. Listeners are not told.

        Returns:
            A reply with the new value and the old one.

        Raises (when awaited):
            NotRegistered: if it does not own the key.
            BaseException: what ``function`` raises; the value stays.

        Raises (at once):
            InvalidOption: if keys are not unique, and as `register` does.
            NotInActor, NodeNotRunning: as `register` does.
        """
        if type(key) is Via:
            return key.registry.update_value(key.key, function, ref)
        check_key(key)
        if self.table.keys != "unique":
            raise InvalidOption("keys", self.table.keys, "update_value needs unique keys")
        owner = self.service.own(ref)
        return self.service.system.perform(_safely, self.table.update, key, owner, function)

    # -- names

    def whereis(self, key: Hashable) -> ActorRef[Any] | None:
        """Return the first live owner of ``key``, or ``None``.

        Raises:
            InvalidOption: if ``key`` is not hashable.
        """
        if type(key) is Via:
            return key.registry.whereis(key.key)
        self.service.require_started()
        return next((entry.ref for entry in self.table.live(key)), None)

    def wait_registered(self, key: Hashable) -> Reply[ActorRef[Any]]:
        """Return a reply with the owner of ``key``, settled as soon as there is a live one.

        So one waits for the next instance of a child that is being restarted. A waiter that is
        cancelled is forgotten when the key is registered.

        Raises (when awaited):
            NodeNotRunning: if the node shuts down first.

        Raises (at once):
            InvalidOption: if ``key`` is not hashable.
        """
        if type(key) is Via:
            return key.registry.wait_registered(key.key)
        check_key(key)
        reply: Reply[ActorRef[Any]] = Reply()

        def wait() -> None:
            ref = self.whereis(key)
            if ref is not None:
                reply._resolve(ref)
            elif self.service.closed:
                reply._reject(self.service.refusal())
            else:
                self.waiting.setdefault(key, []).append(reply)

        self.service.system.run_on_loop(wait)
        return reply

    # -- being told

    def listen(self, ref: ActorRef[Any] | None = None) -> Reply[tuple[Registration, ...]]:
        """Have ``ref``, or the calling actor, told of every registration from now on.

        It gets a `Registered` for each, and an `Unregistered` when an owner takes its last entry
        off a key. The end of an owner is no message: monitor it. Listening ends with the listener,
        and twice is once.

        Returns:
            A reply with what is registered at this moment. The messages say what has changed
            since, without a gap.

        Raises (when awaited):
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor, InvalidOption, NodeNotRunning: as `register` does.
        """
        listener = self.service.own(ref)

        def listen() -> tuple[Registration, ...]:
            if not listener.is_alive():
                msg = f"{listener} has stopped and cannot listen to {self!r}"
                raise ActorDead(msg)
            self.listeners.refs[listener] = None
            self.service.tell(_Watch(listener))
            return self.select()

        return self.service.system.perform(listen)

    def unlisten(self, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Stop telling ``ref``, or the calling actor; none of the messages is left in its mailbox.

        Raises (at once):
            NotInActor, InvalidOption, NodeNotRunning: as `register` does.
        """
        listener = self.service.own(ref)

        def unlisten() -> None:
            self.listeners.remove(listener)
            self.service.tell(_Watch(listener))

        return self.service.system.perform(unlisten)

    # -- addresses, locks, metadata

    def via(self, key: Hashable, value: Any = None) -> Via:
        """Return ``key`` as an address, to send to and to register by; ``value`` goes with it.

        Raises:
            InvalidOption: if keys are not unique, or ``key`` is not hashable.
        """
        if type(key) is Via:
            return key.registry.via(key.key, key.value if value is None else value)
        if self.table.keys != "unique":
            raise InvalidOption("keys", self.table.keys, "an address needs unique keys")
        check_key(key)
        return Via(self, key, value)

    def lock(self, key: Hashable, *, timeout: float | None = None) -> Lock:
        """Return the lock of ``key``, for ``async with``, or ``with`` in a thread; see `Lock`.

        What is locked is the key itself, whether somebody is registered under it or not.

        Args:
            timeout: how long to wait for it, in seconds; ``None`` waits without limit.

        Raises:
            InvalidOption: if ``key`` is not hashable, or ``timeout`` impossible.
        """
        if type(key) is Via:
            return key.registry.lock(key.key, timeout=timeout)
        check_key(key)
        return Lock(self.locks, key, timeout)

    def meta(self, key: Hashable, default: Any = None) -> Any:
        """Return what `put_meta` has stored with the registry itself; immediate, from any thread.

        Raises:
            InvalidOption: if ``key`` is not hashable.
        """
        check_key(key)
        return self._meta.get(key, default)

    def put_meta(self, key: Hashable, value: Any) -> None:
        """Store ``value`` with the registry itself, also before it is started; from any thread.

        Raises:
            InvalidOption: if ``key`` is not hashable.
        """
        check_key(key)
        self._meta[key] = value

    # -- inside

    def _close(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for replies in waiting.values():
            for reply in replies:
                reply._reject(self.service.refusal())
        self.locks.close()


def _safely(function: Callable[..., T], *args: Any) -> T | Reply[T]:
    """Run what calls a user's function on the loop, which not even ``SystemExit`` may end."""
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        failed: Reply[T] = Reply()
        failed._reject(error)
        return failed
