"""An actor whose messages a test waits for, one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.testing.clock import VirtualClock

__all__ = ["Probe"]


class _Spawner(Protocol):
    """What starts actors: a node, or an actor."""

    def spawn(self, actor_class: type[Actor], *args: Any, **kwargs: Any) -> Reply[ActorRef[Any]]:
        """Start an actor."""
        ...


class Probe:
    """Stands in for an actor and keeps what it is sent; a request is answered with ``None``.

    ::

        probe = await Probe.on(node)
        probe.monitor(ref)
        ref.exit("kill")
        down = await probe.receive(Down)

    It traps exits, so that the end of linked actors arrives as `Exit` messages. The probe belongs
    to its node's loop.
    """

    def __init__(self) -> None:
        self._messages: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._actor: _Recorder | None = None

    @classmethod
    async def on(cls, node: _Spawner) -> Probe:
        """Start a probe on ``node``.

        Raises:
            NodeNotRunning: if the node is not running.
        """
        probe = cls()
        await node.spawn(_Recorder, probe)
        return probe

    @property
    def ref(self) -> ActorRef[Any]:
        """The actor to give to others."""
        return self._recorder.actor_ref

    @property
    def _recorder(self) -> _Recorder:
        if self._actor is None:
            msg = "make a probe with 'await Probe.on(node)'"
            raise RuntimeError(msg)
        return self._actor

    # -- what it has got

    @property
    def messages(self) -> tuple[Any, ...]:
        """What has arrived and not been received, oldest first."""
        return tuple(self._messages)

    async def receive(self, kind: type[Any] = object) -> Any:
        """Take the oldest message, waiting for it if need be. Cancelled, it takes none.

        Args:
            kind: the class the message must be of.

        Raises:
            AssertionError: if it is of another class; it stays where it was.
        """
        while not self._messages:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        message = self._messages[0]
        if not isinstance(message, kind):
            msg = f"expected a {kind.__name__}, got {message!r}"
            raise AssertionError(msg)  # noqa: TRY004  # a test fails by it
        return self._messages.popleft()

    async def expect(self, *expected: Any) -> None:
        """Take as many messages as are ``expected``, which must equal them in this order.

        Raises:
            AssertionError: at the first that differs; it is taken.
        """
        for position, wanted in enumerate(expected, start=1):
            message = await self.receive()
            if message != wanted:
                msg = f"message {position} of {len(expected)}: expected {wanted!r}, got {message!r}"
                raise AssertionError(msg)

    async def no_message(self) -> None:
        """Let the loop come to rest, without time passing, and see that nothing has arrived.

        Raises:
            AssertionError: if something is there; it stays there.
            RuntimeError: if something keeps the loop busy for ever.
        """
        await VirtualClock.settle()
        if self._messages:
            msg = f"expected no message, got {list(self._messages)!r}"
            raise AssertionError(msg)

    # -- what it can do, as the actor

    def monitor(self, ref: ActorRef[Any]) -> int:
        """Be told when ``ref`` ends; see `Actor.monitor`."""
        return self._recorder.monitor(ref)

    def demonitor(self, monitor: int) -> None:
        """Take a monitor back; see `Actor.demonitor`."""
        self._recorder.demonitor(monitor)

    def link(self, ref: ActorRef[Any]) -> None:
        """Link to ``ref``; see `Actor.link`."""
        self._recorder.link(ref)

    def unlink(self, ref: ActorRef[Any]) -> None:
        """Remove the link to ``ref``; see `Actor.unlink`."""
        self._recorder.unlink(ref)

    # -- the recorder's side

    def _attach(self, actor: _Recorder) -> None:
        self._actor = actor

    def _take(self, message: Any) -> None:
        self._messages.append(message)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)


class _Recorder(Actor):
    """The actor behind a probe."""

    trap_exit = True

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe
        probe._attach(self)  # noqa: SLF001  # one noun in two classes

    def on_receive(self, message: Any) -> None:
        self._probe._take(message)  # noqa: SLF001  # as above
