"""`ThreadActor`: an actor with a thread of its own, for handlers that block.

Messages are handled in its thread, one at a time; everything others can see of its life (start
handshake, links, monitors, death) happens on the node's loop, as for every other actor.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from puckstream.actors import lifecycle
from puckstream.actors._pykka import PROXY_MESSAGES, Stop, run_proxy_message
from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Request, oldest_to_drop
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.signals import (
    KILLED,
    NORMAL,
    Crash,
    ExitReason,
    Finish,
    Kill,
    ParentExit,
)
from puckstream.actors.state import DEAD, EXITING, IDLE, RUNNING, STARTING, STOPPING
from puckstream.errors import CallingSelf, MailboxFull, NodeNotRunning, Refuse

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler

__all__ = ["ThreadActor"]

logger = logging.getLogger("puckstream.actors")


class ThreadRef(ActorRef[Any]):
    """The ref of an actor that has its own thread."""

    __slots__ = ("_control", "_current", "_gone", "_lock", "_queue", "_thread", "_tokens")

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
        self._current: Request | None = None
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
        thread = self._thread
        if thread is not None and thread.ident == get_ident() and not self._gone:
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
                self._system.dead_letters.add(self, lost, "the mailbox was full")
        return True

    def _deliver(self, message: Any) -> bool:
        with self._lock:
            if self._state >= STOPPING:
                return False
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
            waiting = [*self._control, *self._queue]
            self._control.clear()
            self._queue.clear()
        return waiting

    def _start_thread(self, actor: ThreadActor) -> None:
        context = self._system._context.copy()
        context.run(CURRENT.set, self)
        self._thread = threading.Thread(
            target=context.run,
            args=(self._run, actor),
            name=f"{self.actor_class.__name__}-{self.id}",
            daemon=actor.use_daemon_thread,
        )
        self._system.threads.add(self._thread)
        try:
            self._thread.start()
        except RuntimeError:
            self._system.threads.discard(self._thread)
            raise

    def _take_exit(self, reason: ExitReason) -> None:
        with self._lock:
            if self._state >= EXITING:
                return
            self._reason = reason
            self._state = EXITING
        self._tokens.put(None)

    def _abandon_thread(self) -> None:
        """Leave the thread to itself, a zombie for as long as its handler runs."""
        with self._lock:
            request, self._current = self._current, None
        if request is not None:
            request.reply._reject(self._dead())
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._system.zombies[thread] = self
            if self._gone:
                self._system.zombies.pop(thread, None)
        self._tokens.put(None)

    # -- the thread

    def _run(self, actor: ThreadActor) -> None:
        system = self._system
        try:
            self._live(actor)
        finally:
            self._gone = True
            if self._thread is not None:
                system.threads.discard(self._thread)
            system.zombies.pop(self._thread, None)

    def _live(self, actor: ThreadActor) -> None:
        try:
            _no_coroutine(actor.on_start())
        except BaseException as error:  # noqa: BLE001  # reported to the starter
            self._report(_thread_start_failed, self, error)
            return
        with self._lock:
            started = self._state == STARTING
            if started:
                self._state = IDLE
        if started:
            self._report(_thread_started, self)
        while self._step(actor):
            pass

    def _report(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop take the next step of this actor's life, if it still has a node."""
        # Without one it has been killed, perhaps while it blocked, and nobody is left to tell.
        with contextlib.suppress(NodeNotRunning):
            self._system.post(function, *args)

    def _step(self, actor: ThreadActor) -> bool:
        """Wait for one message, the control lane's first, and handle it; false when it ends."""
        self._tokens.get()
        message: Any = None
        request: Request | None = None
        with self._lock:
            if self._state >= STOPPING:
                return False
            exiting = self._state == EXITING
            if not exiting:
                lane = self._control or self._queue
                if not lane:
                    return True
                message = lane.popleft()
                self._state = RUNNING
                request = message if type(message) is Request else None
                if request is not None and type(request.message) is not Stop:
                    self._current = request
        if exiting:
            self._finish(actor, self._reason or KILLED, None)
            return False
        goes_on = self._handle(actor, message if request is None else request.message, request)
        with self._lock:
            self._current = None
            if self._state == RUNNING:
                self._state = IDLE
        return goes_on

    def _handle(self, actor: ThreadActor, message: Any, request: Request | None) -> bool:
        """Handle one message; false if that was the last."""
        kind = type(message)
        try:
            if kind is Stop:
                if request is not None:
                    lifecycle.answer_stop(self, request.reply)
                return self._finish(actor, NORMAL, "stop")
            if kind is Finish:
                return self._finish(actor, message.reason, "stop")
            if kind is ParentExit:
                if actor.on_parent_exit(message.reason):
                    return self._finish(actor, message.reason, "stop")
                return True
            if kind in PROXY_MESSAGES:
                result = _no_coroutine(run_proxy_message(actor, message))
            else:
                result = _no_coroutine(actor.on_receive(message))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it ends the actor only
            return self._failed(actor, request, error, message)
        if request is not None:
            request.reply._resolve(result)
        return True

    def _failed(
        self, actor: ThreadActor, request: Request | None, error: BaseException, message: Any
    ) -> bool:
        if isinstance(error, Refuse):
            if request is not None:
                request.reply._reject(error.error)
            else:
                logger.info("%s refused a message nobody waits for: %s", self, error)
            return True
        if request is not None:
            request.reply._reject(lifecycle.told_to_asker(self, error))
            if isinstance(error, Exception) and actor.ask_errors == "reply":
                logger.info("Exception returned from %s to caller:", self, exc_info=error)
                return True
        if self._state < STOPPING:
            self._system.crash_reports.report(self, error, message)
            hook: lifecycle.Hook = "failure" if isinstance(error, Exception) else "stop"
            self._finish(actor, Crash(error), hook, error)
        return False

    def _finish(
        self,
        actor: ThreadActor,
        reason: ExitReason,
        hook: lifecycle.Hook | None,
        error: BaseException | None = None,
    ) -> Literal[False]:
        """Close the mailbox and run ``hook``; the loop does the rest. Always false."""
        with self._lock:
            if self._state >= STOPPING:
                # Killed meanwhile, and all is done.
                return False
            self._close(reason)
        lifecycle.clear_mailbox(self._system, self)
        try:
            if hook == "stop":
                _no_coroutine(actor.on_stop())
            elif hook == "failure" and error is not None:
                _no_coroutine(actor.on_failure(type(error), error, error.__traceback__))
        except BaseException as failure:  # noqa: BLE001  # the actor ends all the same
            lifecycle.hook_failed(self, failure)
        self._report(_thread_ended, self)
        return False


class ThreadActor(Actor):
    """An actor whose hooks and handlers run in a thread of its own, where they may block.

    It can do what every actor can. Its handlers are plain functions; ``ask`` and ``get`` may
    block in them. Nothing can interrupt a handler that blocks: a killed one becomes a zombie,
    counted until it returns, while everybody who watches is told at once.
    """

    use_daemon_thread: ClassVar[bool] = False
    """Whether the thread may be cut off when the program ends (pykka's flag)."""

    _ref_class: ClassVar[type[ActorRef[Any]]] = ThreadRef
    _threaded: ClassVar[bool] = True

    def exit(self, reason: object = "normal") -> None:
        """End this actor with ``reason`` once the present handler returns; see `Actor.exit`."""
        why = ExitReason.of(reason)
        if self.trap_exit or type(why) is Kill:
            super().exit(why)
        else:
            # Not by way of the loop: the thread would go on with its queue meanwhile.
            self.actor_ref._take_exit(why)


def _no_coroutine(result: Any) -> Any:
    if type(result) is CoroutineType:
        result.close()
        msg = "a ThreadActor's hooks and handlers are plain functions, not 'async def'"
        raise TypeError(msg)
    return result


def _thread_started(ref: ThreadRef) -> None:
    extra = ref._ensure_extra()
    started, extra.started = extra.started, None
    extra.starter = None
    if started is not None:
        started._resolve(ref)


def _thread_start_failed(ref: ThreadRef, error: BaseException) -> None:
    if ref._state != DEAD:
        lifecycle.start_failed(ref._system, ref, error)


def _thread_ended(ref: ThreadRef) -> None:
    extra = ref._extra
    if extra is not None and extra.started is not None:
        # It was told to end while it was starting.
        lifecycle.end_quietly(ref)
    lifecycle.end_tasks(ref._system, ref)
