"""What a model backend is: requests in, chunks out, sockets owned by the node.

A `Backend` is frozen configuration. It holds no socket, so that a client is cheap, shareable
and safe to keep in a module; everything live comes from the node's `Resources`, which are opened
on first use and closed, last opened first, when the node shuts down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, cast

__all__ = ["Backend", "Chunk", "Message", "Request", "Resources", "Usage"]

T = TypeVar("T")

Message = Mapping[str, Any]
"""One turn of a conversation: ``{"role": …, "content": …, …}``, spelled as by OpenAI's chat API.

Roles are ``system``, ``developer``, ``user``, ``assistant`` (with ``tool_calls``) and ``tool``
(with ``tool_call_id``, and ``is_error`` if the tool failed). ``native`` is what a provider wants
back with its own turn exactly as it sent it, by the name of the dialect; the others leave it out.
"""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Chunk(NamedTuple):
    """One piece of a model's answer.

    ``content`` is a delta (never cumulative) for text, or a structured partial. Whatever else
    the source knows is in ``metadata`` and can be read as an attribute: ``chunk.usage``.

    Types in use: ``content``, ``thinking``, ``tool_use`` (metadata ``index``, ``id``, ``name``,
    ``arguments``: the delta, equal to ``content``), and ``finish``, the last of an answer
    (metadata ``finish_reason``, ``usage``, ``model``, ``response_id``, and ``native`` where the
    turn must be sent back as it came; content ``""``). Any other type is passed through to
    subscribers under its own tag; ``raw`` is an event of the provider's, as its decoded JSON.
    """

    type: str = "content"
    content: Any = ""
    metadata: Mapping[str, Any] = _NOTHING

    def in_log(self) -> str:
        """Return what logs may show of it: never the content."""
        return f"<{self.type} chunk>"

    def __getattr__(self, name: str) -> Any:
        """Read ``name`` from the metadata.

        Raises:
            AttributeError: if the metadata has no such key.
        """
        try:
            return self.metadata[name]
        except KeyError:
            msg = f"chunk of type {self.type!r} has no attribute {name!r}"
            raise AttributeError(msg) from None


class Usage(NamedTuple):
    """Token counts of one answer; ``None`` where the provider did not say."""

    input: int | None = None
    output: int | None = None
    thinking: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a model.

    Args:
        messages: the conversation, oldest first, the system prompt included.
        options: what the caller passed on to the provider (``temperature``, ``tools``, …).
    """

    messages: tuple[Message, ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Resources:
    """The live things backends share on one node: connection pools, helper processes.

    All methods belong to the loop's thread.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._opened: dict[Hashable, asyncio.Future[Any]] = {}
        self._closed = False

    async def get(self, key: Hashable, open_: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Return the resource of ``key``, opening it on first use.

        Concurrent callers share one opening. If the opening fails every one of them gets its
        exception, and the next call tries again. Cancelling a caller does not disturb others.

        Args:
            key: what identifies the resource; equal keys share it.
            open_: makes the context manager whose value is the resource.

        Raises:
            RuntimeError: if the node's resources are closed.
            Exception: whatever opening the resource raised.
        """
        if self._closed:
            msg = f"resource {key!r} was asked for after the node's shutdown"
            raise RuntimeError(msg)
        opening = self._opened.get(key)
        if opening is None:
            opening = asyncio.ensure_future(self._stack.enter_async_context(open_()))
            self._opened[key] = opening
            opening.add_done_callback(lambda done: self._forget_failure(key, done))
        return cast("T", await asyncio.shield(opening))

    def _forget_failure(self, key: Hashable, done: asyncio.Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._opened.pop(key, None)

    async def aclose(self) -> None:
        """Close every resource, last opened first. Idempotent.

        Raises:
            Exception: the first failure to close, after all were tried.
        """
        self._closed = True
        for opening in tuple(self._opened.values()):
            if not opening.done():
                opening.cancel()
        if self._opened:
            await asyncio.wait(tuple(self._opened.values()))
        self._opened.clear()
        await self._stack.aclose()


class Backend(Protocol):
    """A model provider, configured for one model."""

    @property
    def provider(self) -> str:
        """The provider's name, e.g. ``"openai"``."""
        ...

    @property
    def model(self) -> str:
        """The model's name as the provider spells it; may be empty."""
        ...

    def open(
        self, request: Request, resources: Resources
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Send ``request``; the context's value iterates the answer.

        Entering sends the request and waits for the answer's head. Leaving, also by cancellation
        and by a second cancellation while leaving, closes the connection before it returns. One
        task enters, iterates and leaves. An iteration that ends without an exception has yielded
        a ``finish`` chunk.

        Raises (on entering and while iterating):
            StreamError: for anything the upstream or the network did.
        """
        ...
