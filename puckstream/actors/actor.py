"""`Actor`: state that only its own handlers touch, scheduled on the node's loop.

It costs no thread and no task. Plain handlers are called; ``async def`` handlers are driven, and
get a task only when they suspend. Blocking work belongs into a `ThreadActor` or
`Actor.run_in_thread`.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import logging
from collections.abc import Callable, Coroutine
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeVar, cast

from puckstream.actors import lifecycle, links, owned_tasks, timers
from puckstream.actors._pykka import PykkaActor, Stop, enlist
from puckstream.actors.bounded import BoundedRef
from puckstream.actors.crash_report import brief
from puckstream.actors.deferred import From
from puckstream.actors.mailbox import Bound
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT, Scheduler
from puckstream.actors.signals import ExitReason, Finish
from puckstream.actors.start import check_start_timeout, start
from puckstream.actors.stash import put_back, stash
from puckstream.actors.state import DEAD, STOPPING
from puckstream.actors.watch import set_idle_timeout
from puckstream.errors import InvalidOption, NodeNotRunning, StartFailed

if TYPE_CHECKING:
    from puckstream.node import Node

__all__ = ["NODE", "Actor"]

T = TypeVar("T")
logger = logging.getLogger("puckstream.actors")

NODE: contextvars.ContextVar[Scheduler | None] = contextvars.ContextVar(
    "puckstream.node", default=None
)
"""The engine of the node that was entered in this context; where ``Actor.start()`` starts."""

_STOP: Final = Stop()
_monitor_numbers = itertools.count(1)


class Actor(PykkaActor):
    """An actor of a puckstream node.

    Subclass it, write ``on_receive``, and start it with ``node.spawn``, ``self.spawn``, as a
    supervisor's child, or pykka's way with ``Actor.start()``.

    An exception in a handler ends the actor with that reason; whoever asked gets the exception,
    links and monitors get their signals, the supervisor decides. Raise `Refuse` to reject a
    request and live.

    ===============  ==========================================================================
    class attribute  meaning
    ===============  ==========================================================================
    ``trap_exit``    exit signals arrive as `Exit` messages; that of the parent runs ``on_stop``
    ``ask_errors``   ``"crash"`` (default), or ``"reply"``: an exception in a request goes to the
                     asker and the actor lives (pykka's rule)
    ``mailbox``      a `Bound`, or ``None`` for no bound
    ``stash_limit``  how many messages `stash` puts aside at most, or ``None`` for no limit
    ===============  ==========================================================================
    """

    trap_exit: bool = False
    ask_errors: Literal["crash", "reply"] = "crash"
    mailbox: ClassVar[Bound | None] = None
    stash_limit: ClassVar[int | None] = None
    child_type: ClassVar[Literal["worker", "supervisor"]] = "worker"

    _ref_class: ClassVar[type[ActorRef[Any]]] = ActorRef
    _threaded: ClassVar[bool] = False
    _has_on_start: ClassVar[bool] = False
    _has_on_stop: ClassVar[bool] = False

    # The engine sets it before the constructor runs.
    _actor_ref: ActorRef[Any] = cast("Any", None)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note which hooks the class has, so that starting 100,000 actors need not look.

        Raises:
            InvalidOption: if a class attribute has an impossible value.
        """
        super().__init_subclass__(**kwargs)
        cls._has_on_start = cls.on_start not in _NO_START
        cls._has_on_stop = cls.on_stop not in _NO_STOP
        if cls.ask_errors not in ("crash", "reply"):
            raise InvalidOption(f"{cls.__name__}.ask_errors", cls.ask_errors, "'crash' or 'reply'")
        limit = cast("object", cls.stash_limit)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidOption(f"{cls.__name__}.stash_limit", limit, "1 or more, or None")
        if cls.mailbox is not None:
            if not isinstance(cast("object", cls.mailbox), Bound):
                raise InvalidOption(f"{cls.__name__}.mailbox", cls.mailbox, "a Bound, or None")
            if not cls._threaded:
                if not issubclass(BoundedRef, cls._ref_class):
                    expected = f"None: a {cls._ref_class.__name__} has no bound"
                    raise InvalidOption(f"{cls.__name__}.mailbox", cls.mailbox, expected)
                cls._ref_class = BoundedRef
        elif cls._ref_class is BoundedRef:
            # It lifts the bound of its base class.
            cls._ref_class = ActorRef

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create the actor; override it freely. Runs before the actor can receive anything.

        Raises:
            TypeError: if a class that has no ``__init__`` of its own is started with arguments.
        """
        # pykka takes them and says nothing. One that is not being started does so here, too, and
        # so does a class that hands on its own.
        started = getattr(self, "_actor_ref", None) is not None
        if (args or kwargs) and started and type(self).__init__ is Actor.__init__:
            given = [*map(repr, args), *(f"{name}=" for name in kwargs)]
            msg = f"{type(self).__name__} takes no arguments; given: {', '.join(given)}"
            if "name" in kwargs:
                msg += " (a name is given by puck.child(…, name=))"
            raise TypeError(msg)

    # -- pykka's surface

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an unsupervised actor on the current node, and return at once (pykka's verb).

        The current node is that of the calling actor, or the one entered with ``with Node()`` in
        this context. The constructor runs in the calling thread; a failing ``on_start`` is logged
        and leaves a dead ref, as in pykka. Prefer ``node.spawn``, which tells the caller.

        Raises:
            NodeNotRunning: if there is no current node.
            Exception: whatever the constructor raises.
        """
        current = CURRENT.get()
        system = NODE.get() if current is None else current._system
        if system is None or system.closed:
            msg = f"{cls.__name__}.start() needs a running node: enter 'with Node()' first"
            raise NodeNotRunning(msg)
        ref = cls._ref_class(system, cls, system.next_id())
        actor = cls.__new__(cls)
        lifecycle.construct(ref, actor, args, kwargs)
        ref._ensure_extra().listed = True
        enlist(ref)
        system.run_on_loop(_launch_listed, system, ref, actor)
        return cast("ActorRef[Self]", ref)

    @staticmethod
    def _create_actor_inbox() -> Any:
        msg = "a puckstream actor's mailbox is in its ref"
        raise TypeError(msg)

    @staticmethod
    def _create_future() -> Reply[Any]:
        reply: Reply[Any] = Reply()
        return reply

    def _start_actor_loop(self) -> None:
        msg = "a puckstream actor is started by its node"
        raise TypeError(msg)

    @property
    def actor_ref(self) -> ActorRef[Self]:
        """The actor's own ref, for giving to others."""
        ref: Any = self._actor_ref
        if ref is None:
            # An instance that nobody started, as tests of plain methods make them.
            ref = self._actor_ref = self._ref_class(cast("Any", None), type(self), 0)
            ref._state = DEAD
        started: ActorRef[Self] = ref
        return started

    @property
    def actor_urn(self) -> str:
        """See `ActorRef.actor_urn`."""
        return self.actor_ref.actor_urn

    @property
    def actor_inbox(self) -> Any:
        """See `ActorRef.actor_inbox`."""
        return self.actor_ref.actor_inbox

    @property
    def actor_stopped(self) -> Any:
        """See `ActorRef.actor_stopped`."""
        return self.actor_ref.actor_stopped

    def stop(self) -> None:
        """Stop this actor after the messages it already has; its reason is normal."""
        ref = self.actor_ref
        system = ref._system
        if self._threaded or get_ident() == system.thread_id:
            ref._deliver(_STOP)
        elif ref._state < STOPPING:
            system.post_message(ref, _STOP)

    # -- hooks

    def on_start(self) -> Any:
        """Run before the first message; may be ``async def``. Raising means it did not start."""

    def on_stop(self) -> Any:
        """Run after a stop, or a trapped exit of the parent; may be ``async def``.

        Not run when a handler raised (``on_failure`` is), when an untrapped exit signal arrives,
        or on kill (OTP's ``terminate``).
        """

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Any:
        """Run after a handler raised; may be ``async def``."""

    def on_receive(self, message: Any, /) -> Any:
        """Handle one message; what it returns answers a request. May be ``async def``."""
        shown = message if isinstance(message, str) else self.format_message(message)
        logging.getLogger("pykka").warning("Unexpected message received by %s: %s", self, shown)

    def format_message(self, message: Any, /) -> str:
        """Return how ``message`` is shown in the report of a crash; in a few words.

        The default is its ``repr``, shortened to 100 characters, in which an object that has a
        method ``in_log()`` is shown by that: stream events hide their text. An actor whose messages
        carry what no log may keep overrides this (OTP's ``format_status``).
        """
        return brief(message)

    def on_parent_exit(self, reason: ExitReason, /) -> bool:
        """Decide whether the parent's end, for ``reason``, ends this actor that traps exits.

        The default is yes (OTP's gen_server).
        """
        del reason
        return True

    # -- what an actor can do

    @property
    def node(self) -> Node:
        """The node this actor runs on.

        Raises:
            NodeNotRunning: if the actor's engine belongs to no node.
        """
        node = self._actor_ref._system.node
        if node is None:
            msg = f"{self} runs on a bare engine, without a node"
            raise NodeNotRunning(msg)
        return node

    def exit(self, reason: object = "normal") -> None:
        """End this actor with ``reason`` once the present handler lets it; no hook is run.

        It is an exit signal like any other: a suspended handler is cancelled, and with
        ``trap_exit`` it arrives as a message instead (OTP ``exit/1`` of oneself differs there);
        use `finish` in actors that trap exits.
        """
        self.actor_ref.exit(reason)

    def finish(self, reason: object = "normal") -> None:
        """End this actor with ``reason`` after the present handler, its ``on_stop`` run.

        Queued messages are not handled any more (gen_server's ``{stop, Reason, State}``).
        """
        ref = self.actor_ref
        message = Finish(ExitReason.of(reason))
        if self._threaded:
            ref._deliver_control(message)
        else:
            ref._system.run_on_loop(ref._deliver_control, message)

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        link: bool = False,
        start_timeout: float | None = None,
        **kwargs: Any,
    ) -> Reply[ActorRef[Any]]:
        """Start an unsupervised actor on the same node.

        Args:
            link: link it to this actor before its ``on_start`` runs. If that fails, the reply
                says so, and no exit signal does.
            start_timeout: how long its ``on_start`` may take, in seconds, before it is killed.

        Returns:
            A reply with its ref, settled when its ``on_start`` has returned; already settled if
            that did not suspend.

        Raises (when awaited):
            StartFailed: if its constructor or ``on_start`` raised.
            StartTimeout: if ``start_timeout`` passed.

        Raises (at once):
            InvalidOption: if ``start_timeout`` is no number of seconds above 0.
        """
        check_start_timeout(start_timeout)
        system = self._actor_ref._system
        partner = self._actor_ref if link else None
        return system.perform(start, system, actor_class, args, kwargs, partner, start_timeout)

    def monitor(self, ref: ActorRef[Any]) -> int:
        """Get one `Down` message when ``ref`` ends; at once if it is dead already.

        Returns:
            The monitor's number. Each call is a monitor of its own.

        Raises:
            InvalidOption: if ``ref`` is an actor of another node.
        """
        links.require_same_node(self._actor_ref, ref)
        number = next(_monitor_numbers)
        self._actor_ref._system.run_on_loop(links.monitor, self._actor_ref, ref, number)
        return number

    def demonitor(self, monitor: int) -> None:
        """Take a monitor back; no `Down` of it arrives afterwards. Unknown numbers are ignored."""
        self._on_loop(links.demonitor, self._actor_ref, monitor)

    def link(self, ref: ActorRef[Any]) -> None:
        """Link this actor and ``ref``: the end of one, unless normal, is a signal to the other.

        Raises:
            ActorDeadError: if ``ref`` is dead and this actor does not trap exits (OTP ``noproc``).
            InvalidOption: if ``ref`` is an actor of another node.
        """
        self._on_loop(links.link, self._actor_ref, ref)

    def unlink(self, ref: ActorRef[Any]) -> None:
        """Remove the link to ``ref``; no exit signal of it arrives afterwards."""
        self._on_loop(links.unlink, self._actor_ref, ref)

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function(*args)`` on the loop's thread, and wait for it in any other."""
        system = self._actor_ref._system
        if system.on_loop():
            function(*args)
        else:
            system.perform(function, *args).get()

    def send_after(self, delay: float, message: Any) -> Callable[[], None]:
        """Tell this actor ``message`` after ``delay`` seconds; ends with the actor.

        Returns:
            A function that takes the timer back.
        """
        return timers.send_after(self._actor_ref, delay, message)

    # -- what a server can do beyond answering at once

    def reply_to(self) -> From:
        """Take the answer to the request being handled into one's own hands, or another's.

        What the handler returns means nothing then; an exception still ends the actor and is the
        asker's. Whoever has the handle answers, once: later, in a task, a thread, another actor.
        If this actor ends first, the asker gets `ActorDead` (gen_server's ``noreply`` and
        ``reply``).

        Raises:
            NoRequest: if the message was told, not asked, or its answer is taken already.
        """
        return self._actor_ref._defer()

    def continue_with(self, message: Any) -> None:
        """Handle ``message`` next, ahead of everything that waits, when this handler is done.

        From ``on_start`` it is handled before any other message, after the starter has been
        answered. Several are handled in the order of the calls (gen_server's ``continue``).
        """
        ref = self._actor_ref
        if self._threaded:
            ref._deliver_next(message)
        else:
            ref._system.run_on_loop(ref._deliver_next, message)

    def set_idle_timeout(self, seconds: float | None, message: Any = None) -> None:
        """Get ``message`` if no other message is taken up for ``seconds`` from now on.

        Once: any message cancels it, and so does a new call. Its handler sets it anew if it shall
        go on (gen_server's ``Timeout``). It runs on the node's clock, and ends with the actor.

        Args:
            seconds: how long, 0 or more; None cancels it.
            message: what is delivered.

        Raises:
            InvalidOption: if ``seconds`` is none of these.
        """
        set_idle_timeout(self._actor_ref, seconds, message)

    def stash(self, message: Any) -> None:
        """Put ``message`` aside, the one being handled or any other, until `unstash_all`.

        The request that is being handled is put aside with it, and is answered when it is handled
        again; what this handler returns means nothing then. What is still aside when the actor
        ends is answered with `ActorDead`, or a dead letter.

        Raises:
            StashFull: if ``stash_limit`` messages are aside already.
        """
        stash(self._actor_ref, message)

    def unstash_all(self) -> int:
        """Put what is aside back, in its order, ahead of what waits; say how many there were."""
        return put_back(self._actor_ref)

    # -- work beside the handlers

    def start_task(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, Any]],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Run ``await function(*args, **kwargs)`` beside this actor, as a task it owns.

        The task's end arrives as a message, `TaskDone` or `TaskFailed`. When the actor ends the
        task is cancelled, and unless it was killed the actor is not down before the task is.

        Raises:
            TaskExists: if a task of that name is running.
        """
        self._on_loop(owned_tasks.start_task, self._actor_ref, name, function, args, kwargs)

    def cancel_task(self, name: str) -> bool:
        """Cancel the owned task ``name``; its end still arrives as a message.

        Returns:
            Whether there was such a task.
        """
        return owned_tasks.cancel_task(self._actor_ref, name)

    async def run_in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run a blocking ``function(*args)`` in a worker thread and await its result.

        Cancelling the wait does not stop the function: nothing in Python can.

        Raises:
            BaseException: whatever the function raises.
        """
        return await self._actor_ref._system.run_in_thread(function, *args)


# The hooks that do nothing, ours and those of a pykka mixin.
_NO_START = (Actor.on_start, cast("Any", PykkaActor).on_start)
_NO_STOP = (Actor.on_stop, cast("Any", PykkaActor).on_stop)


def _launch_listed(system: Scheduler, ref: ActorRef[Any], actor: Actor) -> None:
    if system.closed:
        # Its starter saw the node running, the loop did not any more.
        lifecycle.kill(system, ref)
        return
    with contextlib.suppress(StartFailed):
        # Logged where it happened; pykka's start() has returned the ref already.
        lifecycle.launch(system, ref, actor)
