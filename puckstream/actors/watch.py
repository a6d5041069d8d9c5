"""What is seen of the messages of one actor: counts, a log, and functions that look on.

Only an actor that somebody looks at has a `Watch`, and only its messages pass through one.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from puckstream.actors._pykka import AskTimeout
from puckstream.actors.idle import IdleTimeout
from puckstream.actors.mailbox import NOTHING, Continue, Fetch, Request, SystemRequest
from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply
    from puckstream.actors.state import Extra

__all__ = [
    "Event",
    "Observer",
    "Statistics",
    "Watch",
    "set_idle_timeout",
    "take",
    "watch_of",
]

logger = logging.getLogger("puckstream.actors")


class Event(NamedTuple):
    """A message that an actor has taken up, or an answer it has given.

    An answer is the value, or the exception, that the asker gets.
    """

    at: float
    """On the node's clock, in seconds."""
    kind: Literal["in", "out"]
    message: Any


Observer = Callable[[Event], object]
"""Called with each event, on whichever thread the actor takes up messages or is answered for."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What has gone in and out of an actor since they were switched on.

    Args:
        started_at: when that was, on the node's clock, in seconds.
        now: when they were asked for, likewise.
        messages_in: messages taken up; system requests do not count.
        messages_out: requests answered, with a value or an exception; of those taken up since.
    """

    started_at: float
    now: float
    messages_in: int
    messages_out: int


class Watch:
    """Sees every message that its actor takes up, and every answer it gives."""

    __slots__ = (
        "_answering",
        "_guard",
        "_in",
        "_log",
        "_observers",
        "_out",
        "_ref",
        "_started_at",
        "idle",
    )

    def __init__(self, ref: ActorRef[Any]) -> None:
        self._ref = ref
        self._guard = threading.RLock()  # a reply may be settled by any thread
        self.idle: IdleTimeout | None = None
        self._started_at: float | None = None
        self._in = self._out = 0
        self._log: deque[Event] | None = None
        self._observers: dict[str, Observer] = {}
        self._answering: set[Reply[Any]] = set()

    @property
    def idle_timeout(self) -> IdleTimeout:
        """The actor's idle timeout, made when it first sets one."""
        if self.idle is None:
            self.idle = IdleTimeout(self._ref)
        return self.idle

    # -- what is looked at

    @property
    def observed(self) -> tuple[str, ...]:
        """What is switched on: ``statistics``, ``log``, and the names of the observers."""
        return (
            *(() if self._started_at is None else ("statistics",)),
            *(() if self._log is None else ("log",)),
            *self._observers,
        )

    @property
    def needed(self) -> bool:
        """Whether anything is switched on, or the actor uses an idle timeout."""
        return self.idle is not None or bool(self.observed)

    def count(self, *, on: bool) -> None:
        """Count messages from now on, from zero; or no more."""
        self._started_at = self._ref._system.clock.now() if on else None
        self._in = self._out = 0

    @property
    def statistics(self) -> Statistics | None:
        """The counts; None if they are switched off."""
        if self._started_at is None:
            return None
        return Statistics(self._started_at, self._ref._system.clock.now(), self._in, self._out)

    def keep(self, events: int) -> None:
        """Keep the last ``events``; 0 keeps none."""
        with self._guard:
            self._log = deque(self._log or (), maxlen=events) if events else None

    @property
    def log(self) -> tuple[Event, ...]:
        """The events that are kept, oldest first."""
        with self._guard:
            return tuple(self._log or ())

    def install(self, name: str, observer: Observer) -> None:
        """Have ``observer`` called with every event; one of the same name is replaced."""
        with self._guard:
            self._observers[name] = observer

    def remove(self, name: str) -> bool:
        """Call that observer no more; say whether there was one."""
        with self._guard:
            return self._observers.pop(name, None) is not None

    def stop_looking(self) -> None:
        """Switch everything off."""
        self.count(on=False)
        self.keep(0)
        with self._guard:
            self._observers.clear()

    def close(self) -> None:
        """The actor has ended; on the loop's thread."""
        self.stop_looking()
        if self.idle is not None:
            self.idle.close()

    # -- what there is to see

    def incoming(self, message: Any) -> None:
        """See ``message``, which is about to be handled. Never raises."""
        reply: Reply[Any] | None = None
        if type(message) is Request:
            message, reply = message.message, message.reply
            if type(message) is SystemRequest:
                return
        if type(message) is Fetch or message is NOTHING:
            # What it brings comes by itself.
            return
        if type(message) is Continue:
            message = message.message
        elif self.idle is not None:
            self.idle.cancel()
        if self._started_at is None and self._log is None and not self._observers:
            return
        self._in += 1
        self._see("in", message)
        if reply is not None and not reply.done:
            # A request that was put aside comes in twice, and is answered once.
            with self._guard:
                known = reply in self._answering
                self._answering.add(reply)
            if not known:
                reply._when_done(partial(self._answered, reply))

    def _answered(self, reply: Reply[Any]) -> None:
        with self._guard:
            self._answering.discard(reply)
        try:
            answer: Any = reply.get()
        except AskTimeout:
            # Whoever asked gave up: nothing has gone out.
            return
        except BaseException as error:  # noqa: BLE001  # only looked at
            answer = error
        with self._guard:
            self._out += 1
        self._see("out", answer)

    def _see(self, kind: Literal["in", "out"], message: Any) -> None:
        event = Event(self._ref._system.clock.now(), kind, message)
        with self._guard:
            if self._log is not None:
                self._log.append(event)
            observers = tuple(self._observers.items())
        for name, observer in observers:
            try:
                observer(event)
            except KeyboardInterrupt:
                raise
            except BaseException:
                self.remove(name)
                logger.exception("the debug function %r of %s failed and is removed", name, self)

    def __str__(self) -> str:
        return str(self._ref)


def take(extra: Extra, box: deque[Any] | None) -> Any:
    """Take the next message of an actor, its control lane's first; `NOTHING` if there is none."""
    if extra.control:
        message = extra.control.popleft()
    elif box:
        message = box.popleft()
    else:
        return NOTHING
    if extra.watch is not None:
        extra.watch.incoming(message)
    return message


def watch_of(ref: ActorRef[Any]) -> Watch:
    """Return the watch of ``ref``, made if there is none; on the actor's own thread."""
    extra = ref._ensure_extra()
    if extra.watch is None:
        extra.watch = Watch(ref)
    return extra.watch


def set_idle_timeout(ref: ActorRef[Any], seconds: float | None, message: Any) -> None:
    """Do what `Actor.set_idle_timeout` says.

    Raises:
        InvalidOption: if ``seconds`` is neither None nor a number, 0 or more.
    """
    if seconds is None:
        extra = ref._extra
        if extra is not None and extra.watch is not None and extra.watch.idle is not None:
            extra.watch.idle.withdraw()
        return
    number = cast("object", seconds)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= 0:
        option = "seconds"
        raise InvalidOption(option, seconds, "0 or more, or None to cancel")
    watch_of(ref).idle_timeout.start(seconds, message)
