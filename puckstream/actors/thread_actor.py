"""`ThreadActor`: an actor with a thread of its own, for handlers that block.

Messages are handled in its thread, one at a time; everything others can see of its life (start
handshake, links, monitors, death) happens on the node's loop, as for every other actor.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from types import CoroutineType
from typing import Any, ClassVar, Final, Literal

from puckstream.actors import lifecycle
from puckstream.actors._pykka import PROXY_MESSAGES, Stop, run_proxy_message
from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import NOTHING, Continue, Fetch, Request, SystemRequest
from puckstream.actors.ref import ActorRef
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.signals import KILLED, NORMAL, Crash, ExitReason, Finish, Kill, ParentExit
from puckstream.actors.state import DEAD, EXITING, IDLE, RUNNING, STARTING, STOPPING, SUSPENDED
from puckstream.actors.system_request import serve
from puckstream.actors.thread_cell import ThreadCell
from puckstream.errors import NodeNotRunning, Refuse

__all__ = ["ThreadActor"]

logger = logging.getLogger("puckstream.actors")

_ENGINE_REQUESTS: Final = frozenset({Stop, SystemRequest})


class ThreadRef(ThreadCell):
    """The ref of an actor that has its own thread, and what that thread does."""

    __slots__ = ()

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

    def _abandon_thread(self) -> None:
        """Leave the thread to itself, a zombie for as long as its handler runs."""
        with self._lock:
            request, self._request = self._request, None
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
                lane: deque[Any] | None = self._control or self._queue
                if self._state == SUSPENDED:
                    lane = None if self._extra is None else self._extra.aside
                if not lane:
                    return True
                message = lane.popleft()
                request = message if type(message) is Request else None
                if self._state != SUSPENDED:
                    self._state = RUNNING
                    self._since = self._system.clock.now()
                    if request is not None and type(request.message) not in _ENGINE_REQUESTS:
                        self._request = request
        if exiting:
            self._finish(actor, self._reason or KILLED, None)
            return False
        extra = self._extra
        if extra is not None and extra.watch is not None:
            extra.watch.incoming(message)
        goes_on = self._handle(actor, message if request is None else request.message, request)
        with self._lock:
            self._request = None
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
            if kind is SystemRequest and request is not None:
                serve(self, actor, request)
                return True
            if kind is ParentExit:
                if actor.on_parent_exit(message.reason):
                    return self._finish(actor, message.reason, "stop")
                return True
            if kind in PROXY_MESSAGES:
                result = _no_coroutine(run_proxy_message(actor, message))
            elif kind is Fetch:
                fetched = self._fetch(message)
                result = None if fetched is NOTHING else _no_coroutine(actor.on_receive(fetched))
            else:
                handled = message.message if kind is Continue else message
                result = _no_coroutine(actor.on_receive(handled))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it ends the actor only
            handling = message.message if kind is Continue else message
            return self._failed(actor, request, error, handling)
        if request is not None:
            request.reply._resolve(result)
        return True

    def _fetch(self, entry: Fetch) -> Any:
        """Have the loop fetch the message of ``entry``, and wait for it."""
        try:
            fetched = self._system.perform(entry.take).get()
        except NodeNotRunning:
            return NOTHING
        if self._extra is not None and self._extra.watch is not None:
            self._extra.watch.incoming(fetched)
        return fetched

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
            if self._state == EXITING:
                # The signal came first, and its reason counts.
                return self._finish(actor, self._reason or KILLED, None)
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
