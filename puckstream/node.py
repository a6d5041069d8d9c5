"""`Node`: one runtime, wired together. Read `_root_children` as the supervision tree."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Iterable
from contextvars import Token
from types import TracebackType
from typing import Any, Literal, Self, cast

from puckstream.actors import lifecycle, links
from puckstream.actors._pykka import Stop
from puckstream.actors.actor import NODE, Actor
from puckstream.actors.groups import Groups
from puckstream.actors.inspector import Inspector
from puckstream.actors.loop_thread import LoopThread
from puckstream.actors.pubsub import PubSub
from puckstream.actors.ref import ActorRef
from puckstream.actors.registry import Registry
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.signals import SHUTDOWN, ExitReason
from puckstream.actors.start import check_start_timeout, start
from puckstream.backends.base import Resources
from puckstream.clock import Clock
from puckstream.errors import (
    ActorDead,
    BlockingCall,
    ChildNotFound,
    InvalidOption,
    NodeNotRunning,
    StreamError,
)
from puckstream.streams.desk import Desk
from puckstream.streams.entries import LOG_BYTES
from puckstream.streams.front import StreamFront
from puckstream.streams.limits import Limits
from puckstream.streams.policy import check_span
from puckstream.streams.shelf import Shelf
from puckstream.streams.supervisor import StreamsSupervisor
from puckstream.supervision.child import (
    ChildSpec,
    Flags,
    Strategy,
    as_child_spec,
    check_child_specs,
    child,
)
from puckstream.supervision.handle import SupervisorRef
from puckstream.supervision.supervisor import Supervisor
from puckstream.supervision.survey import survey
from puckstream.supervision.tree import Tree
from puckstream.telemetry import Telemetry

__all__ = ["Node"]

logger = logging.getLogger("puckstream.node")


class Node(StreamFront):
    """A runtime of actors, supervisors and streams on one event loop.

    ``async with Node() as node:`` runs on the caller's loop; ``with Node() as node:`` starts a
    loop in a thread of its own, for scripts, Django, Flask and the REPL. Every method can be
    called from the loop, from actors and from any thread. A method that answers later returns a
    `Reply`: await it on any loop, or call ``get()`` where no loop runs.

    Args:
        children: the application: child specs, actor classes, or anything with
            ``child_spec()``, started in order under the supervisor ``app``.
        name: what logs and the tree call this node.
        strategy: the restart strategy of ``app``.
        intensity: restarts ``app`` allows within ``period``; one more ends it, and the node's
            root starts it anew, by the same rule.
        period: that window, in seconds.
        retention: how long an ended stream stays readable, in seconds.
        max_ended: how many ended streams are kept at most.
        log_bytes: how many bytes the log of one stream may take. Old deltas of text are packed
            then, which loses nothing; what is too much even so is dropped, the oldest first, and
            whoever begins there gets ``skipped`` with the answer as it stands.
        limits: how many streams may run at once, and how many may wait; a number is that of the
            streams. See `Limits`.
        clock: the node's time; the loop's by default.
        loop_factory: makes the loop of ``with Node()``, e.g. ``uvloop.new_event_loop``.

    Raises:
        InvalidOption: if an argument has an impossible value.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec | Callable[..., Any]] = (),
        *,
        name: str = "node",
        strategy: Strategy = "one_for_one",
        intensity: int = 3,
        period: float = 5.0,
        retention: float = 300.0,
        max_ended: int = 1000,
        log_bytes: float = LOG_BYTES,
        limits: Limits | int | None = None,
        clock: Clock | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        if not isinstance(cast("object", name), str) or not name or not name.isprintable():
            raise InvalidOption("name", name, "printable text")
        self.name = name
        if not isinstance(cast("object", children), Iterable):
            raise InvalidOption("children", children, "a list of child specs or actor classes")
        specs = [as_child_spec(item) for item in children]
        check_child_specs(specs)
        Flags(strategy, intensity, period)
        self._app = child(
            Supervisor,
            specs,
            id="app",
            strategy=strategy,
            intensity=intensity,
            period=period,
        )
        self._shelf = Shelf(retention=retention, max_ended=max_ended, log_bytes=log_bytes)
        self._limits = Limits.of(limits)
        self.telemetry = Telemetry()
        """Who is told what the streams do; see `Telemetry.attach`."""
        self._clock = clock
        self._loop_factory = loop_factory
        self._system: Scheduler | None = None
        self._thread: LoopThread | None = None
        self._token: Token[Scheduler | None] | None = None
        self._ending: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "not running" if self._system is None or self._system.closed else "running"
        return f"<Node {self.name!r}: {state}>"

    # -- the tree

    def _root_children(self) -> list[ChildSpec]:
        pubsub, pubsub_args = self.pubsub.actor()
        streams_args = (self._shelf, self._desk.service, self.pubsub)
        return [
            child(*self.registry.actor(), id="registry"),
            child(pubsub, *pubsub_args, id="pubsub"),
            child(*self.groups.actor(), id="groups"),
            child(StreamsSupervisor, *streams_args, id="streams", shutdown=10.0),
            self._app,
        ]

    async def _start(self) -> None:
        if self._system is not None:
            msg = f"{self!r} was started before; make a new Node"
            raise NodeNotRunning(msg)
        system = Scheduler(asyncio.get_running_loop(), self._clock, self)
        self._system = system
        self.registry = system.names = Registry(system=system)
        self.pubsub = PubSub(system)
        self.groups = Groups(system=system)
        self.resources = Resources()
        shared = (self._shelf, self.pubsub, self.resources)
        self._desk = Desk(system, *shared, limits=self._limits, telemetry=self.telemetry)
        try:
            root_args = (self._root_children(), self._give_up)
            self._root = lifecycle.spawn(system, _Root, root_args, {})
            starting = lifecycle.handshake(self._root)
            if isinstance(starting, Reply):
                await starting
        except BaseException:
            await self._end_engine()
            raise
        self._root._on_death(self._root_ended)

    def _give_up(self) -> None:
        logger.critical("%s: its supervisors gave up; the node is down", self.name)
        self._desk.end_rest(_node_down())

    def _root_ended(self, _ref: ActorRef[Any], _reason: ExitReason) -> None:
        """Leave nobody waiting if the root gave up, or was killed."""
        if self._ending is None:
            self._clear_up(_node_down())

    def _clear_up(self, how: StreamError | Literal["shutdown"]) -> None:
        """End what is left of the streams, and tell their subscribers, without a supervisor."""
        self._desk.end_rest(how)
        # The next PubSub actor, as always, delivers what the last one has left undone.
        pubsub, args = self.pubsub.actor()
        lifecycle.spawn(self._running, pubsub, args, {})
        for service in self._running.services:
            service.close()

    # -- life

    async def __aenter__(self) -> Self:
        await self._start()
        self._token = NODE.set(self._running)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        await self._shut_down(10.0, None)  # who has asked for a drain gets it

    def __enter__(self) -> Self:
        self._thread = LoopThread(self.name, self._loop_factory)
        try:
            self._thread.run(self._start())
        except BaseException:
            self._thread.close()
            raise
        self._token = NODE.set(self._running)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        self.close()

    def _leave(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            # A generator-based fixture may leave in another context than it entered.
            with contextlib.suppress(ValueError):
                NODE.reset(token)

    @property
    def _running(self) -> Scheduler:
        if self._system is None:
            msg = f"{self!r}: enter it first, with 'async with node' or 'with node'"
            raise NodeNotRunning(msg)
        return self._system

    async def shutdown(self, *, drain: float = 0.0, timeout: float = 10.0) -> None:
        """Stop the node in order: ``app``, streams, infrastructure, then unsupervised actors.

        From now on no stream is started, but for what running ones start. Streams that run after
        ``drain`` seconds end with ``cancelled``, reason ``shutdown``. Idempotent; concurrent
        callers wait for the same end, and the least ``drain`` counts. On the node's own loop
        only; from a thread use `close`.

        Args:
            drain: how long running streams may go on, in seconds; everything else runs on till
                then too, so that they are followed to their end.
            timeout: how long unsupervised actors get to finish their messages, in seconds;
                children have their own shutdown times.

        Raises:
            NodeNotRunning: if it was never started.
            InvalidOption: if ``drain`` is no number of seconds.
        """
        await self._shut_down(timeout, check_span("drain", drain))

    def close(self, *, drain: float = 0.0) -> None:
        """Stop the node from a thread, in the order of `shutdown`, and wait for it. Idempotent.

        Args:
            drain: see `shutdown`.

        Raises:
            InvalidOption: if ``drain`` is no number of seconds.
            NodeNotRunning: if it does not run in a thread of its own.
            BlockingCall: on that thread, which would wait for itself.
        """
        check_span("drain", drain)
        if self._thread is None:
            msg = f"{self!r} does not run in a thread of its own; use 'await node.shutdown()'"
            raise NodeNotRunning(msg)
        thread = self._thread
        if thread.is_current():
            raise BlockingCall("close()", "'await node.shutdown()'")
        if not thread.closed:
            try:
                thread.run(self._shut_down(10.0, drain))
            finally:
                thread.close()

    async def _shut_down(
        self, timeout: float, drain: float | None
    ) -> None:  # given to actors and streams, not to awaits
        system = self._running
        if self._ending is None or drain is not None:
            drained = self._desk.opening.drain(drain or 0.0)
            if self._ending is None:
                self._ending = asyncio.ensure_future(self._stop_all(system, timeout, drained))
        await asyncio.shield(self._ending)

    async def _stop_all(
        self, system: Scheduler, timeout: float, drained: Reply[None]
    ) -> None:  # as above
        await drained
        links.shut_down(self._root, SHUTDOWN)
        await self._root.wait_stopped()
        self._clear_up("shutdown")
        loose = [ref for ref in system.actors.values() if ref.is_alive()]
        for ref in reversed(loose):
            ref._deliver(Stop())
        if loose:
            await _all_stopped(system, loose, timeout)
        await self._end_engine()

    async def _end_engine(self) -> None:
        try:
            await self.resources.aclose()
        finally:
            await self._running.close()

    # -- actors

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        start_timeout: float | None = None,
        **kwargs: Any,
    ) -> Reply[ActorRef[Any]]:
        """Start an actor that no supervisor watches; `start_child` starts one that is.

        Args:
            start_timeout: how long its ``on_start`` may take, in seconds, before it is killed.

        Returns:
            A reply with its ref, settled when its ``on_start`` has returned.

        Raises (when awaited):
            StartFailed: if its constructor or ``on_start`` raised.
            StartTimeout: if ``start_timeout`` passed.

        Raises (at once):
            NodeNotRunning: if the node is not running.
            InvalidOption: if ``actor_class`` is no puckstream actor class, or ``start_timeout``
                no number of seconds above 0.
        """
        system = self._open()
        check_start_timeout(start_timeout)
        given = cast("object", actor_class)
        if not isinstance(given, type) or not issubclass(given, Actor):
            expected = "a subclass of puckstream.Actor or puckstream.ThreadActor"
            raise InvalidOption("actor_class", actor_class, expected)
        return system.perform(start, system, actor_class, args, kwargs, None, start_timeout)

    def start_child(self, item: ChildSpec | Callable[..., Any]) -> Reply[Any]:
        """Start a child of ``app``, behind its others; see `SupervisorRef.start_child`."""
        app = self.app
        return app.start_child(item)

    @property
    def app(self) -> SupervisorRef:
        """The supervisor of the application's children.

        Raises:
            NodeNotRunning: if the node is not running, or ``app`` is being restarted.
        """
        ref = self.whereis_child("app")
        if ref is None:
            msg = f"{self!r}: the supervisor 'app' is not running"
            raise NodeNotRunning(msg)
        return cast("SupervisorRef", ref)

    def whereis_child(self, child_id: Hashable) -> ActorRef[Any] | None:
        """Return the actor of a child of the root (in constant time), or of the first below it.

        Raises:
            NodeNotRunning, BlockingCall: as `tree`.
        """
        return self._open().perform(self._child, child_id).get()

    def _child(self, child_id: Hashable) -> ActorRef[Any] | None:
        root = cast("Supervisor | None", self._root._actor)
        try:
            return None if root is None else root.child(child_id)
        except ChildNotFound:
            found = survey(self._root, self.name).find(child_id)
            return None if found is None else cast("ActorRef[Any] | None", found.ref)

    def tree(self) -> Tree:
        """Return an immutable snapshot of the supervision tree; ``print(node.tree())`` draws it.

        It is read without a message, so that busy and stuck actors show too. On the loop it is
        immediate; another thread waits for the loop to get to it.

        Raises:
            NodeNotRunning: if the node is not running.
            BlockingCall: on a thread that runs another event loop; use ``asyncio.to_thread``.
        """
        return self._open().perform(survey, self._root, self.name).get()

    def inspect(self, actor: ActorRef[Any] | Hashable) -> Inspector:
        """Return a handle for looking at an actor, given its ref or name; see `Inspector`.

        Raises:
            ActorDead: if no live actor has that name.
        """
        known = isinstance(actor, ActorRef)
        ref = cast("ActorRef[Any] | None", actor) if known else self.whereis(actor)
        if ref is None:
            msg = f"no live actor is registered as {actor!r}"
            raise ActorDead(msg)
        return Inspector(ref)

    def whereis(self, name: Hashable) -> ActorRef[Any] | None:
        """Return the live actor registered as ``name``, or ``None``; immediate, from any thread."""
        return self.registry.whereis(name)

    def wait_registered(self, name: Hashable) -> Reply[ActorRef[Any]]:
        """Return a reply with the actor of that name, settled as soon as there is a live one."""
        return self.registry.wait_registered(name)

    def register(self, name: Hashable, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Give ``ref``, or the calling actor, a name; free again when it ends.

        Raises (when awaited):
            NameTaken: if a live actor has it, be it the same one.
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``name`` is not hashable, or ``ref`` no ref of this node.
        """
        return self.registry.register(name, ref)

    def monitor(self, ref: ActorRef[Any]) -> int:
        """Have the calling actor told by one `Down` when ``ref`` ends; see `ActorRef.monitor`."""
        return ref.monitor()

    def broadcast(self, topic: str, message: Any, *, sender: ActorRef[Any] | None = None) -> None:
        """Send ``message`` to the subscribers of ``topic`` but ``sender``; see `PubSub`."""
        self.pubsub.broadcast(topic, message, sender=sender)

    # -- inside

    def _open(self) -> Scheduler:
        system = self._running
        if system.closed:
            msg = f"{self!r} has shut down"
            raise NodeNotRunning(msg)
        return system

    def _open_desk(self) -> Desk:
        self._open()
        return self._desk


class _Root(Supervisor):
    """The root of the tree, which says so before it gives up."""

    def __init__(self, children: Iterable[ChildSpec], giving_up: Callable[[], None]) -> None:
        super().__init__(children)
        self._giving_up = giving_up

    def finish(self, reason: object = "normal") -> None:
        """End the streams as failed; stopping their supervisor would call it a shutdown."""
        self._giving_up()
        super().finish(reason)


def _node_down() -> StreamError:
    return StreamError("node_down", "the node's supervisors gave up")


async def _all_stopped(
    system: Scheduler, refs: list[ActorRef[Any]], timeout: float
) -> None:  # on the node's clock
    over: Reply[None] = Reply()
    remaining = len(refs)

    def stopped(_ref: ActorRef[Any], _reason: ExitReason) -> None:
        nonlocal remaining
        remaining -= 1
        if not remaining:
            over._resolve(None)

    for ref in refs:
        ref._on_death(stopped)
    timer = system.clock.call_later(timeout, over._resolve, None)
    await over
    timer.cancel()
