"""What is known and asked of one conversation, whichever actor carries it out."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from puckstream.actors.reply import Reply
from puckstream.errors import (
    ActorDead,
    InvalidOption,
    NodeNotRunning,
)
from puckstream.streams.events import CancelledEvent, CancelReason, DoneEvent
from puckstream.streams.response import Response
from puckstream.streams.turns import (
    AnsweringEvent,
    ClosedEvent,
    ConversationSnapshot,
    Draft,
    FailedEvent,
    StoppedEvent,
)

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler
    from puckstream.actors.signals import ExitReason
    from puckstream.node import Node
    from puckstream.streams.client import Client
    from puckstream.streams.context import Context, Prompt
    from puckstream.streams.handle import Stream
    from puckstream.streams.history import History
    from puckstream.streams.log import TerminalEvent

__all__ = ["PREFIX", "Close", "Exchange", "Look", "Stop", "Submission", "Table", "WhenBusy"]

WhenBusy: TypeAlias = Literal["reject", "interrupt", "enqueue"]
"""What a conversation does with a prompt while it writes an answer."""

PREFIX: Final = "puck:conversation:"
"""What the topic and the name of a conversation begin with; its id follows."""

# Ends that somebody wanted, who has read what was there.
_KEPT = frozenset({"user", "replaced"})


class Look(NamedTuple):
    """There is something to see in the table."""


class Exchange(NamedTuple):
    """A prompt, and the turns before it."""

    prompt: Prompt
    base: Context


@dataclass(eq=False, slots=True)
class Stop:
    """Order: end the answer in progress, and drop the prompts that wait."""

    wait: bool
    by: Any
    reply: Reply[bool] = field(default_factory=Reply[bool])


@dataclass(eq=False, slots=True)
class Close:
    """Order: end the conversation."""


@dataclass(eq=False, slots=True)
class Submission:
    """Order: answer a prompt.

    Args:
        prompt: what to answer; ``None`` is the last prompt again.
        when_busy: what to do with it if an answer is in progress.
        context: a copy of the context of whoever submitted it, for its stream to start in.
        by: the actor that submitted it, or ``None``.
        opened: settled with its stream.
    """

    prompt: Prompt | None
    when_busy: WhenBusy
    context: contextvars.Context
    by: ActorRef[Any] | None
    opened: Reply[Stream] = field(default_factory=Reply["Stream"])
    exchange: Exchange | None = None
    stream_id: str = ""
    opening: Reply[Stream] | None = None
    stream: Stream | None = None
    announced: bool = False
    awaited: bool = False
    stops: list[tuple[Reply[Any], Reply[bool]]] = field(
        default_factory=list[tuple[Reply[Any], Reply[bool]]]
    )

    @property
    def n(self) -> int:
        """Which turn its prompt is."""
        return 0 if self.exchange is None else len(self.exchange.base)


class Table:
    """What is known and asked of one conversation, whichever actor carries it out.

    Belongs to the loop's thread, but for what the handle reads.

    Args:
        history: its turns.
        client: who answers.
        options: of every stream.
        when_busy: what to do with a prompt while an answer is in progress.
        keep_stopped: whether a stopped answer becomes a turn as far as it got.
        max_waiting: how many prompts may wait.
    """

    def __init__(
        self,
        history: History,
        client: Client,
        options: Mapping[str, Any],
        *,
        when_busy: WhenBusy,
        keep_stopped: bool,
        max_waiting: int,
    ) -> None:
        self.history = history
        self.client = client
        self.options = options
        self.when_busy: WhenBusy = when_busy
        self.keep_stopped = keep_stopped
        self.max_waiting = max_waiting
        self.topic = f"{PREFIX}{history.id}"
        self.system: Scheduler | None = None
        self.open = False
        self.orders: deque[Submission | Stop | Close] = deque()
        self.waiting: deque[Submission] = deque()
        self.current: Submission | None = None
        self.last: Exchange | None = None
        self.idle_waiters: list[Reply[Context]] = []
        self.joining: dict[ActorRef[Any], Reply[None]] = {}
        """The subscriptions on their way."""
        self._owner: ActorRef[Any] | None = None

    @property
    def owner(self) -> ActorRef[Any] | None:
        """The present actor; a dead one while the next is being started."""
        return self._owner

    @property
    def node(self) -> Node:
        """The node it is, or was, on."""
        node = None if self.system is None else self.system.node
        if node is None:
            msg = f"the conversation {self.history.id!r} has not been started"
            raise NodeNotRunning(msg)
        return node

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered, and nothing waits for an answer."""
        return self.current is None and not self.waiting and not self.orders

    def say_idle(self) -> None:
        """Tell those who wait for it that it is idle."""
        waiters, self.idle_waiters = self.idle_waiters, []
        for waiter in waiters:
            waiter._resolve(self.history.context)

    # -- the actor comes and goes

    def taken_by(self, ref: ActorRef[Any]) -> None:
        """Make ``ref`` the present actor.

        Raises:
            InvalidOption: if another one lives, on another node.
        """
        if self._owner is not None and self._owner.is_alive():
            raise InvalidOption("conversation", self.history.id, f"it runs as {self._owner}")
        self.system = ref._system
        self._owner = ref
        if not self.open:
            self.open = True
            self.history.reopen()
        parent = ref._parent
        ref._on_death(partial(self._actor_died, parent))

    def _actor_died(
        self, parent: ActorRef[Any] | None, ref: ActorRef[Any], reason: ExitReason
    ) -> None:
        if reason.expected or parent is None:
            self._close_after(ref)
        else:
            # Its supervisor starts the next one; if that gives up instead, nobody does.
            parent._on_death(partial(self._close_after, ref))

    def _close_after(self, ref: ActorRef[Any], *_end_of_parent: object) -> None:
        if self._owner is ref and self.open:
            self.close()

    def close(self) -> None:
        """Refuse what waits, end the answer in progress, and say that it is over."""
        self.open = False
        refusal = self.refusal()
        orders, self.orders = [*self.orders], deque()
        waiting, self.waiting = [*self.waiting], deque()
        for order in (*waiting, *orders):
            if isinstance(order, Submission):
                order.opened._reject(refusal)
            elif isinstance(order, Stop):
                order.reply._resolve(False)
        current = self.current
        if current is not None:
            log = None if current.stream is None else current.stream._log
            if log is None or log.terminal is None:
                self.node._desk._cancel(current.stream_id, "abandoned", self._owner, wait=False)
            current.opened._reject(refusal)
            content = "" if log is None else log.content
            end = None if log is None else log.terminal
            self.settle(current, end or CancelledEvent(content, reason="abandoned"))
        self.history.append(lambda seq: ClosedEvent(seq=seq))
        self._publish()
        self.say_idle()

    def refusal(self) -> ActorDead:
        """Return the error of those who come too late."""
        msg = f"the conversation {self.history.id!r} has ended; start another with its context"
        return ActorDead(msg)

    def order(self, order: Submission | Stop | Close) -> None:
        """Have the present actor, or the next, carry out ``order``.

        Raises:
            ActorDead: if the conversation has ended.
        """
        if not self.open:
            raise self.refusal()
        self.orders.append(order)
        self.wake()

    def wake(self) -> None:
        """Have the actor look. One that is to come looks anyway."""
        owner = self._owner
        if owner is not None and owner.is_alive():
            owner._deliver(Look())

    def _publish(self) -> None:
        self.node.pubsub.advance(self.topic)

    # -- what happens to an answer

    def announce(self, current: Submission) -> None:
        """Say that an answer is being written."""
        exchange = current.exchange
        assert exchange is not None
        current.announced = True
        self.history.append(
            lambda seq: AnsweringEvent(current.n, exchange.prompt, current.stream_id, seq=seq)
        )
        self._publish()

    def settle(self, current: Submission, end: TerminalEvent) -> None:
        """Take in the end of the answer in progress."""
        exchange = current.exchange
        assert exchange is not None
        self.current = None
        self.last = exchange
        n, history = current.n, self.history
        if isinstance(end, DoneEvent):
            history.put(n, [*end.context][n:])
        elif isinstance(end, CancelledEvent):
            reason: CancelReason = end.reason
            content = end.content
            text = Response(content=content).text
            # It must not take the place of an answer that was complete.
            is_new = n == len(history.context)
            if self.keep_stopped and is_new and reason in _KEPT and text:
                history.put(n, [*exchange.base.user(exchange.prompt).assistant(text)][n:])
            history.append(lambda seq: StoppedEvent(n, reason, content, seq=seq))
        else:
            error, partial_ = end.reason, end.content
            history.append(lambda seq: FailedEvent(n, error, partial_, seq=seq))
        self._publish()
        for cancelled, reply in current.stops:
            cancelled._when_done(partial(reply._resolve, True))

    def snapshot(self) -> ConversationSnapshot:
        """Return the conversation as it stands."""
        return ConversationSnapshot(
            id=self.history.id,
            seq=self.history.last_seq,
            context=self.history.context,
            draft=self._draft(),
            waiting=len(self.waiting),
            open=self.open,
        )

    def _draft(self) -> Draft | None:
        current = self.current
        if current is None or current.exchange is None:
            return None
        log = None if current.stream is None else current.stream._log
        return Draft(
            n=current.n,
            prompt=current.exchange.prompt,
            stream_id=current.stream_id,
            seq=0 if log is None else log.last_seq,
            content="" if log is None else log.content,
            thinking="" if log is None else log.thinking,
        )
