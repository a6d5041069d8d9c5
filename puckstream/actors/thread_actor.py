"""`ThreadActor`: an actor with a thread of its own, for handlers that block.

Messages are handled in its thread, one at a time; everything others can see of its life (start
handshake, links, monitors, death) happens on the node's loop, as for every other actor.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from puckstream.actors import lifecycle, links
from puckstream.actors._pykka import (
    PROXY_MESSAGES,
    Stop,
    run_proxy_message,
    strike_off,
)
from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Request
from puckstream.actors.ref import ActorRef
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.signals import KILLED, NORMAL, Crash, ExitReason, Finish, ParentExit
from puckstream.actors.state import DEAD, EXITING, IDLE, RUNNING, STARTING, STOPPING
from puckstream.errors import MailboxFull, NodeNotRunning, Refuse, StartFailed

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler

__all__ = ["ThreadActor"]

logger = logging.getLogger("puckstream.actors")


class _Wake:
    """Makes the thread look at its control lane and its state."""


_WAKE: Final = _Wake()


class ThreadRef(ActorRef[Any]):
    """The ref of an actor that has its own thread."""

    __slots__ = ("_control", "_end", "_queue", "_thread")

    def __init__(self, system: Scheduler, actor_class: Any, id: int) -> None:  # the field's name
        super().__init__(system, actor_class, id)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._control: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # Guards the step from alive to ending, which the thread and the loop may both take.
        self._end = threading.Lock()

    @property
    def mailbox_length(self) -> int:
        """How many messages wait."""
        return self._queue.qsize()

    def tell(self, message: Any) -> None:
        """Send ``message`` and go on; never blocks.

        Raises:
            ActorDeadError: if the actor has stopped.
            MailboxFull: if its mailbox is bounded, full, and refuses.
        """
        if self._state >= STOPPING:
            raise self._dead()
        self._admit(message)

    def _admit(self, message: Any) -> None:
        bound = self.actor_class.mailbox
        if bound is not None and self._queue.qsize() >= bound.capacity:
            full = MailboxFull(self, bound.capacity, message)
            if bound.policy == "refuse":
                raise full
            if bound.policy == "drop_old":
                try:
                    message, oldest = self._queue.get_nowait(), message
                except queue.Empty:
                    oldest = message
                else:
                    self._queue.put(oldest)
            self._system.run_on_loop(_drop, self._system, self, message, full)
            return
        self._put(message)

    def _put(self, message: Any) -> None:
        self._queue.put(message)
        if self._state >= STOPPING:
            # The thread may have emptied its queue just before this arrived.
            self._drain()

    def _deliver(self, message: Any) -> bool:
        if self._state >= STOPPING:
            return False
        self._put(message)
        return True

    def _send_request(self, request: Request) -> None:
        if self._state >= STOPPING:
            request.reply._reject(self._dead())
        elif type(request.message) is Stop:
            self._put(request)
        else:
            try:
                self._admit(request)
            except MailboxFull as full:
                request.reply._reject(full)

    def _deliver_control(self, message: Any) -> bool:
        if self._state >= STOPPING:
            if type(message) is Request:
                message.reply._reject(self._dead())
            return False
        self._control.put(message)
        self._queue.put(_WAKE)
        if self._state >= STOPPING:
            self._drain()
        return True

    def _drain(self) -> None:
        for lane in (self._control, self._queue):
            while True:
                try:
                    message = lane.get_nowait()
                except queue.Empty:
                    break
                if message is not _WAKE:
                    lifecycle.return_to_sender(self._system, self, message)

    # -- called by the engine, on the loop's thread

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
        self._thread.start()

    def _take_exit(self, reason: ExitReason) -> None:
        with self._end:
            if self._state >= EXITING:
                return
            self._reason = reason
            self._state = EXITING
        self._queue.put(_WAKE)

    def _abandon_thread(self) -> None:
        with self._end:
            self._state = STOPPING
        self._drain()
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._system.zombies[thread] = self
        self._queue.put(_WAKE)

    # -- the thread

    def _run(self, actor: ThreadActor) -> None:
        system = self._system
        try:
            self._live(actor)
        finally:
            system.threads.discard(cast("Any", self._thread))
            system.zombies.pop(self._thread, None)

    def _live(self, actor: ThreadActor) -> None:
        try:
            _no_coroutine(actor.on_start())
        except BaseException as error:  # reported to the starter
            if self._ensure_extra().listed:
                logger.error("Unhandled exception in %s:", self, exc_info=error)
            if self._shut(Crash(error)):
                self._report(_thread_start_failed, self, error)
            return
        with self._end:
            if self._state == STARTING:
                self._state = IDLE
        self._report(_thread_started, self)
        while self._next(actor, self._queue.get()):
            pass

    def _report(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop take the next step of this actor's life, if it still has a node."""
        # Without one it has been killed, perhaps while it blocked, and nobody is left to tell.
        with contextlib.suppress(NodeNotRunning):
            self._system.post(function, *args)

    def _next(self, actor: ThreadActor, message: Any) -> bool:
        """Handle ``message``, and the control lane ahead of it; false when the actor ends."""
        lane = self._control
        while self._state < EXITING and not lane.empty():
            if not self._handle(actor, lane.get()):
                self._give_back(message)
                return False
        if self._state >= STOPPING:
            self._give_back(message)
            return False
        if self._state == EXITING:
            self._give_back(message)
            self._finish(actor, self._reason or KILLED, None)
            return False
        return message is _WAKE or self._handle(actor, message)

    def _give_back(self, message: Any) -> None:
        if message is not _WAKE:
            lifecycle.return_to_sender(self._system, self, message)

    def _handle(self, actor: ThreadActor, message: Any) -> bool:
        """Handle one message; false if that was the last."""
        request = message if type(message) is Request else None
        inner = message.message if request is not None else message
        if type(inner) is Stop:
            if request is not None:
                reply = request.reply
                self._system.run_on_loop(self._on_death, lambda _ref, _reason: reply._resolve(None))
            self._finish(actor, NORMAL, "stop")
            return False
        if type(inner) is Finish:
            self._finish(actor, inner.reason, "stop")
            return False
        if type(inner) is ParentExit:
            if actor.on_parent_exit(inner.reason):
                self._finish(actor, inner.reason, "stop")
                return False
            return True
        with self._end:
            if self._state == IDLE:
                self._state = RUNNING
        try:
            if isinstance(inner, PROXY_MESSAGES):
                result = _no_coroutine(run_proxy_message(actor, inner))
            else:
                result = _no_coroutine(actor.on_receive(inner))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it ends the actor only
            return self._failed(actor, request, error)
        if request is not None:
            request.reply._resolve(result)
        with self._end:
            if self._state == RUNNING:
                self._state = IDLE
        return True

    def _failed(self, actor: ThreadActor, request: Request | None, error: BaseException) -> bool:
        with self._end:
            if self._state == RUNNING:
                self._state = IDLE
        if isinstance(error, Refuse):
            if request is not None:
                request.reply._reject(error.error)
            return True
        if request is not None:
            request.reply._reject(lifecycle.told_to_asker(self, error))
            if isinstance(error, Exception) and actor.ask_errors == "reply":
                logger.info("Exception returned from %s to caller:", self, exc_info=error)
                return True
        if self._state < STOPPING:
            logger.error("Unhandled exception in %s:", self, exc_info=error)
            hook: lifecycle.Hook = "failure" if isinstance(error, Exception) else "stop"
            self._finish(actor, Crash(error), hook, error)
        return False

    def _shut(self, reason: ExitReason) -> bool:
        """Close the mailbox; false if the actor was killed meanwhile."""
        with self._end:
            if self._state >= STOPPING:
                return False
            self._state = STOPPING
            self._reason = reason
        self._drain()
        extra = self._extra
        if extra is not None:
            if extra.listed:
                extra.listed = False
                strike_off(self)
            if extra.event is not None:
                extra.event.set()
        return True

    def _finish(
        self,
        actor: ThreadActor,
        reason: ExitReason,
        hook: lifecycle.Hook | None,
        error: BaseException | None = None,
    ) -> None:
        if not self._shut(reason):
            return
        try:
            if hook == "stop":
                _no_coroutine(actor.on_stop())
            elif hook == "failure" and error is not None:
                _no_coroutine(actor.on_failure(type(error), error, error.__traceback__))
        except BaseException as failure:  # noqa: BLE001  # the actor ends all the same
            lifecycle._hook_failed(self, failure)
        self._report(lifecycle._end_tasks, self._system, self)


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


def _no_coroutine(result: Any) -> Any:
    if type(result) is CoroutineType:
        result.close()
        msg = "a ThreadActor's hooks and handlers are plain functions, not 'async def'"
        raise TypeError(msg)
    return result


def _drop(system: Scheduler, ref: ThreadRef, message: Any, full: MailboxFull) -> None:
    if type(message) is Request:
        message.reply._reject(full)
    elif message is not _WAKE:
        system.dead_letters.add(ref, message, "the mailbox was full")


def _thread_started(ref: ThreadRef) -> None:
    extra = ref._ensure_extra()
    started, extra.started = extra.started, None
    if started is not None:
        started._resolve(ref)


def _thread_start_failed(ref: ThreadRef, error: BaseException) -> None:
    links.disown(ref)
    extra = ref._ensure_extra()
    started, extra.started = extra.started, None
    failure = StartFailed(ref.actor_class.__name__, Crash(error))
    failure.__cause__ = error
    if started is not None:
        started._reject(failure)
    if ref._state != DEAD:
        lifecycle._end_tasks(ref._system, ref)
