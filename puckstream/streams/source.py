"""Where a stream's chunks come from: a model through a client, or the user's own function.

A source is run once, by the worker task of one stream actor. Whatever it raises is told as the
`StreamError` the stream ends with.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from puckstream.backends.base import Chunk, Request, Resources
from puckstream.errors import ActorDead, InvalidOption, NodeNotRunning, StreamError
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt
from puckstream.streams.events import StartInfo
from puckstream.streams.limits import Limits

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.streams.threads import Threads

__all__ = ["Done", "Emit", "Run", "Source", "as_sources"]

# Chunks a generator may yield without a pause before the loop gets its turn.
_BREATH = 64

Emit = Callable[[Any], None]
"""Hands a `Chunk`, or plain text, to the stream; from the worker's task or any thread.

Once the stream has ended it raises `asyncio.CancelledError`, so that a function which swallowed
its cancellation stops here.
"""


class Done(NamedTuple):
    """What a function may return: the conversation as it now stands, and a last chunk."""

    context: Context | None = None
    last_chunk: Chunk | str | None = None


class Run(NamedTuple):
    """What a source needs to run."""

    emit: Emit
    resources: Resources
    threads: Threads
    """Where a blocking function runs."""
    owner: ActorRef[Any]
    """The stream's actor."""
    ended: Callable[[], bool]
    """Whether the attempt has ended, so that whatever still comes would be in vain."""


class Source(Protocol):
    """Something that makes the chunks of one stream."""

    @property
    def info(self) -> StartInfo:
        """What ``started`` says about it."""
        ...

    @property
    def context(self) -> Context:
        """The conversation up to and with the user's turn."""
        ...

    @property
    def key(self) -> Hashable:
        """What its limits count by."""
        ...

    @property
    def limits(self) -> Limits | None:
        """How many of its kind may run at once."""
        ...

    @property
    def base_url(self) -> str | None:
        """Where it is, as far as it says; for telemetry."""
        ...

    @property
    def input_chars(self) -> int | None:
        """How many characters of text it sends, for estimated usage; ``None`` if it cannot say."""
        ...

    async def run(self, run: Run) -> Done | None:
        """Emit every chunk, in order, and return.

        Cancelling it closes whatever it has open before it ends.

        Raises:
            StreamError: how the stream failed.
            Exception: a user's function may raise anything.
        """
        ...


class ClientSource:
    """One request to a model."""

    def __init__(
        self, client: Client, prompt: Prompt, context: Context | None, options: Mapping[str, Any]
    ) -> None:
        self.info = StartInfo(client.model or None, client.provider)
        self.context = (context or Context()).user(prompt)
        self.key = client.limits_key
        self.limits = client.limits
        base_url = getattr(client.backend, "base_url", None)
        self.base_url = base_url if isinstance(base_url, str) else None
        self._backend = client.backend
        messages = self.context.to_messages(client.system_prompt)
        self.input_chars = sum(_text_chars(message.get("content")) for message in messages)
        self._request = Request(messages, options)

    async def run(self, run: Run) -> None:
        """Send the request and emit the answer."""
        emit = run.emit
        async with self._backend.open(self._request, run.resources) as chunks:
            async for chunk in chunks:
                emit(chunk if type(chunk) is Chunk else _as_chunk(chunk, "backend"))


class FunctionSource:
    """A user's function; see `as_source` for the kinds there are."""

    def __init__(self, function: Callable[..., Any], context: Context | None) -> None:
        self.info = StartInfo()
        self.context = context or Context()
        self.key = None
        self.limits = None
        self.base_url = None
        self.input_chars = None
        self._function = function

    async def run(self, run: Run) -> Done | None:
        """Call the function its own way."""
        function = self._function
        emit = _emitter(run)
        if inspect.isasyncgenfunction(_innermost(function)):
            await _iterate(function(), emit)
            return None
        if inspect.iscoroutinefunction(_innermost(function)):
            return _checked_result(await function(emit), emit)
        return await self._run_in_thread(emit, run)

    async def _run_in_thread(self, emit: Emit, run: Run) -> Done | None:
        stopped = threading.Event()

        def emit_or_stop(item: Any) -> None:
            if stopped.is_set():
                raise asyncio.CancelledError
            emit(item)

        def call() -> Any:
            return None if stopped.is_set() else self._function(emit_or_stop)

        thread = run.threads.run(call)
        try:
            result, error = await asyncio.shield(thread)
        except asyncio.CancelledError:
            stopped.set()
            try:
                # It ends at its next emit; the stream's actor is not down before it has.
                await asyncio.wait([thread])
            except asyncio.CancelledError:
                run.threads.leave(thread, run.owner)
                raise
            raise
        if error is not None:
            raise error
        return _checked_result(result, emit)


def _text_chars(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    if isinstance(content, Mapping):
        # Images and the like are not billed by the length of what encodes them.
        return _text_chars(cast("Mapping[str, object]", content).get("text"))
    if isinstance(content, list | tuple):
        return sum(map(_text_chars, cast("Sequence[object]", content)))
    return 0


async def _iterate(chunks: AsyncGenerator[Any, None], emit: Emit) -> None:
    count = 0
    try:
        async for item in chunks:
            emit(item)
            count += 1
            if not count % _BREATH:
                # One that never waits would keep the whole node waiting, its own cancel included.
                await asyncio.sleep(0)
    finally:
        await chunks.aclose()


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return function
    return getattr(function, "__call__", function)  # noqa: B004  # an object with async __call__


def _emitter(run: Run) -> Emit:
    tell, ended = run.emit, run.ended

    def emit(item: Any) -> None:
        if ended():
            # A CancelledError is no Exception: 'except Exception' in the function lets it by.
            raise asyncio.CancelledError
        if type(item) is not Chunk:
            item = Chunk("content", item) if type(item) is str else _as_chunk(item, "function")
        try:
            tell(item)
        except (ActorDead, NodeNotRunning):
            raise asyncio.CancelledError from None

    return emit


def _as_chunk(item: Any, whose: str) -> Chunk:
    if isinstance(item, str):
        return Chunk("content", item)
    if isinstance(item, Chunk):  # a subclass, whose further fields nobody would know
        return Chunk(item.type, item.content, item.metadata)
    problem = f"emitted {type(item).__name__}; emit text or a puckstream Chunk"
    raise _off_protocol(problem, whose)


def _checked_result(result: Any, emit: Emit) -> Done | None:
    if result is None:
        return None
    if not isinstance(result, Done):
        if inspect.iscoroutine(result):
            result.close()
        problem = f"returned {type(result).__name__}; return None or Done(context, chunk)"
        raise _off_protocol(problem)
    if result.context is not None and not isinstance(cast("object", result.context), Context):
        problem = f"returned Done with a {type(result.context).__name__} for a context"
        raise _off_protocol(problem)
    if result.last_chunk is not None:
        emit(result.last_chunk)
    return result


def _off_protocol(what: str, whose: str = "function") -> StreamError:
    return StreamError("protocol", f"the stream's {whose} {what}")


def as_sources(
    origin: object,
    prompt: Prompt | None,
    context: Context | None,
    options: Mapping[str, Any],
    fallback: object = (),
) -> tuple[Source, ...]:
    """Make the sources of a stream, in their order, out of what the caller passed.

    Args:
        origin: a `Client`; an async generator function of chunks or text; an
            ``async def f(emit)``; or a blocking ``def f(emit)``, run in a thread.
        prompt: what to ask; only with a client, and needed there.
        context: the conversation so far.
        options: passed on to each client's provider.
        fallback: the clients that follow the first one.

    Raises:
        InvalidOption: if these do not go together.
    """
    if context is not None and not isinstance(cast("object", context), Context):
        raise InvalidOption("context", context, "a puckstream Context")
    others = _clients(fallback)
    if isinstance(origin, Client):
        if prompt is None:
            raise InvalidOption("prompt", prompt, "a client needs something to answer")
        return tuple(ClientSource(one, prompt, context, options) for one in (origin, *others))
    if not callable(origin) or isinstance(origin, type):
        raise InvalidOption("source", origin, "a Client, or a function that makes chunks")
    if prompt is not None:
        raise InvalidOption("prompt", "…", "a function is called without one; bind it yourself")
    if options:
        option = next(iter(options))
        raise InvalidOption(option, options[option], "options go to a client's provider")
    if others:
        raise InvalidOption("fallback", others, "a client falls back on others; a function calls")
    return (FunctionSource(origin, context),)


def _clients(fallback: object) -> tuple[Client, ...]:
    if fallback == ():
        return ()
    if not isinstance(fallback, Sequence):
        raise InvalidOption("fallback", fallback, "a list of clients")
    for one in cast("Sequence[object]", fallback):
        if not isinstance(one, Client):
            raise InvalidOption("fallback", one, "a list of clients")
    return tuple(cast("Sequence[Client]", fallback))
