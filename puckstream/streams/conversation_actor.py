"""The actor of a conversation: one prompt after the other, each answered by a stream of its own.

What was asked of a conversation lies in its `Table`, which outlives the actor: an order is carried
out by the present actor or by the next one, and once. The actor keeps nothing for itself. It looks
at the table whenever there is something to see, decides what comes next, and does it.

The rules:

- An answer belongs to the submission whose stream wrote it. Only the terminal event of the stream
  in progress counts; what another stream still says is nobody's.
- An answer that is complete becomes turns. One that was stopped, or interrupted by the next
  prompt, becomes turns as far as it got, if that is wanted and it was no retry. Any other end
  leaves the turns alone.
- When the actor crashes its stream runs on, and the next actor takes it up where it is. When the
  conversation ends its stream is cancelled, reason ``abandoned``.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.errors import (
    ActorDead,
    ConversationBusy,
    ErrorKind,
    NodeNotRunning,
    NothingToRetry,
    StreamCancelled,
    StreamError,
)
from puckstream.streams.conversation_table import Close, Exchange, Look, Stop, Submission, Table
from puckstream.streams.events import CancelReason, ErrorEvent
from puckstream.streams.shelf import generate_id
from puckstream.telemetry import CONVERSATION

if TYPE_CHECKING:
    from puckstream.streams.handle import Stream

__all__ = ["ConversationActor"]


class ConversationActor(Actor):
    """Carries out what is asked of one conversation."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table
        self._in_hand: Submission | Stop | Close | None = None

    def describe(self) -> str:
        """Return one line for the tree."""
        table = self.table
        doing = "idle" if table.current is None else "answering"
        return f"{doing} · {len(table.history.context)} turns"

    def on_start(self) -> None:
        """Take over from a predecessor, and see what there is to do."""
        self.table.taken_by(self.actor_ref)
        self._look()

    def on_receive(self, message: Any) -> Any:
        """Look at the table."""
        if type(message) is Look:
            self._look()
            return None
        return super().on_receive(message)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Refuse the order this actor died of: the next one would die of it, too."""
        del exception_type, traceback
        order, self._in_hand = self._in_hand, None
        error = exception_value or ActorDead("the conversation's actor failed")
        if isinstance(order, Submission):
            if self.table.current is order and order.opening is None:
                self.table.current = None
            order.opened._reject(error)
        elif isinstance(order, Stop):
            order.reply._reject(error)

    def _look(self) -> None:
        table = self.table
        while True:
            if table.current is not None:
                self._advance(table.current)
            if table.orders:
                self._in_hand = table.orders.popleft()
                self._carry_out(self._in_hand)
            elif table.current is None and table.waiting:
                self._in_hand = table.waiting.popleft()
                self._begin(self._in_hand)
            else:
                break
            self._in_hand = None
        if table.idle:
            table.say_idle()

    def _carry_out(self, order: Submission | Stop | Close) -> None:
        if isinstance(order, Submission):
            self._take(order)
        elif isinstance(order, Stop):
            self._stop(order)
        else:
            self.finish()

    # -- orders

    def _take(self, new: Submission) -> None:
        """Begin with a prompt, or do with it what is to be done while busy."""
        table = self.table
        current = table.current
        if current is None and not table.waiting:
            self._begin(new)
        elif new.when_busy == "reject":
            new.opened._reject(ConversationBusy(table.history.id, "an answer is being written"))
        elif new.when_busy == "interrupt":
            self._drop_waiting("replaced")
            table.waiting.append(new)
            if current is not None:
                table.node._desk._cancel(current.stream_id, "replaced", new.by, wait=False)
        elif len(table.waiting) >= table.max_waiting:
            problem = f"{len(table.waiting)} prompts wait already"
            new.opened._reject(ConversationBusy(table.history.id, problem))
        else:
            table.waiting.append(new)

    def _stop(self, stop: Stop) -> None:
        table = self.table
        current = table.current
        dropped = self._drop_waiting("user")
        if current is None:
            stop.reply._resolve(dropped)
            return
        cancelled = table.node._desk.cancel(current.stream_id, wait=stop.wait, by=stop.by)
        current.stops.append((cancelled, stop.reply))

    def _drop_waiting(self, reason: CancelReason) -> bool:
        dropped, self.table.waiting = self.table.waiting, deque()
        for submission in dropped:
            submission.opened._reject(StreamCancelled(reason, ""))
        return bool(dropped)

    # -- an answer, from its beginning to its end

    def _begin(self, new: Submission) -> None:
        """Start the stream that answers a prompt."""
        table = self.table
        if new.prompt is not None:
            new.exchange = Exchange(new.prompt, table.history.context)
        else:
            new.exchange = table.last
        if new.exchange is None:
            new.opened._reject(NothingToRetry(table.history.id))
            return
        new.stream_id = generate_id()
        table.current = new
        try:
            # A context is entered once at a time, and this copy is nobody else's.
            new.opening = new.context.run(self._start_stream, new.exchange, new.stream_id)
        except Exception as error:  # noqa: BLE001  # a wrong option; handed to whoever waits
            table.current = None
            new.opened._reject(error)
            return
        if not (new.opening.done and _failure(new.opening)):
            table.announce(new)

    def _start_stream(self, exchange: Exchange, stream_id: str) -> Reply[Stream]:
        # The stream is this actor's, whoever asked for the answer.
        CURRENT.set(self.actor_ref)
        CONVERSATION.set(self.table.history.id)
        return self.node.start_stream(
            self.table.client,
            exchange.prompt,
            exchange.base,
            stream_id=stream_id,
            subscribe=False,
            **self.table.options,
        )

    def _advance(self, current: Submission) -> None:
        """See how far the answer in progress has come."""
        table, opening = self.table, current.opening
        assert opening is not None
        if current.stream is None:
            if not opening.done:
                if not current.awaited:
                    current.awaited = True
                    opening._when_done(table.wake)
                return
            error = _failure(opening)
            if error is not None:
                self._not_opened(current, error)
                return
            current.stream = opening.get()
            current.opened._resolve(current.stream)
            current.stream._log.on_end(lambda _event: table.wake())
        terminal = current.stream._log.terminal
        if terminal is not None:
            table.settle(current, terminal)

    def _not_opened(self, current: Submission, error: BaseException) -> None:
        """Give up an answer whose stream was refused."""
        table = self.table
        current.opened._reject(error)
        if current.announced:
            kind: ErrorKind = "node_down" if isinstance(error, NodeNotRunning) else "crashed"
            failure = StreamError(kind, f"the stream was not started: {error}")
            table.settle(current, ErrorEvent(failure))
            return
        table.current = None
        for _, reply in current.stops:
            reply._resolve(True)


def _failure(opening: Reply[Stream]) -> BaseException | None:
    try:
        opening.get()
    except BaseException as error:  # noqa: BLE001  # looked at, not raised
        return error
    return None
