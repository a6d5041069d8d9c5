"""Every exception puckstream raises: one class per decision a caller can take.

::

    PuckstreamError
    ├── ActorDead                 the actor is gone: look up its successor, or give up
    │   └── NameNotFound          nobody has the name: wait for the next who does, or give up
    ├── CallTimeout               no reply in time: retry, or tell the user
    ├── BlockingCall              a blocking call on the loop thread: await instead
    ├── CallingSelf               an actor asked itself: call the method directly
    ├── AlreadyAnswered           a reply was set twice: a bug in the replying code
    ├── MailboxFull               a bounded mailbox refused the message: slow down
    ├── Refuse                    raised by a handler to refuse a request without dying
    ├── NoRequest                 there is nobody to reply to: the message was told, not asked
    ├── StashFull                 the actor has put aside as many messages as it may
    ├── StateNotReplaced          the function that should replace an actor's state failed
    ├── NotInActor                the operation needs a running actor around it
    ├── NodeNotRunning            the node is not started, or has been shut down
    ├── StartFailed               an actor did not start: look at ``reason``
    │   └── StartTimeout          it took too long: give it more time, or up
    ├── NameTaken                 the name belongs to another live actor
    ├── NotRegistered             the actor does not own that key: register it first
    ├── NotJoined                 the actors are no members of that group: nothing to leave
    ├── TaskExists                the actor already owns a task of that name
    ├── InvalidOption             an argument has an impossible value: correct the call
    │   └── InvalidSpec           the same in a child spec or in supervisor flags
    ├── ChildError                an admin call on a supervisor cannot be carried out
    │   ├── ChildNotFound         no child of that id
    │   ├── ChildRunning          the child runs: terminate it first
    │   ├── ChildPresent          the id is known but not running: restart or delete it
    │   ├── ChildRestarting       the child is between two attempts to start
    │   └── TooManyChildren       ``max_children`` is reached
    ├── StreamNotFound            the stream id was never seen here
    ├── StreamExpired             the stream ended and its retention is over
    ├── StreamRunning             a stream of that id is running (``if_running="error"``)
    ├── TooManyStreams            a limit is reached: try later, or elsewhere
    ├── ConversationBusy          an answer is being written: wait for it, stop or interrupt it
    ├── NothingToRetry            the conversation has had no prompt yet: submit one
    ├── UnknownProvider           the client string names no provider
    ├── MissingKey                the provider needs an API key that is not set
    ├── StreamCancelled           the result of a stream that was cancelled was asked for
    ├── StreamError               a stream failed; ``kind`` says how, ``retryable`` whether again
    ├── NotSendable               the value cannot travel to another node: send plain data
    │   └── FrameTooLarge         it would be too large a frame: send it in parts
    ├── InsecureBind              others could read along or join in: say who may, or bind elsewhere
    ├── RemoteError               an error of another node, of a class not known here
    └── BadFrame                  a peer sent what is no frame: the link to it is given up

Messages name the offending value and, where there is one, the remedy.
"""

from __future__ import annotations

import queue
from typing import Any, Literal

__all__ = [
    "ActorDead",
    "AlreadyAnswered",
    "BadFrame",
    "BlockingCall",
    "CallTimeout",
    "CallingSelf",
    "ChildError",
    "ChildNotFound",
    "ChildPresent",
    "ChildRestarting",
    "ChildRunning",
    "ConversationBusy",
    "ErrorKind",
    "FrameTooLarge",
    "InsecureBind",
    "InvalidOption",
    "InvalidSpec",
    "MailboxFull",
    "MissingKey",
    "NameNotFound",
    "NameTaken",
    "NoRequest",
    "NodeNotRunning",
    "NotInActor",
    "NotJoined",
    "NotRegistered",
    "NotSendable",
    "NothingToRetry",
    "PuckstreamError",
    "Refuse",
    "RemoteError",
    "StartFailed",
    "StartTimeout",
    "StashFull",
    "StateNotReplaced",
    "StreamCancelled",
    "StreamError",
    "StreamExpired",
    "StreamNotFound",
    "StreamRunning",
    "TaskExists",
    "TooManyChildren",
    "TooManyStreams",
    "UnknownProvider",
]

ErrorKind = Literal[
    "connection",
    "rate_limit",
    "overloaded",
    "auth",
    "invalid_request",
    "content_filter",
    "server",
    "parse",
    "protocol",
    "crashed",
    "killed",
    "node_down",
]
"""What went wrong with a stream, as ``StreamError.kind``."""


class PuckstreamError(Exception):
    """Base of every exception this package raises."""


class ActorDead(PuckstreamError):
    """The actor has stopped, or stopped before it handled the message."""


class NameNotFound(ActorDead):
    """No live actor has the name ``name``."""

    def __init__(self, name: object) -> None:
        self.name = name
        super().__init__(f"no live actor has the name {name!r}")


class CallTimeout(PuckstreamError, TimeoutError):
    """No reply arrived in time; the actor was not told and a late reply is dropped."""


class BlockingCall(PuckstreamError, RuntimeError):
    """A blocking call was made on the thread that must answer it."""

    def __init__(self, call: str, instead: str) -> None:
        self.call = call
        self.instead = instead
        super().__init__(
            f"{call} would block the event loop that has to produce its result; use {instead}"
        )


class CallingSelf(PuckstreamError, RuntimeError):
    """An actor asked itself and would have waited for ever (OTP ``calling_self``)."""


class AlreadyAnswered(PuckstreamError, queue.Full):
    """A reply already has its value; the second one was not stored.

    It is also a ``queue.Full``, which is what pykka's futures raise here.
    """


class MailboxFull(PuckstreamError):
    """A bounded mailbox refused a message, which is handed back as ``undelivered``."""

    def __init__(self, ref: object, capacity: int, undelivered: Any) -> None:
        self.ref = ref
        self.capacity = capacity
        self.undelivered = undelivered
        super().__init__(f"the mailbox of {ref} is full ({capacity} messages)")


class Refuse(PuckstreamError):
    """Raised by a handler: the asker gets ``error`` and the actor lives on."""

    def __init__(self, error: BaseException | str) -> None:
        self.error = error if isinstance(error, BaseException) else PuckstreamError(error)
        super().__init__(str(self.error))


class NoRequest(PuckstreamError, RuntimeError):
    """The actor is not handling a request, or has given the answer into other hands already."""

    def __init__(self, ref: object) -> None:
        self.ref = ref
        super().__init__(f"{ref} is handling no request that it could still reply to")


class StashFull(PuckstreamError):
    """An actor's ``stash_limit`` is reached; the message, ``undelivered``, was not put aside."""

    def __init__(self, ref: object, limit: int, undelivered: Any) -> None:
        self.ref = ref
        self.limit = limit
        self.undelivered = undelivered
        super().__init__(f"the stash of {ref} is full ({limit} messages)")


class StateNotReplaced(PuckstreamError):
    """An actor's state is as it was: ``__cause__`` is what the function raised, if it did."""

    def __init__(self, ref: object, problem: str) -> None:
        self.ref = ref
        super().__init__(f"the state of {ref} was not replaced: {problem}")


class NotInActor(PuckstreamError, RuntimeError):
    """The operation acts on the calling actor, and no actor is calling."""


class NodeNotRunning(PuckstreamError, RuntimeError):
    """The node is not started yet, or has been shut down."""


class StartFailed(PuckstreamError):
    """An actor did not start; ``reason`` is its exit reason, ``__cause__`` the exception."""

    def __init__(self, what: object, reason: object) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what} did not start: {reason}")


class StartTimeout(StartFailed, TimeoutError):
    """An actor did not start within ``seconds``, and was killed."""

    def __init__(self, what: object, reason: object, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(what, reason)


class NameTaken(PuckstreamError):
    """The name is registered to another live actor, ``holder``."""

    def __init__(self, name: object, holder: object) -> None:
        self.name = name
        self.holder = holder
        super().__init__(f"the name {name!r} is taken by {holder}")


class NotRegistered(PuckstreamError):
    """The actor ``ref`` does not own ``key``; nothing was changed."""

    def __init__(self, key: object, ref: object) -> None:
        self.key = key
        self.ref = ref
        super().__init__(f"{ref} is not registered under {key!r}")


class NotJoined(PuckstreamError):
    """None of the actors ``refs`` is a member of ``group``; nothing was changed."""

    def __init__(self, group: object, refs: tuple[object, ...]) -> None:
        self.group = group
        self.refs = refs
        super().__init__(f"{', '.join(map(str, refs))} did not join the group {group!r}")


class TaskExists(PuckstreamError):
    """The actor already owns a running task of that name."""

    def __init__(self, name: str, owner: object) -> None:
        self.name = name
        super().__init__(f"{owner} already has a task named {name!r}; cancel it first")


class InvalidOption(PuckstreamError, ValueError):
    """An argument has a value that cannot work; ``option`` and ``value`` say which."""

    def __init__(self, option: str, value: object, expected: str) -> None:
        self.option = option
        self.value = value
        super().__init__(f"{option}={value!r} is not possible: {expected}")


class InvalidSpec(InvalidOption):
    """A child spec or a supervisor flag has an impossible value."""


class ChildError(PuckstreamError):
    """An admin call on a supervisor cannot be carried out; nothing was changed."""

    def __init__(self, child_id: object, problem: str) -> None:
        self.child_id = child_id
        super().__init__(f"child {child_id!r} {problem}")


class ChildNotFound(ChildError):
    """The supervisor has no child of that id."""


class ChildRunning(ChildError):
    """The child is running; ``ref`` is its actor."""

    def __init__(self, child_id: object, ref: object) -> None:
        self.ref = ref
        super().__init__(child_id, f"is already running as {ref}")


class ChildPresent(ChildError):
    """The id is known but the child does not run: restart it or delete it."""


class ChildRestarting(ChildError):
    """The child is between two attempts to start."""


class TooManyChildren(ChildError):
    """The supervisor's ``max_children`` is reached."""


class StreamNotFound(PuckstreamError, LookupError):
    """No stream of that id was ever seen on this node."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        super().__init__(f"no stream {stream_id!r} was ever seen here")


class StreamExpired(PuckstreamError, LookupError):
    """The stream ended and its log is no longer kept."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        super().__init__(f"stream {stream_id!r} has ended and its retention is over")


class StreamRunning(PuckstreamError):
    """A stream of that id is running, and ``if_running`` says to refuse."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        super().__init__(
            f"stream {stream_id!r} is running; pass if_running='join' or 'replace', or another id"
        )


class TooManyStreams(PuckstreamError):
    """``where`` (the node, or the client) runs all it may, and its line is full too."""

    def __init__(self, where: str, running: int, waiting: int) -> None:
        self.where = where
        self.running = running
        self.waiting = waiting
        super().__init__(
            f"{where} is at its limit of {running} streams, and {waiting} wait for their turn"
        )


class StreamCancelled(PuckstreamError):
    """The stream was cancelled for ``reason``; ``content`` is what had arrived."""

    def __init__(self, reason: str, content: Any) -> None:
        self.reason = reason
        self.content = content
        super().__init__(f"the stream was cancelled ({reason})")


class ConversationBusy(PuckstreamError):
    """The conversation takes no prompt now; ``conversation_id`` says which."""

    def __init__(self, conversation_id: str, problem: str) -> None:
        self.conversation_id = conversation_id
        super().__init__(f"the conversation {conversation_id!r} takes no prompt now: {problem}")


class NothingToRetry(PuckstreamError):
    """The conversation has had no prompt that could be answered again."""

    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        super().__init__(f"the conversation {conversation_id!r} has had no prompt yet")


class UnknownProvider(PuckstreamError, ValueError):
    """The client string names no provider this installation knows."""

    def __init__(self, provider: str, known: tuple[str, ...]) -> None:
        self.provider = provider
        super().__init__(
            f"unknown provider {provider!r}; write 'provider:model' with one of {', '.join(known)}"
        )


class MissingKey(PuckstreamError):
    """The provider needs an API key that is neither passed nor set in the environment."""

    def __init__(self, provider: str, variable: str) -> None:
        self.provider = provider
        self.variable = variable
        super().__init__(f"{provider} needs an API key: set {variable} or pass api_key=…")


class StreamError(PuckstreamError):
    """A stream, or the model behind it, failed.

    Args:
        kind: what went wrong, one of ``ErrorKind``.
        message: one clear line for a person.
        status: the HTTP status of the upstream's answer, where there was one.
        retryable: whether the same request may succeed later.
        retry_after: how long the upstream asks to wait, in seconds.
        provider: the provider's name, e.g. ``"openai"``.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        provider: str | None = None,
    ) -> None:
        self.kind: ErrorKind = kind
        self.message = message
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.provider = provider
        super().__init__(message)

    def __str__(self) -> str:
        """Return ``kind (status) from provider: message`` on one line."""
        status = "" if self.status is None else f" ({self.status})"
        provider = "" if self.provider is None else f" from {self.provider}"
        return f"{self.kind}{status}{provider}: {self.message}"

    def __repr__(self) -> str:
        return (
            f"StreamError(kind={self.kind!r}, message={self.message!r}, status={self.status!r}, "
            f"retryable={self.retryable!r}, retry_after={self.retry_after!r}, "
            f"provider={self.provider!r})"
        )


class NotSendable(PuckstreamError, TypeError):
    """The value cannot travel to another node; ``why`` says which part of it."""

    def __init__(self, value: object, why: str) -> None:
        self.value = value
        self.why = why
        super().__init__(f"{type(value).__name__} cannot be sent to another node: {why}")


class FrameTooLarge(NotSendable):
    """A frame of that ``kind`` may have ``limit`` bytes, and this one would have ``size``."""

    def __init__(self, kind: str, size: int, limit: int) -> None:
        self.kind = kind
        self.size = size
        self.limit = limit
        super().__init__(b"", f"{size:,} bytes, where a {kind} may have {limit:,}")


class BadFrame(PuckstreamError, ValueError):
    """What a peer sent breaks the protocol in the way ``why``, a word, says."""

    def __init__(self, why: str, detail: str) -> None:
        self.why = why
        super().__init__(f"bad frame ({why}): {detail}")


class RemoteError(PuckstreamError):
    """An error raised on another node, whose class was not registered on this one.

    Args:
        type_name: the name of its class there.
        message: what it said.
    """

    def __init__(self, type_name: str, message: str) -> None:
        self.type_name = type_name
        self.message = message
        super().__init__(f"{type_name}: {message}")


class InsecureBind(PuckstreamError):
    """Others than the node's own user, or its cluster, could get at ``address``."""

    def __init__(self, address: str, why: str) -> None:
        self.address = address
        super().__init__(f"will not use {address!r}: {why}")
