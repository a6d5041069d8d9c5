"""The stream actor: one run of a source, its log, its one end.

It owns a worker task which runs the source and owns the upstream connection. What the worker
emits are messages to the actor; the actor alone writes the log. Cancel comes on the control lane,
ahead of chunks that wait. After the end the actor stays until its worker has closed everything.

An attempt is one run of a source by one worker. The next one begins when the worker of the last
has ended, and never once the stream is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from puckstream.actors.actor import Actor
from puckstream.actors.signals import Crash, Exit, ExitReason, TaskDone, TaskFailed
from puckstream.backends.base import Chunk
from puckstream.errors import StreamError, TooManyStreams
from puckstream.streams.context import Context
from puckstream.streams.events import RetryInfo
from puckstream.streams.policy import Timeout
from puckstream.streams.retry import Retry, Step, is_visible
from puckstream.streams.shelf import topic
from puckstream.streams.source import Done, Run, Source

if TYPE_CHECKING:
    from puckstream.actors.pubsub import PubSub
    from puckstream.backends.base import Resources
    from puckstream.streams.events import CancelReason
    from puckstream.streams.limits import Ticket
    from puckstream.streams.log import StreamRecord
    from puckstream.streams.threads import Threads

__all__ = ["Cancel", "CancelOutcome", "Plan", "StreamActor"]

logger = logging.getLogger("puckstream.streams")

# As long as a supervisor gives a child: what a cancelled worker may take to close what it has open,
# and again after the second cancel.
_CLOSING: Final = 5.0

CancelOutcome = Literal["cancelled", "already_done", "already_cancelled", "not_found"]
"""What a cancel found: it ended the stream; the stream had ended; nobody knows the id."""


class Cancel(NamedTuple):
    """Request: end the stream now."""

    reason: CancelReason = "user"
    by: Any = None


class _Check(NamedTuple):
    """A clock may have run out."""

    clock: Literal["first", "idle", "total"]


class _Overdue(NamedTuple):
    """The worker was cancelled ``times`` times, and still runs."""

    times: int


class _Begin(NamedTuple):
    """It is time for an attempt, or there is room for it."""

    attempt: int


class Plan(NamedTuple):
    """Everything a stream actor is started with."""

    record: StreamRecord
    sources: tuple[Source, ...]
    """Whose turn it is first, and who follows if that one fails."""
    timeout: Timeout
    retry: Retry
    ticket: Ticket
    pubsub: PubSub
    resources: Resources
    threads: Threads


class StreamActor(Actor):
    """Runs one source and writes its log."""

    # The end of its supervisor is a message: an orderly shutdown must become an event, and a
    # crashed supervisor is no reason to lose an answer that has been paid for.
    trap_exit = True

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.record = plan.record
        self._plan = plan
        self._log = plan.record.log
        self._source, *self._next_sources = plan.sources
        self._timeout = plan.timeout
        self._pubsub = plan.pubsub
        self._topic = topic(plan.record.id)
        self._attempt = 1
        self._tried = 0  # attempts with the present source
        self._running = False  # between attempts it is not
        self._begun_seq = 0
        self._visible = False
        self._watching = plan.timeout.idle is not None or self._may_retry
        self._idle_watched = False
        self._clock = self.actor_ref._system.clock

    @property
    def _may_retry(self) -> bool:
        return self._plan.retry.attempts > 1 or bool(self._next_sources)

    def describe(self) -> str:
        """Return one line for the tree."""
        log = self._log
        return f"stream {log.id} · {log.status} · {log.last_seq} events"

    # -- hooks

    def on_start(self) -> None:
        """Set the clocks and the worker going, or wait for a place."""
        self.record.owner = self.actor_ref
        names = self.actor_ref._system.names
        if names is not None:
            names.register(self._topic, self.actor_ref)
            # From its end on the name is free for the next run, though the actor may linger.
            self._log.on_end(lambda _event: names.unregister(self._topic, self.actor_ref))
        self._start_clocks()
        self._begin(1)

    def on_receive(self, message: Any) -> Any:
        """Take in chunks, the worker's end, a cancel, or a clock."""
        if type(message) is Chunk:
            self._take(message)
            return None
        match message:
            case Cancel(reason, by):
                return self._cancel(reason, by)
            case _Check(clock):
                self._check(clock)
            case _Begin(attempt):
                self._begin(attempt)
            case _Overdue(times):
                self._overdue(times)
            case TaskDone("worker", result):
                self._worker_done(result)
            case TaskFailed("worker", error):
                self._worker_failed(error)
            case Exit(_, reason):
                self._told_to_exit(reason)
            case _:
                return super().on_receive(message)
        return None

    def on_parent_exit(self, reason: ExitReason) -> bool:
        """End with an orderly shutdown; outlive a supervisor that crashed or was killed.

        The next supervisor takes the stream over.
        """
        return reason.expected

    def on_stop(self) -> None:
        """Tell the subscribers, if the stream is ended from outside before its end."""
        reason = self.actor_ref._reason
        if isinstance(reason, Crash):
            # What is no Exception runs this hook instead of on_failure, as in pykka.
            self.on_failure(type(reason.error), reason.error, None)
        elif self._log.cancel("shutdown", self._clock.now()) is not None:
            self._publish()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell the subscribers that the actor itself has failed."""
        del exception_type, traceback
        what = f"{type(exception_value).__name__}: {exception_value}"
        failure = StreamError("crashed", f"the stream actor failed: {what}")
        if self._log.fail(failure, self._clock.now()) is not None:
            self._publish()

    # -- the worker

    def _begin(self, attempt: int) -> None:
        """Start an attempt, now or when there is a place for it."""
        log, now = self._log, self._clock.now()
        if log.terminal is not None or attempt != self._attempt or self._running:
            return
        ticket = self._plan.ticket
        if not ticket.may_run:
            if attempt == 1:
                log.status = "queued"
            ticket.on_turn(lambda: self.actor_ref._deliver(_Begin(attempt)))
            return
        self._running = True
        self._tried += 1
        log.start(self._source.info._replace(attempt=attempt), now)
        self._begun_seq = log.last_seq
        self._publish()
        if attempt == 1 and self._timeout.first is not None:
            # Of the seconds in line it knows nothing.
            self.send_after(self._timeout.first, _Check("first"))
        self._watch_idle()
        self.start_task("worker", self._work, self._source, attempt)

    async def _work(self, source: Source, attempt: int) -> Done | None:
        log, plan = self._log, self._plan
        run = Run(
            emit=self.actor_ref.tell,
            resources=plan.resources,
            threads=plan.threads,
            owner=self.actor_ref,
            ended=lambda: log.terminal is not None or self._attempt != attempt,
        )
        try:
            return await source.run(run)
        except (KeyboardInterrupt, SystemExit) as error:
            # asyncio throws these out of the loop, and all other streams with it. A Ctrl-C does
            # belong to the program; it comes to the main thread only.
            if isinstance(error, KeyboardInterrupt) and _on_main_thread():
                raise
            raise _as_stream_error(error) from error

    def _take(self, chunk: Chunk) -> None:
        try:
            event = self._log.add(chunk, self._clock.now())
        except StreamError as error:
            self._fail(error)
            return
        except Exception as error:  # noqa: BLE001  # a user's objects may do anything
            what = f"{type(error).__name__}: {error}"
            self._fail(StreamError("protocol", f"a chunk that cannot be read: {what}"))
            return
        if event is not None:
            self._publish()
            if self._watching:
                self._look_at(chunk)

    def _look_at(self, chunk: Chunk) -> None:
        """Note what clocks and retries have to know, as long as there is something to note."""
        self._watch_idle()
        self._visible = self._visible or not self._may_retry or is_visible(chunk)
        self._watching = not (self._visible and (self._idle_watched or self._timeout.idle is None))

    def _worker_done(self, result: Any) -> None:
        if self._log.terminal is None:
            context = self._source.context
            if isinstance(result, Done) and isinstance(result.context, Context):
                context = result.context
            try:
                self._log.finish(context, self._clock.now())
            except StreamError as error:
                self._fail(error)
                return
            self._publish()
        self.finish()

    def _worker_failed(self, error: BaseException) -> None:
        if self._log.terminal is not None:
            self.finish()
            return
        self._running = False
        failure = _as_stream_error(error)
        step = self._next_step(failure)
        if step is None:
            self._fail(failure)
        else:
            self._try_again(step, failure)

    # -- attempts

    def _next_step(self, failure: StreamError) -> Step | None:
        """Decide what follows a failure, and whose turn it is."""
        while True:
            step = self._plan.retry.decide(
                failure,
                tried=self._tried,
                clients_left=len(self._next_sources),
                visible=self._visible,
                chance=self._plan.retry.chance(),
            )
            if step is None or not step.next_client:
                return step
            source = self._next_sources.pop(0)
            try:
                self._plan.ticket.change(source.key, source.limits)
            except TooManyStreams as busy:
                logger.info("stream %r: a fallback has no room: %s", self._log.id, busy)
                continue
            self._source, self._tried = source, 0
            return step

    def _try_again(self, step: Step, failure: StreamError) -> None:
        self._attempt += 1
        source = self._source.info
        info = RetryInfo(
            attempt=self._attempt,
            delay=step.delay,
            reason=failure,
            reset=self._log.last_seq > self._begun_seq,
            provider=source.provider,
            model=source.model,
        )
        self._log.retry(info, self._clock.now())
        self._publish()
        if step.delay > 0:
            self.send_after(step.delay, _Begin(self._attempt))
        else:
            self._begin(self._attempt)

    # -- ends

    def _fail(self, error: StreamError) -> None:
        if self._log.fail(error, self._clock.now()) is not None:
            self._publish()
            self._wind_up()

    def _cancel(self, reason: CancelReason, by: Any) -> CancelOutcome:
        if self._log.cancel(reason, self._clock.now(), by=by) is None:
            return "already_cancelled" if self._log.status == "cancelled" else "already_done"
        self._publish()
        self._wind_up()
        return "cancelled"

    def _told_to_exit(self, reason: ExitReason) -> None:
        if reason.expected:
            self._cancel("shutdown", None)
        else:
            self._fail(StreamError("crashed", f"the stream was told to exit: {reason}"))

    def _wind_up(self) -> None:
        """Have the worker close what it has open; the actor goes when it has."""
        if self.cancel_task("worker"):
            self.send_after(_CLOSING, _Overdue(1))
        else:
            self.finish()

    def _overdue(self, times: int) -> None:
        """Cancel a worker again that swallowed its cancellation, and at last leave it behind."""
        if not self.cancel_task("worker"):
            return  # it has ended, and the message that says so is on its way
        if times == 1:
            self.send_after(_CLOSING, _Overdue(2))
            return
        logger.error("the source of stream %r ignores its cancellation", self._log.id)
        self.actor_ref.kill()

    def _publish(self) -> None:
        self._pubsub.advance(self._topic)

    # -- clocks

    def _start_clocks(self) -> None:
        if self._timeout.total is not None:
            self.send_after(self._timeout.total, _Check("total"))

    def _check(self, clock: Literal["first", "idle", "total"]) -> None:
        log = self._log
        if log.terminal is not None:
            return
        if clock == "total":
            self._cancel("timeout_total", None)
        elif clock == "first":
            if log.first_chunk_at is None:
                self._cancel("timeout_first", None)
        elif self._timeout.idle is not None:
            self._idle_watched = False
            # One timer for all gaps: it asks how long the present one has lasted.
            self._watch_idle(log.last_at + self._timeout.idle - self._clock.now())

    def _watch_idle(self, left: float | None = None) -> None:
        """Have the idle clock run, from the first chunk on, and not between attempts."""
        idle = self._timeout.idle
        if idle is None or self._idle_watched or not self._running:
            return
        if self._log.first_chunk_at is None:
            return
        if left is not None and left <= 0:
            self._cancel("timeout_idle", None)
            return
        self._idle_watched = True
        self.send_after(idle if left is None else left, _Check("idle"))


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _as_stream_error(error: BaseException) -> StreamError:
    if isinstance(error, StreamError):
        return error
    if isinstance(error, asyncio.CancelledError):
        # Nobody cancelled the stream: the source did it to itself.
        failure = StreamError("crashed", "the source was cancelled from within")
    else:
        failure = StreamError("crashed", f"the source raised {type(error).__name__}: {error}")
        logger.error("the source of a stream raised", exc_info=error)
    failure.__cause__ = error
    return failure
