"""Requests that are answered later, by somebody else, or after having been put aside.

The engine answers a request with what its handler returns. A request that has been taken out of
its hands gets a reply to which that means nothing; only an exception still reaches the asker.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from puckstream.actors._pykka import ActorDeadError
from puckstream.actors.mailbox import Request
from puckstream.actors.reply import Reply
from puckstream.errors import AlreadyAnswered, NoRequest, Refuse

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.state import Extra

__all__ = ["From", "abandon", "defer", "put_aside"]


class From:
    """Who asked, for answering later: once, from anywhere (gen_server's ``From``).

    Made by `Actor.reply_to`, and to be given away freely: to a task, a thread, another actor.
    If the asked actor ends first, the asker gets `ActorDead`.
    """

    __slots__ = ("_replies",)

    def __init__(self, reply: Reply[Any]) -> None:
        self._replies = [reply]  # popped in one step, whatever thread comes first

    def __repr__(self) -> str:
        return f"<From: {'waiting' if self.waiting else 'over'}>"

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the answer: it is not given, and in time."""
        return any(not reply.done for reply in tuple(self._replies))

    def answer(self, value: Any = None) -> bool:
        """Answer the request with ``value``.

        Returns:
            Whether the asker gets it; false if he has given up, or the asked actor has ended.

        Raises:
            AlreadyAnswered: if it was answered before, with whatever outcome.
        """
        return self._take(value)._resolve(value)

    def fail(self, error: BaseException | str) -> bool:
        """Answer the request with an exception, which is raised in the asker.

        Args:
            error: the exception; text is made a `PuckstreamError`, as `Refuse` does.

        Returns:
            As `answer`.

        Raises:
            AlreadyAnswered: likewise.
        """
        raised = error if isinstance(error, BaseException) else Refuse(error).error
        return self._take(raised)._reject(raised)

    def _take(self, answer: object) -> Reply[Any]:
        try:
            return self._replies.pop()
        except IndexError:
            msg = f"a request is answered once; {answer!r} came second"
            raise AlreadyAnswered(msg) from None


class _NotByReturn(Reply[Any]):
    """Stands in for the reply of a request that its handler does not answer by returning."""

    def __init__(self, reply: Reply[Any]) -> None:
        self.behind = reply

    def _reject(self, error: BaseException) -> bool:
        self.behind._reject(error)
        return super()._reject(error)


def defer(ref: ActorRef[Any], request: Request) -> From:
    """Take the answer to ``request`` into the hands of whoever gets the result.

    Raises:
        NoRequest: if it is in other hands already.
    """
    reply = request.reply
    if type(reply) is _NotByReturn:
        raise NoRequest(ref)
    extra = ref._ensure_extra()
    if extra.owed is None:
        extra.owed = {}
    extra.owed[reply] = None
    request.reply = _NotByReturn(reply)
    reply._when_done(partial(_settled, extra, reply))
    return From(reply)


def _settled(extra: Extra, reply: Reply[Any]) -> None:
    if extra.owed is not None:
        extra.owed.pop(reply, None)


def put_aside(request: Request) -> Request:
    """Return a request for later, and leave one behind that is answered by an exception only."""
    later = Request(request.message, request.reply)
    request.reply = _NotByReturn(request.reply)
    return later


def abandon(ref: ActorRef[Any], extra: Extra) -> None:
    """Tell those who still wait that ``ref``, which is dead, will not answer."""
    owed, extra.owed = extra.owed, None
    for reply in tuple(owed or ()):
        msg = f"{ref} stopped before it replied"
        reply._reject(ActorDeadError(msg))
