"""What a node lets everybody do with its streams; `Desk` has the arguments and the guarantees."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from puckstream.actors.feed import BACKLOG, Position, SubscriberStatistics
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.errors import InvalidOption
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt
from puckstream.streams.handler import Handler
from puckstream.streams.order import IfRunning, OnAbandoned
from puckstream.streams.policy import Timeout
from puckstream.streams.retry import Retry
from puckstream.streams.shelf import generate_id, topic

if TYPE_CHECKING:
    from puckstream.streams.desk import Desk
    from puckstream.streams.handle import Stream
    from puckstream.streams.snapshot import Snapshot
    from puckstream.streams.stream import CancelOutcome

__all__ = ["StreamFront"]

# How much alike two names are that are taken for one; that of a provider's own, "stream_options"
# for one, is further from all of these.
_NEARLY: Final = 0.84


class StreamFront:
    """The streams of a node; every method can be called from the loop, actors and any thread.

    Each raises `NodeNotRunning` at once if the node is not running.
    """

    def _open_desk(self) -> Desk:
        raise NotImplementedError

    def start_stream(
        self,
        source: Client | Callable[..., Any],
        prompt: Prompt | None = None,
        context: Context | None = None,
        *,
        stream_id: str | None = None,
        timeout: Timeout | float | None = None,
        retry: Retry | int | None = None,
        fallback: Sequence[Client] = (),
        handler: Handler | None = None,
        owner: ActorRef[Any] | None = None,
        subscribe: bool = True,
        if_running: IfRunning = "error",
        on_abandoned: OnAbandoned = "detach",
        grace: float = 10.0,
        **backend_options: Any,
    ) -> Reply[Stream]:
        """Start a stream; see `Desk.start_stream` for arguments, guarantees and exceptions.

        Raises (at once, beside those):
            InvalidOption: for a provider's option that is nearly the name of one of these: a
                misspelt time limit would be none.
        """
        for name, value in backend_options.items():
            for meant in difflib.get_close_matches(name, _OPTIONS, n=1, cutoff=_NEARLY):
                raise InvalidOption(name, value, f"did you mean {meant}=?")
        return self._open_desk().start_stream(
            source,
            prompt,
            context,
            stream_id=stream_id,
            timeout=timeout,
            retry=retry,
            fallback=fallback,
            handler=handler,
            owner=owner,
            subscribe=subscribe,
            if_running=if_running,
            on_abandoned=on_abandoned,
            grace=grace,
            **backend_options,
        )

    def stream(self, stream_id: str) -> Reply[Stream]:
        """Return the handle of a stream that runs or is still kept; see `Desk.stream`."""
        return self._open_desk().stream(stream_id)

    def subscribe(
        self,
        stream_id: str,
        *,
        after: Position = 0,
        subscriber: ActorRef[Any] | None = None,
        backlog: int = BACKLOG,
    ) -> Reply[None]:
        """Subscribe the calling actor, or ``subscriber``, to a stream; see `Desk.subscribe`."""
        return self._open_desk().subscribe(
            stream_id, after=after, subscriber=subscriber, backlog=backlog
        )

    def subscribers(self, stream_id: str) -> Reply[tuple[SubscriberStatistics, ...]]:
        """Return who follows a stream and how far each has come; see `Desk.subscribers`."""
        return self._open_desk().subscribers(stream_id)

    def unsubscribe(
        self, stream_id: str, *, subscriber: ActorRef[Any] | None = None
    ) -> Reply[None]:
        """Stop the events of a stream; see `Desk.unsubscribe`."""
        return self._open_desk().unsubscribe(stream_id, subscriber=subscriber)

    def cancel(self, stream_id: str, *, wait: bool = False, by: Any = None) -> Reply[CancelOutcome]:
        """End a stream now; see `Desk.cancel`."""
        return self._open_desk().cancel(stream_id, wait=wait, by=by)

    def snapshot(self, stream_id: str) -> Reply[Snapshot]:
        """Return a stream as it stands; see `Desk.snapshot`."""
        return self._open_desk().snapshot(stream_id)

    def streaming(self, stream_id: str) -> bool:
        """Whether a stream of that id is running; immediate, from any thread."""
        return self._open_desk().streaming(stream_id)

    @staticmethod
    def topic(stream_id: str) -> str:
        """Return the PubSub topic of a stream: ``puck:stream:<id>``."""
        return topic(stream_id)

    @staticmethod
    def generate_id() -> str:
        """Return a new stream id: URL-safe, and not to be guessed."""
        return generate_id()


_OPTIONS: Final = tuple(
    name
    for name, parameter in inspect.signature(StreamFront.start_stream).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)
