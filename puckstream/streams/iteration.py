"""Iterating over a stream: on the node's loop, on another loop, or in a thread without one.

Who iterates keeps a position in the log and what he was just given, so he can be as slow as he
likes: he delays nobody, and a fixed number of events is all that waits for him.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Self, TypeVar
from weakref import WeakSet

from puckstream.actors.feed import SubscriberStatistics
from puckstream.actors.reply import Reply
from puckstream.errors import NodeNotRunning

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler
    from puckstream.clock import Timer
    from puckstream.streams.events import StreamEvent
    from puckstream.streams.log import Log, TerminalEvent

__all__ = ["Iteration", "Look", "when_ended"]

T_co = TypeVar("T_co", covariant=True)

# How many events may be handed out without a turn of the loop between.
_AT_ONCE: Final = 64


class Look(NamedTuple):
    """What there is to hand out now; if that is nothing, the seconds until there may be."""

    found: Sequence[Any] = ()
    pause: float | None = None


class Iteration(ABC, Generic[T_co]):
    """Something about one stream, handed out item by item up to the stream's end.

    Iterate it with ``async for`` on any event loop, or with ``for`` in a thread that runs none.
    Breaking off, an exception, a timeout around a step and dropping it leave nothing behind;
    leaving the context of ``with`` or ``async with`` ends it. One thread or task at a time may
    iterate it.
    """

    def __init__(self, system: Scheduler, log: Log) -> None:
        self._system = system
        self._log = log
        self._read: deque[Any] = deque()
        self._ended = False
        self._known = False
        self._stop_waiting: Callable[[], None] | None = None
        self._seq = 0
        self._delivered = 0
        self._coalesced = 0
        self._leave: Callable[[], object] | None = None
        self._count()

    @property
    def seq(self) -> int:
        """The seq of the last event handed out; follow on from here with ``after=``."""
        return self._seq

    @property
    def open(self) -> bool:
        """Whether it may hand out more."""
        return not self._ended

    def statistics(self) -> SubscriberStatistics:
        """Return how far it has come, in constant time; from any thread."""
        lag = max(self._log.last_seq - self._seq, 0)
        return SubscriberStatistics(self, self._seq, lag, 0, self._delivered, self._coalesced)

    # -- what the kinds of iteration differ in

    @abstractmethod
    def _look(self) -> Look:
        """Return what there is to hand out; all the rest if the stream has ended. On the loop."""

    @abstractmethod
    def _hand_out(self, found: Any) -> T_co | None:
        """Note that ``found`` is handed out, and return it, or ``None`` to go on to the next."""

    def _place(self) -> int:
        """Return the seq to go on behind. Everybody gets the end, even one numbered lower."""
        last = self._log.last_seq
        if self._seq > last and self._log.terminal is not None:
            self._seq = last - 1
        return self._seq

    def _is_held(self, event: StreamEvent) -> bool:
        """Whether a new ``event`` makes no difference to what there is to hand out."""
        del event
        return False

    # -- asynchronous

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        while True:
            while self._read:
                item = self._hand_out(self._read.popleft())
                if item is not None:
                    return item
            if self._ended:
                raise StopAsyncIteration
            asked = self._ask()
            at_once = asked.done
            try:
                found = await asked
                if at_once and len(found) > _AT_ONCE:
                    # Nothing had to be waited for: others have their turn all the same.
                    await asyncio.sleep(0)
            except BaseException:
                self._withdraw()
                raise
            self._read.extend(found)
            if not self._read:
                raise StopAsyncIteration

    # -- blocking

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T_co]:
        while True:
            while self._read:
                item = self._hand_out(self._read.popleft())
                if item is not None:
                    yield item
            if self._ended:
                return
            asked = self._ask()
            try:
                self._read.extend(asked.get())
            except BaseException:  # a Ctrl-C while it waits, for one
                self._withdraw()
                raise
            if not self._read:
                return

    # -- its end

    def close(self) -> None:
        """Leave. The stream goes on; what has not been handed out yet is not any more."""
        self._ended = True
        self._read.clear()
        self._withdraw()
        self._count_no_more()

    def _count(self) -> None:
        """Be one of those for whom the stream goes on."""
        audience = self._log.audience
        if audience is not None and self._leave is None and not self._ended:
            self._leave = audience.follow(self)

    def _count_no_more(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def _withdraw(self) -> None:
        """Have nobody wait for the next event."""
        with contextlib.suppress(NodeNotRunning):  # nobody is left to wait for anything
            self._system.run_on_loop(self._no_longer_wait)

    def _no_longer_wait(self) -> None:
        stop, self._stop_waiting = self._stop_waiting, None
        if stop is not None:
            stop()

    # -- on the loop

    def _ask(self) -> Reply[Sequence[Any]]:
        try:
            return self._system.perform(self._next)
        except NodeNotRunning:
            # The node has shut down: the log has ended, and any thread may read it now.
            rest: Reply[Sequence[Any]] = Reply()
            rest._resolve(self._look().found)
            return rest

    def _next(self) -> Reply[Sequence[Any]] | Sequence[Any]:
        """Return what there is to hand out, or a reply that waits for it."""
        if self._ended:
            return ()
        log = self._log
        if not self._known:
            self._known = True
            if log.followers is None:
                log.followers = WeakSet()
            log.followers.add(self)
        found, pause = self._look()
        if found or log.terminal is not None:
            return found
        return self._wait(pause)

    def _wait(self, pause: float | None) -> Reply[Sequence[Any]]:
        log, clock = self._log, self._system.clock
        reply: Reply[Sequence[Any]] = Reply()
        timer: Timer | None = None

        def stop() -> None:
            forget()
            if timer is not None:
                timer.cancel()
            reply._resolve(())

        def appended(event: StreamEvent) -> None:
            if event.terminal or not self._is_held(event):
                look_again()

        def look_again() -> None:
            nonlocal timer
            found, pause = self._look()
            if found or log.terminal is not None:
                self._stop_waiting = None
                reply._resolve(found)
                stop()
            elif pause is not None:
                if timer is not None:
                    timer.cancel()
                timer = clock.call_later(pause, look_again)

        forget = log.on_append(appended)
        if pause is not None:
            timer = clock.call_later(pause, look_again)
        self._stop_waiting = stop
        return reply


def when_ended(system: Scheduler, log: Log) -> Reply[TerminalEvent]:
    """Return a reply with the terminal event, settled when it is there; also after the node's end.

    Raises (at once):
        NodeNotRunning: if the node is gone and has left no terminal event.
    """
    ended: Reply[TerminalEvent] = Reply()
    try:
        system.run_on_loop(log.on_end, ended._resolve)
    except NodeNotRunning:
        # The log changes no more, so that any thread may read it.
        if log.terminal is None:
            raise
        ended._resolve(log.terminal)
    return ended
