"""`Conversation`: one chat of many turns, supervised, for many subscribers."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast, get_args

from puckstream.actors.feed import Position
from puckstream.actors.mailbox import Fetch
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.errors import ActorDead, InvalidOption, NodeNotRunning
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt, check_prompt
from puckstream.streams.conversation_actor import ConversationActor
from puckstream.streams.conversation_home import start_child
from puckstream.streams.conversation_table import PREFIX, Close, Stop, Submission, Table, WhenBusy
from puckstream.streams.following import Following, check_position
from puckstream.streams.history import History, conversation_message
from puckstream.streams.order import make_order
from puckstream.streams.shelf import check_id, generate_id
from puckstream.streams.turns import (
    ClosedEvent,
    ConversationSnapshot,
    SnapshotEvent,
)
from puckstream.supervision.child import ChildSpec, child
from puckstream.supervision.handle import DynamicSupervisorRef, SupervisorRef

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler
    from puckstream.node import Node
    from puckstream.streams.handle import Stream

__all__ = ["Conversation"]

T = TypeVar("T")

_POLICIES: Final = get_args(WhenBusy)
# What a stream can be started with, and what it is if nothing is said.
_STREAM_OPTIONS: Final[Mapping[str, Any]] = {
    "timeout": None,
    "retry": None,
    "fallback": (),
    "handler": None,
    "on_abandoned": "detach",
    "grace": 10.0,
}
_OWN_OPTIONS: Final = ("stream_id", "subscribe", "if_running", "owner")


class Conversation:
    """A chat with a model: its turns, and the answer in progress.

    It is a handle that can be shared: every method works on the node's loop, in actors and in any
    thread, and what answers later returns a `Reply`. Behind it stands an actor under a
    supervisor, which starts one stream for each prompt. If that actor crashes the next one goes
    on where it was: the turns, the prompts that wait and the answer in progress are kept outside
    of it, and nothing is asked of the model twice.

    ::

        conversation = await puck.Conversation(client).start(node)
        stream = await conversation.submit("Why is the sky blue?")
        print((await stream.result()).text)

    It can stand in a list of children as well: ``puck.Node([conversation.child_spec()])``.

    Args:
        client: who answers.
        id: printable text of 1 to 200 characters; a new unguessable one by default. Two
            conversations of one id cannot run on one node.
        context: the turns there are already.
        when_busy: what happens to a prompt while an answer is being written: ``"reject"`` (it
            fails with `ConversationBusy`), ``"interrupt"`` (the answer is stopped, and prompts
            that wait are dropped) or ``"enqueue"`` (it waits).
        keep_stopped: whether an answer that was stopped or interrupted becomes a turn as far as
            it got, together with its prompt. It never takes the place of a complete one.
        max_waiting: how many prompts may wait; one more fails with `ConversationBusy`.
        options: of every stream: ``timeout``, ``retry``, ``fallback``, ``handler``,
            ``on_abandoned``, ``grace``, and the provider's own; see `Desk.start_stream`.

    Raises:
        InvalidOption: if an argument has an impossible value.
    """

    def __init__(
        self,
        client: Client,
        *,
        id: str | None = None,  # as streams and children have one
        context: Context | None = None,
        when_busy: WhenBusy = "reject",
        keep_stopped: bool = True,
        max_waiting: int = 100,
        **options: Any,
    ) -> None:
        if not isinstance(cast("object", client), Client):
            raise InvalidOption("client", client, "a puckstream Client")
        if not isinstance(cast("object", keep_stopped), bool):
            raise InvalidOption("keep_stopped", keep_stopped, "True or False")
        if type(max_waiting) is not int or max_waiting < 0:
            raise InvalidOption("max_waiting", max_waiting, "a whole number, 0 or more")
        for option in _OWN_OPTIONS:
            if option in options:
                raise InvalidOption(option, options[option], "a conversation decides it itself")
        _check_options(client, context, options)
        conversation_id = generate_id() if id is None else check_id(id)
        self._table = Table(
            History(conversation_id, context or Context()),
            client,
            options,
            when_busy=_policy(when_busy),
            keep_stopped=keep_stopped,
            max_waiting=max_waiting,
        )

    def __repr__(self) -> str:
        state = "open" if self._table.open else "not open"
        return f"<Conversation {self.id!r}: {state}, {len(self.context)} turns>"

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self._table.history.id

    @property
    def topic(self) -> str:
        """The PubSub topic of its events, which is also its actor's name."""
        return self._table.topic

    @property
    def context(self) -> Context:
        """The turns as they stand; immediate, from any thread, also after the end."""
        return self._table.history.context

    @property
    def ref(self) -> ActorRef[Any] | None:
        """The actor; a dead one while the next is being started, ``None`` before the first."""
        return self._table.owner

    # -- start and end

    @classmethod
    def find(cls, node: Node, conversation_id: str) -> Self | None:
        """Return the open conversation of that id on ``node``; immediate, from any thread.

        Raises:
            NodeNotRunning: if the node is not running.
        """
        node._open()
        ref = node.whereis(f"{PREFIX}{conversation_id}")
        actor = None if ref is None else ref._actor
        if not isinstance(actor, ConversationActor):
            return None
        found = cls.__new__(cls)
        found._table = actor.table
        return found

    def child_spec(self) -> ChildSpec:
        """Return what a supervisor starts it by; restarted after a crash only."""
        return child(
            ConversationActor,
            self._table,
            id=f"conversation {self.id}",
            name=self.topic,
            restart="transient",
        )

    def start(
        self, node: Node, *, under: SupervisorRef | DynamicSupervisorRef | None = None
    ) -> Reply[Self]:
        """Start it on ``node``, or start it again there with its turns.

        Args:
            node: a node that runs.
            under: its supervisor. By default the dynamic supervisor ``conversations`` below
                ``app``, which the first conversation brings with it. A child of ``app`` that
                starts conversations in its own ``on_start`` must name another: ``app`` is
                waiting for it.

        Returns:
            A reply with this conversation, settled when it takes prompts.

        Raises (when awaited):
            NameTaken: if a conversation of that id runs on the node.
            StartFailed: if it did not start.
            ActorDead: if the supervisor has ended.

        Raises (at once):
            NodeNotRunning: if the node is not running.
        """
        return start_child(node, self.child_spec(), under).map(lambda _ref: self)

    def close(self) -> Reply[None]:
        """End the conversation: its answer in progress, prompts that wait, its actor. Idempotent.

        Its context stays readable, and it can be started again.

        Raises (at once):
            NodeNotRunning: if it was never started.
        """
        table = self._table

        def end() -> Reply[None]:
            if not table.open:
                return _settled(None)
            closed: Reply[None] = Reply()

            def look(event: object) -> None:
                if isinstance(event, ClosedEvent):
                    forget()
                    closed._resolve(None)

            forget = table.history.on_append(look)
            table.order(Close())
            return closed

        if self._is_over():
            return _settled(None)
        return self._system.perform(end)

    # -- what can be asked of it

    def submit(self, prompt: Prompt, *, when_busy: WhenBusy | None = None) -> Reply[Stream]:
        """Have ``prompt`` answered.

        Args:
            prompt: text, or a list of content parts.
            when_busy: in place of the conversation's own policy.

        Returns:
            A reply with the stream that answers, settled when that is started: with
            ``"enqueue"`` in its turn, with ``"interrupt"`` when the present one has ended.

        Raises (when awaited):
            ConversationBusy: if an answer is being written, with ``"reject"``; or too many
                prompts wait.
            StreamCancelled: if it was dropped while it waited: by `stop`, or by an interruption.
            TooManyStreams: if the node, or the client, is at its limit.
            ActorDead: if the conversation has ended.
            NodeNotRunning: if the node is shutting down.

        Raises (at once):
            InvalidOption: if an argument has an impossible value.
            NodeNotRunning: if it was never started.
        """
        return self._submit(check_prompt(prompt), when_busy)

    def retry(self, *, when_busy: WhenBusy | None = None) -> Reply[Stream]:
        """Have the last prompt answered again; the new answer takes the place of the last.

        Until it is complete the old one stays; it stays if the new one fails or is stopped.

        Returns:
            What `submit` returns.

        Raises (when awaited):
            NothingToRetry: if there was no prompt yet.
            Exception: what `submit` raises.

        Raises (at once):
            InvalidOption: if ``when_busy`` has an impossible value.
            NodeNotRunning: if it was never started.
        """
        return self._submit(None, when_busy)

    def _submit(self, prompt: Any, when_busy: WhenBusy | None) -> Reply[Stream]:
        submission = Submission(
            prompt,
            self._table.when_busy if when_busy is None else _policy(when_busy),
            contextvars.copy_context(),
            CURRENT.get(),
        )
        self._order(submission, submission.opened)
        return submission.opened

    def stop(self, *, wait: bool = False) -> Reply[bool]:
        """Stop the answer in progress, and drop the prompts that wait.

        When the reply comes the answer has ended and is, as far as it got, among the turns if it
        is to be kept. Never fails while the conversation is open.

        Args:
            wait: have the reply wait until the upstream connection is closed.

        Returns:
            A reply: whether there was anything to stop.

        Raises (when awaited):
            ActorDead: if the conversation has ended.

        Raises (at once):
            NodeNotRunning: if it was never started.
        """
        stop = Stop(wait, CURRENT.get())
        self._order(stop, stop.reply)
        return stop.reply

    def _order(self, order: Submission | Stop, reply: Reply[Any]) -> None:
        def put() -> None:
            try:
                self._table.order(order)
            except ActorDead as error:
                reply._reject(error)

        if self._is_over():
            reply._reject(self._table.refusal())
        else:
            self._system.run_on_loop(put)

    def wait_idle(self) -> Reply[Context]:
        """Return a reply with the turns, settled when no answer is in progress and no prompt waits.

        At once if that is so, or the conversation has ended. A stream that is done has become a
        turn by then.

        Raises (at once):
            NodeNotRunning: if it was never started.
        """
        table = self._table

        def wait() -> Reply[Context]:
            if table.idle or not table.open:
                return _settled(table.history.context)
            idle: Reply[Context] = Reply()
            table.idle_waiters.append(idle)
            return idle

        return _settled(self.context) if self._is_over() else self._system.perform(wait)

    # -- who follows

    def snapshot(self) -> Reply[ConversationSnapshot]:
        """Return the conversation as it stands: turns, draft, and how many prompts wait.

        Raises (at once):
            NodeNotRunning: if it was never started.
        """
        if self._is_over():
            return _settled(self._table.snapshot())
        return self._system.perform(self._table.snapshot)

    def subscribe(
        self, after: Position | None = None, *, subscriber: ActorRef[Any] | None = None
    ) -> Reply[None]:
        """Subscribe an actor: it gets ``("puck_conversation", id, event)`` messages.

        First comes ``("snapshot", …)``, the conversation as it stands, and then every event behind
        it, without gap or duplicate. With ``after=n`` there is no snapshot, but the events behind
        number ``n``. After ``("closed",)`` the subscription is over. Subscribing again while
        subscribed changes nothing.

        Args:
            after: a seq (0: from the beginning), or ``"now"``.
            subscriber: who; the calling actor by default.

        Raises (when awaited):
            ActorDead: if the subscriber has stopped, or the conversation has ended.

        Raises (at once):
            NotInActor: if no actor is calling and no ``subscriber`` is given.
            InvalidOption: if an argument is of the wrong type.
            NodeNotRunning: if it was never started.
        """
        table, history = self._table, self._table.history
        ref = table.node.pubsub.service.own(subscriber)
        check_position(after)

        def subscribe() -> Reply[None]:
            if not table.open:
                raise table.refusal()
            joining = table.joining.get(ref)
            if joining is not None:
                return joining
            pubsub, position = table.node.pubsub, 0 if after is None else after
            if after is None:
                if ref in pubsub.subscribers(table.topic):
                    return _settled(None)
                position = history.last_seq
                event = SnapshotEvent(table.snapshot(), seq=position)
                message = conversation_message(self.id, event)
                # As the events that follow: nothing pushes it out of a bounded mailbox.
                ref._deliver(Fetch(lambda: message))
            subscribed = pubsub.subscribe(table.topic, ref, feed=history, after=position)
            if not subscribed.done:
                table.joining[ref] = subscribed
                subscribed._when_done(lambda: _forget(table, ref))
            return subscribed

        return self._system.perform(subscribe)

    def unsubscribe(self, *, subscriber: ActorRef[Any] | None = None) -> Reply[None]:
        """Stop the events; who is not subscribed is no error.

        Raises (at once):
            NotInActor: if no actor is calling and no ``subscriber`` is given.
            InvalidOption: if ``subscriber`` is no ref.
            NodeNotRunning: if it was never started.
        """
        return self._table.node.pubsub.unsubscribe(self.topic, subscriber)

    def follow(self, after: Position | None = None) -> Following:
        """Follow the conversation by iteration: a snapshot first, or the events behind ``after``.

        Raises:
            InvalidOption: if ``after`` is no position.
            NodeNotRunning: if it was never started.
        """
        check_position(after)
        return Following(self._system, self._table, after)

    # -- inside

    @property
    def _system(self) -> Scheduler:
        system = self._table.system
        if system is None:
            msg = f"{self!r} has not been started: 'await conversation.start(node)'"
            raise NodeNotRunning(msg)
        return system

    def _is_over(self) -> bool:
        """Whether its node has shut down, so that nothing changes any more."""
        return self._system.closed and not self._table.open


def _policy(when_busy: object) -> WhenBusy:
    if when_busy not in _POLICIES:
        raise InvalidOption("when_busy", when_busy, "'reject', 'interrupt' or 'enqueue'")
    return cast("WhenBusy", when_busy)


def _check_options(client: Client, context: Context | None, options: Mapping[str, Any]) -> None:
    """Refuse here what the first prompt's stream would be refused for."""
    known = {name: options.get(name, default) for name, default in _STREAM_OPTIONS.items()}
    own = {name: value for name, value in options.items() if name not in known}
    fixed: dict[str, Any] = {
        "caller": None,
        "stream_id": None,
        "owner": None,
        "subscribe": False,
        "if_running": "error",
    }
    make_order(client, "", context, own, **fixed, **known)


def _forget(table: Table, ref: ActorRef[Any]) -> None:
    table.joining.pop(ref, None)


def _settled(value: T) -> Reply[T]:
    reply: Reply[T] = Reply()
    reply._resolve(value)
    return reply
