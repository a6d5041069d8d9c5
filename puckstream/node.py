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
from puckstream.actors.loop_thread import LoopThread
from puckstream.actors.pubsub import Position, PubSub
from puckstream.actors.ref import ActorRef
from puckstream.actors.registry import Registry
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.service import Service
from puckstream.actors.signals import SHUTDOWN, ExitReason
from puckstream.backends.base import Resources
from puckstream.clock import Clock
from puckstream.errors import BlockingCall, InvalidOption, NodeNotRunning, StreamError
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt
from puckstream.streams.desk import Desk, IfRunning
from puckstream.streams.handle import Stream
from puckstream.streams.log import Snapshot
from puckstream.streams.policy import Timeout
from puckstream.streams.shelf import Shelf, generate_id, topic
from puckstream.streams.stream import CancelOutcome
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

__all__ = ["Node"]

logger = logging.getLogger("puckstream.node")


class Node:
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
        self._shelf = Shelf(retention=retention, max_ended=max_ended)
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
        registry, registry_args = self.registry.actor()
        pubsub, pubsub_args = self.pubsub.actor()
        streams_args = (self._shelf, self._desk.service, self.pubsub)
        return [
            child(registry, *registry_args, id="registry"),
            child(pubsub, *pubsub_args, id="pubsub"),
            child(StreamsSupervisor, *streams_args, id="streams", shutdown=10.0),
            self._app,
        ]

    async def _start(self) -> None:
        if self._system is not None:
            msg = f"{self!r} was started before; make a new Node"
            raise NodeNotRunning(msg)
        system = Scheduler(asyncio.get_running_loop(), self._clock, self)
        self._system = system
        self.registry = system.names = Registry(system)
        self.pubsub = PubSub(system)
        self.resources = Resources()
        self._desk = Desk(system, self._shelf, self.pubsub, self.resources)
        self._services: tuple[Service, ...] = (
            self.registry.service,
            self.pubsub.service,
            self._desk.service,
        )
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
        for service in self._services:
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
        await self._shut_down(10.0)

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

    async def shutdown(self, *, timeout: float = 10.0) -> None:
        """Stop the node in order: ``app``, streams, infrastructure, then unsupervised actors.

        Running streams end with ``cancelled``, reason ``shutdown``. Idempotent; concurrent
        callers wait for the same end. On the node's own loop only; from a thread use `close`.

        Args:
            timeout: how long unsupervised actors get to finish their messages, in seconds;
                children have their own shutdown times.

        Raises:
            NodeNotRunning: if it was never started.
        """
        await self._shut_down(timeout)

    def close(self) -> None:
        """Stop the node from a thread, in the order of `shutdown`, and wait for it. Idempotent.

        Raises:
            NodeNotRunning: if it does not run in a thread of its own.
            BlockingCall: on that thread, which would wait for itself.
        """
        if self._thread is None:
            msg = f"{self!r} does not run in a thread of its own; use 'await node.shutdown()'"
            raise NodeNotRunning(msg)
        thread = self._thread
        if thread.is_current():
            raise BlockingCall("close()", "'await node.shutdown()'")
        if not thread.closed:
            try:
                thread.run(self._shut_down(10.0))
            finally:
                thread.close()

    async def _shut_down(self, timeout: float) -> None:  # given to actors, not to awaits
        system = self._running
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._stop_all(system, timeout))
        await asyncio.shield(self._ending)

    async def _stop_all(self, system: Scheduler, timeout: float) -> None:  # as above
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

    def spawn(self, actor_class: type[Actor], *args: Any, **kwargs: Any) -> Reply[ActorRef[Any]]:
        """Start an actor that no supervisor watches; `start_child` starts one that is.

        Returns:
            A reply with its ref, settled when its ``on_start`` has returned.

        Raises (when awaited):
            StartFailed: if its constructor or ``on_start`` raised.

        Raises (at once):
            NodeNotRunning: if the node is not running.
            InvalidOption: if ``actor_class`` is no puckstream actor class.
        """
        system = self._open()
        given = cast("object", actor_class)
        if not isinstance(given, type) or not issubclass(given, Actor):
            expected = "a subclass of puckstream.Actor or puckstream.ThreadActor"
            raise InvalidOption("actor_class", actor_class, expected)

        def start() -> ActorRef[Any] | Reply[ActorRef[Any]]:
            return lifecycle.handshake(lifecycle.spawn(system, actor_class, args, kwargs))

        return system.perform(start)

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
        """Return the actor of the root's child ``registry``, ``pubsub``, ``streams`` or ``app``."""
        found = self.tree().find(child_id)
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

    def whereis(self, name: Hashable) -> ActorRef[Any] | None:
        """Return the live actor registered as ``name``, or ``None``; immediate, from any thread."""
        return self.registry.whereis(name)

    def wait_registered(self, name: Hashable) -> Reply[ActorRef[Any]]:
        """Return a reply with the actor of that name, settled as soon as there is a live one."""
        return self.registry.wait_registered(name)

    def register(self, name: Hashable, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Give ``ref``, or the calling actor, a name; free again when it ends.

        Raises (when awaited):
            NameTaken: if another live actor has it.
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``name`` is not hashable, or ``ref`` no ref.
        """
        if ref is not None and not isinstance(cast("object", ref), ActorRef):
            raise InvalidOption("ref", ref, "an actor's ref")
        return self.registry.register(name, ref)

    def monitor(self, ref: ActorRef[Any]) -> int:
        """Have the calling actor told by one `Down` when ``ref`` ends; see `ActorRef.monitor`."""
        return ref.monitor()

    def broadcast(self, topic: str, message: Any) -> None:
        """Send ``message`` to the actors subscribed to ``topic`` with ``node.pubsub.subscribe``."""
        self.pubsub.broadcast(topic, message)

    # -- streams

    def start_stream(
        self,
        source: Client | Callable[..., Any],
        prompt: Prompt | None = None,
        context: Context | None = None,
        *,
        stream_id: str | None = None,
        timeout: Timeout | float | None = None,
        subscribe: bool = True,
        if_running: IfRunning = "error",
        **backend_options: Any,
    ) -> Reply[Stream]:
        """Start a stream; see `Desk.start_stream` for arguments, guarantees and exceptions."""
        self._open()
        return self._desk.start_stream(
            source,
            prompt,
            context,
            stream_id=stream_id,
            timeout=timeout,
            subscribe=subscribe,
            if_running=if_running,
            **backend_options,
        )

    def stream(self, stream_id: str) -> Reply[Stream]:
        """Return the handle of a stream that runs or is still kept; see `Desk.stream`."""
        return self._open_desk().stream(stream_id)

    def subscribe(
        self, stream_id: str, *, after: Position = 0, subscriber: ActorRef[Any] | None = None
    ) -> Reply[None]:
        """Subscribe the calling actor, or ``subscriber``, to a stream; see `Desk.subscribe`."""
        return self._open_desk().subscribe(stream_id, after=after, subscriber=subscriber)

    def unsubscribe(
        self, stream_id: str, *, subscriber: ActorRef[Any] | None = None
    ) -> Reply[None]:
        """Stop the events of a stream; see `Desk.unsubscribe`."""
        return self._open_desk().unsubscribe(stream_id, subscriber=subscriber)

    def cancel(self, stream_id: str, *, wait: bool = False, by: Any = None) -> Reply[CancelOutcome]:
        """End a stream now; see `Desk.cancel`."""
        return self._open_desk().cancel(stream_id, wait=wait, by=by)

    def snapshot(self, stream_id: str) -> Reply[Snapshot]:
        """Return a stream as it stands; see `Desk.snapshot`."""
        return self._open_desk().snapshot(stream_id)

    def streaming(self, stream_id: str) -> bool:
        """Whether a stream of that id is running; immediate, from any thread."""
        return self._open_desk().streaming(stream_id)

    @staticmethod
    def topic(stream_id: str) -> str:
        """Return the PubSub topic of a stream: ``puck:stream:<id>``."""
        return topic(stream_id)

    @staticmethod
    def generate_id() -> str:
        """Return a new stream id: URL-safe, and not to be guessed."""
        return generate_id()

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
