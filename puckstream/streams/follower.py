"""A function as subscriber: an actor that calls it with every event.

So it is called one event at a time and in order, may be ``async``, lags without delaying anybody,
and fails alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.feed import Position
from puckstream.actors.pubsub import check_position
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import InvalidOption
from puckstream.streams.shelf import topic

if TYPE_CHECKING:
    from puckstream.streams.desk import Desk
    from puckstream.streams.events import StreamEvent
    from puckstream.streams.log import Log

__all__ = ["Follower", "ThreadFollower", "follow"]


class Follower(Actor):
    """Calls a function with every event of one stream, and ends with the stream."""

    def __init__(
        self,
        stream_id: str,
        callback: Callable[[Any], object],
        transform: Callable[[StreamEvent], object] | None,
    ) -> None:
        super().__init__()
        self._stream_id = stream_id
        self._callback = callback
        self._transform = transform

    def on_receive(self, message: Any) -> Any:
        """Pass one event on; what else may come is none of the function's business."""
        match message:
            case ("puck_stream", self._stream_id, event):
                return self._pass_on(event)
            case _:
                return None

    def _pass_on(self, event: StreamEvent) -> Any:
        if event.terminal:
            # Behind this message: the end is passed on first.
            self.stop()
        item = event if self._transform is None else self._transform(event)
        return None if item is None else self._callback(item)


class ThreadFollower(Follower, ThreadActor):
    """The same in a thread of its own, where the function may block."""


def follow(
    desk: Desk,
    log: Log,
    callback: Callable[[Any], object],
    *,
    after: Position,
    transform: Callable[[StreamEvent], object] | None,
    backlog: int,
    in_thread: bool,
) -> Reply[ActorRef[Any]]:
    """Start a follower and subscribe it; see `Stream.subscribe`."""
    check_position(after, backlog)
    for name, function in (("callback", callback), ("transform", transform)):
        if function is not None and not callable(function):
            raise InvalidOption(name, function, "a function of an event")
    if in_thread and inspect.iscoroutinefunction(callback):
        raise InvalidOption("in_thread", in_thread, "an 'async def' runs on the node's loop")
    system = desk.system
    actor_class = ThreadFollower if in_thread else Follower

    def start() -> Reply[ActorRef[Any]]:
        ref = lifecycle.spawn(system, actor_class, (log.id, callback, transform), {})
        feed = desk.feed(log)
        subscribed = desk.pubsub.subscribe(
            topic(log.id), ref, feed=feed, after=after, backlog=backlog
        )
        subscribed._when_done(lambda: _settled(desk, log, ref, subscribed))
        return subscribed.map(lambda _nothing: ref)

    return system.perform(start)


def _settled(desk: Desk, log: Log, ref: ActorRef[Any], subscribed: Reply[None]) -> None:
    """Stop a follower that no event will: there is none behind where it began."""
    try:
        subscribed.get()
    except BaseException:  # noqa: BLE001  # handed to whoever waits, by the reply of `follow`
        over = True
    else:
        over = log.terminal is not None and ref not in desk.pubsub.subscribers(topic(log.id))
    if over and ref.is_alive():
        # Behind what is in its mailbox, which may be the end.
        ref.stop(block=False)
