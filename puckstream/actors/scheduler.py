"""The engine of one node: a run queue of actors with work, served by one loop callback.

Rules of this file:

* Everything but `post`, `post_message`, `run_on_loop` and `perform` belongs to the loop's thread.
* An actor is in the run queue at most once, and handles one message at a time, also across an
  ``await``; `puckstream.actors.state` has the states.
* A turn is bounded in time, so that the loop serves its sockets and timers between turns.
* Handlers run in their actor's own `contextvars` context.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from puckstream.actors import lifecycle, links
from puckstream.actors._pykka import PROXY_MESSAGES, Stop, run_proxy_message
from puckstream.actors.crash_report import CrashReports
from puckstream.actors.driver import Driver
from puckstream.actors.inbound import Inbound
from puckstream.actors.mailbox import (
    NOTHING,
    Continue,
    DeadLetters,
    Fetch,
    Request,
    SystemRequest,
)
from puckstream.actors.signals import KILLED, NORMAL, ExitReason, Finish, ParentExit
from puckstream.actors.state import (
    EXITING,
    IDLE,
    QUEUED,
    RUNNING,
    STOPPING,
    SUSPENDED,
)
from puckstream.actors.system_request import serve
from puckstream.actors.timers import Deadlines
from puckstream.actors.vessel import Vessel
from puckstream.actors.watch import take
from puckstream.clock import Clock, LoopClock
from puckstream.errors import NotInActor, Refuse

if TYPE_CHECKING:
    from puckstream.actors.actor import Actor
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.registry import Registry
    from puckstream.actors.service import Service
    from puckstream.node import Node

__all__ = ["CURRENT", "Scheduler"]

T = TypeVar("T")
logger = logging.getLogger("puckstream.actors")

CURRENT: Final[contextvars.ContextVar[ActorRef[Any] | None]] = contextvars.ContextVar(
    "puckstream.actor", default=None
)
"""The actor whose code is running, its tasks included."""

# A turn longer than this would delay sockets and timers; measured in docs/performance.md.
TURN: Final = 0.004
# Messages one actor may handle before the next one in the queue has its turn.
BATCH: Final = 64
# Requests that may be answered inside their caller, without a turn of the loop, before the loop
# gets one all the same; and how deep such calls may nest.
INLINE: Final = 128
# Empty mailboxes kept for the next actor that needs one.
SPARE: Final = 1024
DEPTH: Final = 4

_ENGINE_MESSAGES: Final = frozenset(
    {Request, Stop, ParentExit, Finish, Fetch, Continue, *PROXY_MESSAGES}
)
_ENGINE_REQUESTS: Final = frozenset({Stop, SystemRequest, *PROXY_MESSAGES})


class Scheduler:
    """Runs the actors of one node on one asyncio loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock | None = None, node: Node | None = None
    ) -> None:
        self.loop = loop
        self.thread_id = get_ident()
        self.clock: Clock = clock or LoopClock(loop)
        self.node = node
        self.names: Registry | None = None
        self.services: list[Service] = []  # closed when the node ends
        self.actors: dict[int, ActorRef[Any]] = {}
        self.ready: deque[ActorRef[Any]] = deque()
        self.armed = False
        self.spare_boxes: list[deque[Any]] = []
        self.dead_letters = DeadLetters()
        self.crash_reports = CrashReports(self.clock)
        self.deadlines = Deadlines(self.clock)
        self.threads: set[threading.Thread] = set()
        self.zombies: dict[object, ActorRef[Any]] = {}
        self.closed = False
        self.running: ActorRef[Any] | None = None
        self.turn_began = 0.0
        self.depth = 0
        self._inline_left = INLINE
        self.inbound = Inbound(self)
        self.post = self.inbound.post
        self.post_message = self.inbound.post_message
        self.perform = self.inbound.perform
        self.driver = Driver(self)
        self._ids = itertools.count(1)
        self._context = contextvars.copy_context()
        self._executor: ThreadPoolExecutor | None = None
        self.next_id: Callable[[], int] = self._ids.__next__

    # -- from any thread

    def on_loop(self) -> bool:
        """Whether this is the loop's thread."""
        return get_ident() == self.thread_id

    @staticmethod
    def on_any_loop() -> bool:
        """Whether this thread runs an event loop, which blocking would stop."""
        return asyncio._get_running_loop() is not None  # None, not an exception

    def run_on_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` now on the loop's thread, else as soon as it gets to it.

        Raises:
            NodeNotRunning: if the node has shut down.
        """
        if get_ident() == self.thread_id:
            function(*args)
        else:
            self.post(function, *args)

    # -- the run queue

    def arm(self) -> None:
        """Ask the loop for a turn."""
        self.armed = True
        self.loop.call_soon(self.turn)

    def enqueue(self, ref: ActorRef[Any], state: int | None = None) -> None:
        """Put ``ref``, which is not queued, into the run queue."""
        if state is not None:
            ref._state = state
        self.ready.append(ref)
        if not self.armed:
            self.arm()

    def turn(self) -> None:
        """Serve actors that have work until there is none, or the turn's time is over."""
        self.armed = True
        self._inline_left = INLINE
        ready = self.ready
        batch = self._batch
        inbound = self.inbound
        self.turn_began = time.perf_counter()
        deadline = self.turn_began + TURN
        served = 0
        look = 1
        try:
            inbound.accept()
            while ready:
                ref = ready.popleft()
                # This is `_activate`, without its call: half of a short message's cost is here.
                if ref._state == QUEUED:
                    ref._state = RUNNING
                    self.running = ref
                    context = ref._context
                    if context is None:
                        context = self.new_context(ref)
                    context.run(batch, ref)
                elif ref._state == EXITING:
                    self._end_signalled(ref)
                elif ref._state == SUSPENDED:
                    self._serve_suspended(ref)
                served += 1
                if served == look:
                    # Looking at the clock is a tenth of a short message: soon, then seldom.
                    look += min(look, 16)
                    if inbound.entries:
                        inbound.accept()
                    if time.perf_counter() > deadline:
                        break
        finally:
            self.armed = False
            self.running = None
            if ready or inbound.entries:
                self.arm()

    # -- one actor's turn

    def _activate(self, ref: ActorRef[Any]) -> None:
        """Have a queued actor handle messages inside its caller; see `turn`."""
        ref._state = RUNNING
        context = ref._context
        if context is None:
            context = self.new_context(ref)
        outer, self.running = self.running, ref
        try:
            context.run(self._batch, ref)
        finally:
            self.running = outer

    def new_context(self, ref: ActorRef[Any]) -> Context:
        """Give ``ref`` a context of its own, a copy of the node's."""
        context = ref._context = self._context.copy()
        context.run(CURRENT.set, ref)
        return context

    def _batch(self, ref: ActorRef[Any]) -> None:
        actor = ref._actor
        if actor is None:
            return
        receive = actor.on_receive
        left = BATCH
        message: Any = None
        try:
            while True:
                extra = ref._extra
                if extra is not None and (extra.control or extra.watch is not None):
                    message = take(extra, ref._box)
                    if message is NOTHING:
                        break
                else:
                    box = ref._box
                    if not box:
                        ref._state = IDLE
                        if box is not None:
                            # An empty deque is 600 bytes; idle actors share some.
                            ref._box = None
                            spare = self.spare_boxes
                            if len(spare) < SPARE:
                                spare.append(box)
                        return
                    message = box.popleft()
                if type(message) in _ENGINE_MESSAGES:
                    if self._engine_message(ref, actor, message):
                        return
                else:
                    result = receive(message)
                    if (
                        result is not None
                        and type(result) is CoroutineType
                        and self.driver.drive(ref, result, None, message)
                    ):
                        return
                if ref._state != RUNNING:
                    break
                left -= 1
                if not left:
                    break
        except BaseException as error:  # noqa: BLE001  # whatever it is, it ends the actor only
            self.failed(ref, actor, message, error)
        self.settle(ref)

    def settle(self, ref: ActorRef[Any]) -> None:
        """Decide what becomes of an actor whose handler has returned."""
        state = ref._state
        if state == RUNNING:
            box = ref._box
            if box or (ref._extra is not None and ref._extra.control):
                self.enqueue(ref, QUEUED)
            else:
                ref._state = IDLE
                if box is not None:
                    ref._box = None
                    if len(self.spare_boxes) < SPARE:
                        self.spare_boxes.append(box)
        elif state == EXITING:
            lifecycle.terminate(self, ref, ref._reason or KILLED, None)

    def _end_signalled(self, ref: ActorRef[Any]) -> None:
        """End an actor that a signal has hit, unless a handler of it still runs."""
        # What it was queued for while suspended may be done, and it at work: then the end of the
        # cancelled handler is its end.
        if ref._extra is None or ref._extra.vessel is None:
            lifecycle.terminate(self, ref, ref._reason or KILLED, None)

    def _serve_suspended(self, ref: ActorRef[Any]) -> None:
        """Have a suspended actor handle what it is asked about itself, and requests to end."""
        actor, extra = ref._actor, ref._extra
        while ref._state == SUSPENDED and actor is not None and extra is not None and extra.aside:
            message = extra.aside.popleft()
            try:
                self.run_in_context(ref, self._engine_message, ref, actor, message)
            except BaseException as error:  # noqa: BLE001  # it ends the actor only
                self.failed(ref, actor, message, error)

    def _engine_message(self, ref: ActorRef[Any], actor: Actor, message: Any) -> bool:
        """Handle a message that is the engine's; true if the actor takes no more now."""
        kind = type(message)
        if kind is Request:
            inner = message.message
            kind = type(inner)
            if kind not in _ENGINE_REQUESTS:
                ref._request = message
                result = actor.on_receive(inner)
            elif kind is Stop:
                lifecycle.answer_stop(ref, message.reply)
                lifecycle.terminate(self, ref, NORMAL, "stop")
                return True
            elif kind is SystemRequest:
                serve(ref, actor, message)
                return False
            else:
                ref._request = message
                result = run_proxy_message(actor, inner)
            if result is not None and type(result) is CoroutineType:
                if self.driver.drive(ref, result, message, inner):
                    return True
            else:
                message.reply._resolve(result)
            ref._request = None
            return False
        return self._tell_engine(ref, actor, kind, message)

    def _tell_engine(self, ref: ActorRef[Any], actor: Actor, kind: type[Any], message: Any) -> bool:
        """Handle a message of the engine's that nobody waits for the reply to, as above."""
        if kind is Stop:
            lifecycle.terminate(self, ref, NORMAL, "stop")
            return True
        if kind is ParentExit:
            if actor.on_parent_exit(message.reason):
                lifecycle.terminate(self, ref, message.reason, "stop")
                return True
            return False
        if kind is Finish:
            lifecycle.terminate(self, ref, message.reason, "stop")
            return True
        if kind is Continue:
            message = message.message
            result = actor.on_receive(message)
        elif kind is Fetch:
            message = message.take()
            if ref._extra is not None and ref._extra.watch is not None:
                ref._extra.watch.incoming(message)
            result = None if message is NOTHING else actor.on_receive(message)
        else:
            result = run_proxy_message(actor, message)
        return type(result) is CoroutineType and self.driver.drive(ref, result, None, message)

    # -- handlers

    def run_in_context(self, ref: ActorRef[Any], function: Callable[..., T], *args: Any) -> T:
        """Call ``function(*args)`` as the code of ``ref``."""
        context = ref._context
        outer, self.running = self.running, ref
        try:
            if context is None:
                return self.new_context(ref).run(function, *args)
            if CURRENT.get() is ref:
                # Already inside: a context cannot be entered twice.
                return function(*args)
            return context.run(function, *args)
        finally:
            self.running = outer

    def failed(self, ref: ActorRef[Any], actor: Actor, message: Any, error: BaseException) -> None:
        """Decide what an exception from a handler means; the actor lives on after a refusal."""
        ref._request = None
        reply = message.reply if type(message) is Request else None
        if isinstance(error, Refuse):
            if reply is not None:
                reply._reject(error.error)
            else:
                logger.info("%s refused a message nobody waits for: %s", ref, error)
            return
        if reply is not None:
            if isinstance(error, Exception) and actor.ask_errors == "reply":
                logger.info("Exception returned from %s to caller:", ref, exc_info=error)
                reply._reject(error)
                return
            reply._reject(lifecycle.told_to_asker(ref, error))
        if ref._state < STOPPING:
            wrapped = type(message) in (Request, Continue)
            handled = message.message if wrapped else message
            if ref._state == EXITING:
                # The signal came first, and its reason counts.
                if not isinstance(error, asyncio.CancelledError):
                    self.crash_reports.report(ref, error, handled)
                lifecycle.terminate(self, ref, ref._reason or KILLED, None)
            else:
                lifecycle.crash(self, ref, error, handled)
        if isinstance(error, KeyboardInterrupt):
            raise error

    # -- requests answered inside their caller

    def may_inline(self) -> bool:
        """Whether a request may be handled now, inside its caller."""
        return self._inline_left > 0 and self.depth < DEPTH

    def run_inline(self, ref: ActorRef[Any], request: Request) -> None:
        """Have an idle actor handle ``request`` now."""
        self._inline_left -= 1
        self.depth += 1
        ref._open_box().append(request)
        ref._state = QUEUED
        try:
            self._activate(ref)
        finally:
            self.depth -= 1

    def is_handling(self, ref: ActorRef[Any]) -> bool:
        """Whether the code now running is a handler of ``ref`` (not a task it owns)."""
        running = self.running
        if running is not None and CURRENT.get() is running:
            # Its caller's task is the current one, but the caller need not wait for this.
            return running is ref
        vessel = None if ref._extra is None else ref._extra.vessel
        return vessel is not None and asyncio.current_task(self.loop) is vessel.task

    # -- exits

    def send_exit(self, target: ActorRef[Any], reason: ExitReason) -> None:
        """Send ``reason`` to ``target`` as an exit signal of the running code; from any thread."""
        self.run_on_loop(links.signal, self, target, reason, CURRENT.get())

    def kill(self, ref: ActorRef[Any]) -> None:
        """End ``ref`` at once."""
        lifecycle.kill(self, ref)

    def haunt(self, ref: ActorRef[Any], runner: Vessel | asyncio.Task[Any]) -> None:
        """Cancel what still runs of a killed actor, and count it until it has ended."""
        task = runner.task if isinstance(runner, Vessel) else runner
        if not task.done():
            self.zombies[task] = ref
            task.add_done_callback(lambda done: self.zombies.pop(done, None))
            runner.cancel()

    def current_actor(self, operation: str) -> Actor:
        """Return the actor whose code is calling.

        Raises:
            NotInActor: if there is none.
        """
        ref = CURRENT.get()
        if ref is None or ref._actor is None:
            msg = f"{operation} acts for the calling actor, and no actor is calling"
            raise NotInActor(msg)
        return cast("Actor", ref._actor)

    # -- threads for blocking work

    def run_in_thread(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run a blocking ``function(*args)`` in a worker thread of the node."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(thread_name_prefix="puckstream-worker")
        context = contextvars.copy_context()
        return self.loop.run_in_executor(self._executor, lambda: context.run(function, *args))

    # -- the end

    async def close(self, grace: float = 2.0) -> None:
        """End the engine: kill what still lives, wait ``grace`` seconds for zombies. Idempotent."""
        if self.closed:
            return
        self.closed = True
        for ref in tuple(self.actors.values()):
            lifecycle.kill(self, ref)
        self.deadlines.close()
        await self.driver.close()
        waiting = {task for task in self.zombies if isinstance(task, asyncio.Task)}
        if waiting:
            await asyncio.wait(waiting, timeout=grace)
        if self.threads:
            # A copy first: threads that end take themselves off the set.
            await asyncio.to_thread(_join, tuple(self.threads.copy()), grace)
        for zombie, ref in self.zombies.copy().items():
            logger.error("%s was killed but still runs: %r", ref, zombie)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self.inbound.close()


def _join(threads: tuple[threading.Thread, ...], grace: float) -> None:
    deadline = time.monotonic() + grace
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
