"""The thread that owns the ZeroMQ sockets of a node, and what passes between it and the loop.

Sockets are not thread-safe, and zmq.asyncio costs five times as much as a thread that hands on what
it has received in batches (docs/nodes.md). Orders go to the thread through a deque and a pipe,
frames come back through a deque and a wake-up of the loop; each side is woken once for all that
waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from puckstream.actors.waker import Waker
from puckstream.transports.frame import MAX_FRAME

__all__ = ["HIGH_WATER", "Arrival", "Channel", "IoThread"]

logger = logging.getLogger("puckstream.transports")

HIGH_WATER: Final = 1_000
"""Frames of one channel that the loop may have given and the sockets not taken."""

INBOX: Final = 20_000
"""Received frames that may wait for the loop; beyond that, other nodes are kept waiting."""

BATCH: Final = 500
"""Frames received before the thread looks at its other sockets."""

FLUSH: Final = 500
"""Milliseconds in which a channel that was hung up may still deliver."""

NEVER: Final = 24 * 3_600_000
"""Milliseconds until a channel that broke reconnects: its link has been given up long before.

libzmq has -1 for this, with which closing a context hangs now and then: a session that is ending
because it must not reconnect, and ends because its socket is closed, waits for itself.
"""

_STALLED: Final = 500
"""Milliseconds after which a full inbox is looked at again."""

Arrival = tuple[str, bytes, bytes]
"""What the loop is handed: ``frame``, ``drained`` or ``lost``, a channel's name, a frame."""


class Channel:
    """One channel of this node. The loop counts what it gave, the thread what the socket took."""

    __slots__ = ("busy", "given", "monitor", "name", "pending", "socket", "taken")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.given = 0
        self.taken = 0
        self.busy = False  # set by the loop, taken back by the thread when it says "drained"
        # The rest is the thread's alone.
        self.socket: zmq.Socket[bytes] | None = None
        self.monitor: zmq.Socket[bytes] | None = None
        self.pending: deque[bytes] = deque()


class IoThread:
    """Starts at once; ``started`` has the addresses, or the error that kept it from binding.

    Args:
        listen: the addresses to bind.
        arrived: called on the loop's thread when there is something for `take`.
    """

    def __init__(
        self,
        listen: tuple[str, ...],
        loop: asyncio.AbstractEventLoop,
        arrived: Callable[[], object],
    ) -> None:
        self.started: asyncio.Future[tuple[str, ...]] = loop.create_future()
        self.refused = 0
        """How many messages were no frames; not even junk ones."""
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._listen = listen
        self._waker = Waker(loop, arrived)
        self._orders: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._arrivals: deque[Arrival] = deque()
        self._ordered = False  # the thread has been told of orders
        self._told = False  # the loop has been told of arrivals
        self._read_end, self._write_end = os.pipe()
        for end in (self._read_end, self._write_end):
            os.set_blocking(end, False)
        # The thread's alone.
        self._poller = zmq.Poller()
        self._by_socket: dict[zmq.Socket[bytes], Channel] = {}
        self._numbers = itertools.count()
        self._serving = True
        self._full = False
        self._thread = threading.Thread(target=self._run, name="puckstream:zeromq", daemon=True)
        self._thread.start()

    # -- the loop's side

    def dial(self, channel: Channel, address: str) -> None:
        """Have a channel opened."""
        self._order(self._dial, channel, address)

    def send(self, channel: Channel, data: bytes) -> None:
        """Have a frame sent."""
        self._order(self._send, channel, data)

    def hang_up(self, channel: Channel, *, flush: bool) -> None:
        """Have a channel closed."""
        self._order(self._hang_up, channel, flush)

    def take(self) -> Arrival | None:
        """Take the oldest arrival; None if there is none, and ``arrived`` will be called."""
        self._told = False
        return self._arrivals.popleft() if self._arrivals else None

    async def stop(self) -> None:
        """Close every socket, after what may be flushed, and wait for the thread's end."""
        self._order(self._stop)
        await asyncio.shield(self._stopped)
        self.join()

    def join(self) -> None:
        """Let go of what a thread that has ended leaves behind."""
        self._thread.join()
        self._waker.close()
        os.close(self._read_end)
        os.close(self._write_end)

    def _order(self, what: Callable[..., object], *args: Any) -> None:
        self._orders.append((what, args))
        if not self._ordered:
            self._ordered = True
            os.write(self._write_end, b"\0")

    # -- the thread's side

    def _run(self) -> None:
        context = zmq.Context()
        try:
            router = context.socket(zmq.ROUTER)
            try:
                addresses = self._bind(router)
                self._loop.call_soon_threadsafe(self.started.set_result, addresses)
                self._context = context
                self._router = router
                self._serve()
            except OSError as error:
                self._loop.call_soon_threadsafe(self.started.set_exception, error)
            finally:
                router.close(linger=0)
        finally:
            context.destroy(linger=FLUSH)
            self._loop.call_soon_threadsafe(self._stopped.set_result, None)

    def _bind(self, router: zmq.Socket[bytes]) -> tuple[str, ...]:
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        router.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        router.setsockopt(zmq.HANDSHAKE_IVL, 3_000)
        router.setsockopt(zmq.RCVHWM, HIGH_WATER)
        addresses: list[str] = []
        for address in self._listen:
            try:
                router.bind(address)
            except zmq.ZMQError as error:
                raise OSError(error.errno, f"{error.strerror}: {address}") from error
            addresses.append(router.getsockopt_string(zmq.LAST_ENDPOINT))
        return tuple(addresses)

    def _serve(self) -> None:
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._read_end, zmq.POLLIN)
        while self._serving:
            ready = dict(self._poller.poll(_STALLED if self._full else None))
            if self._read_end in ready:
                self._obey()
            if self._full:
                self._look_again()
            elif self._router in ready:
                self._receive()
            for socket, channel in tuple(self._by_socket.items()):
                if socket not in ready:
                    continue
                if socket is channel.monitor:
                    self._watch(channel)
                else:
                    self._pump(channel)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_end, 4096)
        # First the flag, then the orders: one that is given from here on writes to the pipe.
        self._ordered = False
        while self._orders:
            order, args = self._orders.popleft()
            try:
                order(*args)
            except zmq.ZMQError:
                logger.exception("an order to the ZeroMQ thread failed")

    def _receive(self) -> None:
        router, arrivals = self._router, self._arrivals
        for _ in range(BATCH):
            try:
                parts = router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(parts) == 2:  # noqa: PLR2004  # the channel's name and the frame
                arrivals.append(("frame", parts[0], parts[1]))
            else:
                self.refused += 1
        self._tell_loop()
        if len(arrivals) > INBOX:
            # The loop is behind: leave the rest to the senders, until it has caught up.
            self._full = True
            self._poller.unregister(router)

    def _look_again(self) -> None:
        if len(self._arrivals) <= INBOX // 2:
            self._full = False
            self._poller.register(self._router, zmq.POLLIN)

    def _tell_loop(self) -> None:
        if self._arrivals and not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop was closed without this node
                self._waker.wake()

    def _dial(self, channel: Channel, address: str) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, channel.name)
        socket.setsockopt(zmq.RECONNECT_IVL, NEVER)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 0)
        channel.socket = socket
        channel.monitor = self._monitor(socket)
        self._by_socket[channel.monitor] = channel
        self._poller.register(channel.monitor, zmq.POLLIN)
        try:
            socket.connect(address)
        except zmq.ZMQError as error:
            # Nobody there, or no address at all: the link will notice the silence.
            logger.debug("cannot dial %r: %s", address, error)

    def _monitor(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        # pyzmq's own names for these are made of a descriptor, which is another socket's soon.
        address = f"inproc://monitor-{next(self._numbers)}"
        socket.monitor(address, zmq.EVENT_DISCONNECTED)
        monitor = self._context.socket(zmq.PAIR)
        monitor.connect(address)
        return monitor

    def _send(self, channel: Channel, data: bytes) -> None:
        if channel.socket is None:
            channel.taken += 1
            return
        channel.pending.append(data)
        if len(channel.pending) == 1:
            self._pump(channel)

    def _pump(self, channel: Channel) -> None:
        """Give the socket what it takes, and ask to be told when it takes more."""
        socket, pending = channel.socket, channel.pending
        if socket is None:
            return
        try:
            while pending:
                socket.send(pending[0], zmq.NOBLOCK)
                pending.popleft()
                channel.taken += 1
        except zmq.Again:
            if socket not in self._by_socket:
                self._by_socket[socket] = channel
                self._poller.register(socket, zmq.POLLOUT)
        else:
            if self._by_socket.pop(socket, None) is not None:
                self._poller.unregister(socket)
        if channel.busy and channel.given - channel.taken <= HIGH_WATER // 2:
            channel.busy = False
            self._arrivals.append(("drained", channel.name, b""))
            self._tell_loop()

    def _watch(self, channel: Channel) -> None:
        if channel.monitor is not None:
            parse_monitor_message(channel.monitor.recv_multipart())
            self._arrivals.append(("lost", channel.name, b""))
            self._tell_loop()

    def _hang_up(self, channel: Channel, flush: bool) -> None:  # noqa: FBT001  # an order's argument
        socket, monitor = channel.socket, channel.monitor
        channel.socket = channel.monitor = None
        channel.pending.clear()
        if socket is not None:
            socket.monitor(None, 0)
            self._forget(socket)
            socket.close(linger=FLUSH if flush else 0)
        if monitor is not None:
            self._forget(monitor)
            monitor.close(linger=0)

    def _forget(self, socket: zmq.Socket[bytes]) -> None:
        if self._by_socket.pop(socket, None) is not None:
            self._poller.unregister(socket)

    def _stop(self) -> None:
        self._serving = False
