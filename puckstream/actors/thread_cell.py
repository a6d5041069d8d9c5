"""The mailbox of an actor that has its own thread; any thread fills it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from threading import get_ident
from typing import Any

from puckstream.actors._pykka import Stop
from puckstream.actors.cell import put_next, take_lanes
from puckstream.actors.deferred import From
from puckstream.actors.mailbox import Continue, Request, oldest_to_drop, served_when_suspended
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.signals import ExitReason
from puckstream.actors.state import EXITING, IDLE, RUNNING, STOPPING, SUSPENDED
from puckstream.errors import CallingSelf, MailboxFull

__all__ = ["ThreadCell"]


class ThreadCell(ActorRef[Any]):
    """What others do with an actor that has its own thread."""

    __slots__ = ("_control", "_gone", "_lock", "_queue", "_since", "_thread", "_tokens")

    def __init__(self, system: Scheduler, actor_class: Any, id: int) -> None:  # the field's name
        super().__init__(system, actor_class, id)
        # Guards the lanes and the state, which the thread, the loop and senders change. Held for
        # a few bytecodes, and reentrant because a finalizer may send a message within them.
        self._lock = threading.RLock()
        self._queue: deque[Any] = deque()
        self._control: deque[Any] = deque()
        # One token for each message or signal; the thread waits for it and then looks. A token
        # whose message was dropped, or handled before its turn, finds nothing.
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._since: float | None = None  # when it began with its present message
        self._gone = False

    @property
    def mailbox_length(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    @property
    def actor_inbox(self) -> Any:
        """The queued messages, oldest first; a copy."""
        with self._lock:
            return list(self._queue)

    # -- sending, from any thread

    def tell(self, message: Any) -> None:
        """Send ``message`` and go on; never blocks.

        Raises:
            ActorDeadError: if the actor has stopped.
            MailboxFull: if its mailbox is bounded, full, and refuses.
        """
        if not self._admit(message):
            raise self._dead()

    def call(
        self, message: Any, timeout: float | None = 5.0, *, control: bool = False
    ) -> Reply[Any]:
        """Send ``message``; awaiting the result suspends until the reply is there.

        As `ActorRef.call`; an actor with a thread never answers inside its caller.

        Raises (at once):
            CallingSelf: from the actor's own thread.
            NodeNotRunning: from another thread than the loop's, if the node has shut down.
        """
        self._check_not_itself()
        reply: Reply[Any] = Reply()
        request = Request(message, reply)
        if control:
            self._deliver_control(request)
        else:
            self._send_request(request)
        if timeout is not None and not reply.done:
            self._system.run_on_loop(self._system.deadlines.add, reply, timeout, self)
        return reply

    def _check_not_itself(self) -> None:
        if self._is_handling():
            msg = f"{self} called itself and would wait for ever; call the method directly"
            raise CallingSelf(msg)

    def _check_may_block(self, call: str, instead: str) -> None:
        self._check_not_itself()
        super()._check_may_block(call, instead)

    def _admit(self, message: Any) -> bool:
        """Deliver ``message``, subject to the mailbox's bound; false if the actor is dead.

        Raises:
            MailboxFull: if the mailbox is full and its policy is to refuse.
        """
        bound = self.actor_class.mailbox
        if bound is None:
            return self._deliver(message)
        dropped: list[Any] = []
        with self._lock:
            if self._state >= STOPPING:
                return False
            waiting = self._queue
            if len(waiting) >= bound.capacity:
                if bound.policy == "refuse":
                    raise MailboxFull(self, bound.capacity, message)
                if bound.policy == "drop_new":
                    dropped.append(message)
                elif (index := oldest_to_drop(waiting)) is not None:
                    dropped.append(waiting[index])
                    del waiting[index]
            if bound.policy != "drop_new" or not dropped:
                waiting.append(message)
                self._tokens.put(None)
        for lost in dropped:
            if type(lost) is Request:
                lost.reply._reject(MailboxFull(self, bound.capacity, lost.message))
            else:
                inner = lost.message if type(lost) is Continue else lost
                self._system.dead_letters.add(self, inner, "the mailbox was full")
        return True

    def _deliver(self, message: Any) -> bool:
        with self._lock:
            if self._state >= STOPPING:
                return False
            aside = None if self._state != SUSPENDED or self._extra is None else self._extra.aside
            if aside is not None and served_when_suspended(message):
                aside.append(message)
            else:
                self._queue.append(message)
        self._tokens.put(None)
        return True

    def _deliver_control(self, message: Any) -> bool:
        with self._lock:
            alive = self._state < STOPPING
            if alive:
                self._control.append(message)
        if alive:
            self._tokens.put(None)
        elif type(message) is Request:
            message.reply._reject(self._dead())
        return alive

    def _deliver_next(self, message: Any) -> None:
        with self._lock:
            if self._state < STOPPING:
                put_next(self._control, message)
        self._tokens.put(None)

    def _deliver_first(self, *messages: Any) -> bool:
        with self._lock:
            if self._state >= STOPPING:
                return False
            self._queue.extendleft(reversed(messages))
        for _ in messages:
            self._tokens.put(None)
        return True

    def _put_in_stash(self, message: Any) -> bool:
        with self._lock:
            return super()._put_in_stash(message)

    def _empty_stash(self) -> Collection[Any]:
        with self._lock:
            return super()._empty_stash()

    def _send_system(self, request: Request) -> None:
        if not self._deliver(request):
            request.reply._reject(self._dead())

    def _send_request(self, request: Request) -> None:
        try:
            stop = type(request.message) is Stop
            alive = self._deliver(request) if stop else self._admit(request)
        except MailboxFull as full:
            request.reply._reject(full)
        else:
            if not alive:
                request.reply._reject(self._dead())

    def _forget(self, unwanted: Callable[[Any], bool]) -> None:
        with self._lock:
            kept = [message for message in self._queue if not unwanted(message)]
            self._queue.clear()
            self._queue.extend(kept)

    # -- called by the engine

    def _close(self, reason: ExitReason) -> None:
        with self._lock:
            self._state = STOPPING
            self._reason = reason

    def _take_all(self) -> Iterable[Any]:
        with self._lock:
            lanes = [] if self._extra is None else take_lanes(self._extra)
            waiting = [*self._control, *lanes, *self._queue]
            self._control.clear()
            self._queue.clear()
        return waiting

    # -- called by its own thread

    def _defer(self) -> From:
        with self._lock:
            return super()._defer()

    def _suspend(self) -> None:
        with self._lock:
            if self._state == RUNNING:
                served = [one for one in self._queue if served_when_suspended(one)]
                self._forget(served_when_suspended)
                self._ensure_extra().aside = deque(served)
                self._state = SUSPENDED

    def _resume(self) -> None:
        with self._lock:
            extra = self._extra
            if self._state != SUSPENDED or extra is None:
                return
            aside, extra.aside = extra.aside, None
            self._queue.extendleft(reversed(aside or ()))
            self._state = RUNNING
            waiting = len(self._queue) + len(self._control)
        # The tokens of what came meanwhile are used up.
        for _ in range(waiting):
            self._tokens.put(None)

    def _is_handling(self) -> bool:
        thread = self._thread
        return thread is not None and thread.ident == get_ident() and not self._gone

    def _occupied(self) -> tuple[int | None, float | None]:
        thread = self._thread
        if thread is None or self._gone or self._state in (IDLE, SUSPENDED):
            return None, None
        return thread.ident, self._since

    def _take_exit(self, reason: ExitReason) -> None:
        with self._lock:
            if self._state >= EXITING:
                return
            self._reason = reason
            self._state = EXITING
        self._tokens.put(None)
