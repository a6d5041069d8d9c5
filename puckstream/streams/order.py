"""One start of a stream, as it was asked for: everything checked before anything happens."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from puckstream.actors.ref import ActorRef
from puckstream.errors import InvalidOption
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt
from puckstream.streams.handler import Handler
from puckstream.streams.policy import Timeout, check_span
from puckstream.streams.retry import Retry
from puckstream.streams.shelf import check_id, generate_id
from puckstream.streams.source import Source, as_sources

__all__ = ["IfRunning", "OnAbandoned", "Order", "make_order"]

IfRunning: TypeAlias = Literal["error", "join", "replace"]
"""What a start does if a stream of that id is running."""

OnAbandoned: TypeAlias = Literal["detach", "cancel"]
"""What becomes of a stream that nobody follows."""


@dataclass(frozen=True, slots=True)
class Order:
    """What `Desk.start_stream` was asked for; ``grace`` is ``None`` where nobody need follow."""

    sources: tuple[Source, ...]
    stream_id: str
    timeout: Timeout
    retry: Retry
    handler: Handler | None
    caller: ActorRef[Any] | None
    owner: ActorRef[Any] | None
    subscribe: bool
    if_running: IfRunning
    grace: float | None
    context: contextvars.Context
    """A copy of the caller's."""


def make_order(
    source: Client | Callable[..., Any],
    prompt: Prompt | None,
    context: Context | None,
    backend_options: Mapping[str, Any],
    *,
    caller: ActorRef[Any] | None,
    stream_id: str | None,
    timeout: Timeout | float | None,
    retry: Retry | int | None,
    fallback: Sequence[Client],
    handler: Handler | None,
    owner: ActorRef[Any] | None,
    subscribe: bool,
    if_running: IfRunning,
    on_abandoned: OnAbandoned,
    grace: float,
) -> Order:
    """Return the order; see `Desk.start_stream` for the arguments.

    Raises:
        InvalidOption: if an argument has an impossible value.
    """
    if if_running not in ("error", "join", "replace"):
        raise InvalidOption("if_running", if_running, "'error', 'join' or 'replace'")
    if on_abandoned not in ("detach", "cancel"):
        raise InvalidOption("on_abandoned", on_abandoned, "'detach' or 'cancel'")
    if handler is not None and not isinstance(cast("object", handler), Handler):
        raise InvalidOption("handler", handler, "an instance of a subclass of puckstream.Handler")
    if handler is not None and handler.timeout is not None:
        check_span("handler.timeout", handler.timeout)
    if owner is not None and not isinstance(cast("object", owner), ActorRef):
        raise InvalidOption("owner", owner, "an actor's ref")
    seconds = check_span("grace", grace)
    return Order(
        stream_id=generate_id() if stream_id is None else check_id(stream_id),
        timeout=Timeout.of(timeout),
        retry=Retry.of(retry),
        sources=as_sources(source, prompt, context, backend_options, fallback),
        handler=handler,
        caller=caller,
        owner=owner,
        subscribe=subscribe,
        if_running=if_running,
        grace=seconds if on_abandoned == "cancel" else None,
        context=contextvars.copy_context(),
    )
