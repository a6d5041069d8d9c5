"""What a stream relies on in a backend, as checks that any backend can be put to.

.. code-block:: python

    class TestHarbour(BackendContract):
        answer = Path("answer-of-the-harbour.txt").read_bytes()
        text = "All is well ✓"
        media = "text/plain"

        def backend(self, url, key):
            return Harbour("any", base_url=url, api_key=key)

With pytest and a plugin for coroutines that is a test class. Without, ``await TestHarbour().run()``
runs every check and raises `AssertionError` at the first that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from itertools import groupby
from typing import Any, ClassVar

from puckstream.backends.base import Backend, Chunk, Request, Resources, Usage
from puckstream.errors import StreamError
from puckstream.node import Node
from puckstream.streams.client import Client
from puckstream.streams.events import StreamEvent
from puckstream.testing.upstream import Upstream

__all__ = ["BackendContract"]

_ASK = Request(({"role": "user", "content": "How is the harbour?"},))
_KEY = "sk-contract-0123456789"
_PATIENCE = 20.0
"""Seconds after which a check is taken to hang."""
_REFUSALS = {
    400: ("invalid_request", False),
    401: ("auth", False),
    429: ("rate_limit", True),
    500: ("server", True),
    503: ("overloaded", True),
}


class BackendContract:
    """Checks a backend against an upstream of its own on a loopback socket.

    Class variables:
        answer: the body of a complete answer in the provider's dialect, whose first half holds a
            piece of text; some of the text should be outside of ASCII.
        text: what it says.
        media: its media type.
    """

    answer: ClassVar[bytes]
    text: ClassVar[str]
    media: ClassVar[str] = "text/event-stream"

    def backend(self, url: str, key: str) -> Backend:
        """Return the backend to check; each call may make a new one.

        Args:
            url: where its upstream listens, without a path.
            key: the API key to send, if it sends one.
        """
        raise NotImplementedError

    @classmethod
    def checks(cls) -> Iterator[str]:
        """Return the names of the checks, which are coroutine methods."""
        return (name for name in dir(cls) if name.startswith("test_"))

    async def run(self) -> None:
        """Run every check.

        Raises:
            AssertionError: at the first that fails; a note names it.
        """
        for name in self.checks():
            check: Callable[[], Awaitable[None]] = getattr(self, name)
            try:
                await check()
            except Exception as error:
                error.add_note(f"while checking that {name[5:].replace('_', ' ')}")
                raise

    # ---------------------------------------------------------------------------- what it says

    async def test_an_answer_is_its_text_and_ends_with_one_finish(self) -> None:
        """The text arrives in order; ``finish`` is last, alone, and knows reason and usage."""
        async with self._upstream() as upstream:
            chunks = await self._read(upstream)
        assert _text(chunks) == self.text, f"the text is {_text(chunks)!r}"
        kinds = [chunk.type for chunk in chunks]
        assert kinds.count("finish") == 1, f"one finish, not {kinds.count('finish')}"
        assert kinds[-1] == "finish", f"finish comes last, not {kinds[-1]}"
        finish = chunks[-1]
        assert isinstance(finish.metadata.get("usage"), Usage), "finish has a Usage as 'usage'"
        assert "finish_reason" in finish.metadata, "finish has a 'finish_reason'"

    async def test_however_the_bytes_are_cut_the_answer_is_the_same(self) -> None:
        """Also when every byte comes alone, in the middle of a character."""
        async with self._upstream() as upstream:
            expected = _runs(await self._read(upstream))
            for upstream.piece in (1, 2, 3, 7):
                got = _runs(await self._read(upstream))
                assert got == expected, f"in pieces of {upstream.piece} bytes it is {got}"

    # ------------------------------------------------------------------------ what goes wrong

    async def test_an_answer_that_stops_half_way_is_an_error(self) -> None:
        """Whether its end or a broken connection stops it: never a ``finish``."""
        for then in ("end", "cut"):
            async with self._upstream(half=True) as upstream:
                upstream.then = "end" if then == "end" else "cut"
                error, chunks = await self._failure(upstream)
            assert all(chunk.type != "finish" for chunk in chunks), "no finish after half of it"
            assert error.kind in ("connection", "protocol"), f"its kind is {error.kind}"
            assert error.retryable, "to ask again may help"

    async def test_a_refusal_has_its_kind_and_says_when_to_come_back(self) -> None:
        """By the HTTP status; ``Retry-After`` is read."""
        for status, (kind, retryable) in _REFUSALS.items():
            async with self._upstream(body=b"{}") as upstream:
                upstream.status, upstream.media = status, "application/json"
                upstream.headers = {"retry-after": "7"} if status == 429 else {}  # noqa: PLR2004
                error, _ = await self._failure(upstream)
                provider = self._backend(upstream).provider
            said = (error.kind, error.status, error.retryable, error.provider)
            assert said == (kind, status, retryable, provider), f"{status} is told as {said}"
            assert error.retry_after == (7.0 if upstream.headers else None), "Retry-After is read"

    async def test_a_key_is_never_shown(self) -> None:
        """Neither by the backend nor by an error whose upstream quotes it."""
        async with self._upstream() as upstream:
            backend = self._backend(upstream)
            assert _KEY not in repr(backend), "the backend prints its key"
            upstream.body = b'{"error": {"message": "bad key %b"}}' % _KEY.encode()
            upstream.status, upstream.media = 401, "application/json"
            error, _ = await self._failure(upstream)
        assert _KEY not in f"{error} {error!r}", "the error prints the key"

    async def test_an_upstream_that_is_not_there_is_an_error_of_the_connection(self) -> None:
        """And to ask again may help."""
        async with self._upstream() as upstream:
            pass
        error, _ = await self._failure(upstream)
        assert (error.kind, error.retryable) == ("connection", True), f"it is {error!r}"

    async def test_what_is_no_answer_is_an_error(self) -> None:
        """Bytes of any kind, an empty body, and the page of a captive portal."""
        for body, media in (
            (b"\x00\xff\xfe{]\n\n\r\n", self.media),
            (b"", self.media),
            (b"<html>log in</html>", "text/html"),
        ):
            async with self._upstream(body=body) as upstream:
                upstream.media = media
                _, chunks = await self._failure(upstream)
            assert all(chunk.type != "finish" for chunk in chunks), f"{body!r} is no answer"

    # -------------------------------------------------------------------------------- leaving

    async def test_leaving_early_closes_the_connection(self) -> None:
        """Also when the reader raises, whose error passes unchanged."""
        async with self._upstream(half=True) as upstream, _resources() as resources:
            upstream.then = "stall"
            async with self._backend(upstream).open(_ASK, resources) as chunks:
                await anext(chunks)
            await upstream.wait_connections(0)
            mine, got = LookupError(), None
            try:
                async with self._backend(upstream).open(_ASK, resources) as chunks:
                    async for _ in chunks:
                        raise mine
            except LookupError as error:
                got = error
            assert got is mine, f"the reader's error became {got!r}"
            await upstream.wait_connections(0)

    async def test_a_cancel_closes_the_connection_whatever_it_interrupts(self) -> None:
        """Before the head, in the middle; a second cancel while it closes changes nothing."""
        for head in (False, True):
            async with self._upstream(half=True) as upstream, _resources() as resources:
                upstream.head, upstream.then = head, "stall"
                task, first = self._reading(upstream, resources)
                await (first.wait() if head else upstream.wait_requests(1))
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled(), f"the cancellation arrives: {task!r}"
                await upstream.wait_connections(0)

    async def test_many_cancels_leave_the_connections_as_they_were(self) -> None:
        """After a number of them the next answer is whole."""
        async with self._upstream(half=True) as upstream, _resources() as resources:
            backend = self._backend(upstream)
            for _ in range(12):
                upstream.body, upstream.then = self._half(), "stall"
                task, first = self._reading(upstream, resources, backend)
                await first.wait()
                task.cancel()
                await asyncio.wait([task])
            upstream.body, upstream.then = self.answer, "end"
            async with backend.open(_ASK, resources) as chunks:
                assert _text([chunk async for chunk in chunks]) == self.text

    async def test_the_end_of_the_node_leaves_no_connection(self) -> None:
        """A connection that is kept for the next answer is the node's, and goes with it."""
        async with self._upstream() as upstream:
            await self._read(upstream)
            await upstream.wait_connections(0)

    async def test_a_stream_ends_with_one_terminal_event(self) -> None:
        """Done, error or cancelled, once and last, with no gap before."""
        endings: dict[str, dict[str, Any]] = {
            "done": {},
            "error": {"status": 500},
            "cancelled": {"then": "stall"},
        }
        for expected, changes in endings.items():
            async with self._upstream(half=expected == "cancelled") as upstream:
                for name, value in changes.items():
                    setattr(upstream, name, value)
                events = await self._events(upstream, cancel=expected == "cancelled")
                await upstream.wait_connections(0)
            kinds = [event.kind for event in events]
            assert [event.kind for event in events if event.terminal] == [expected], f"{kinds}"
            assert kinds[-1] == expected, f"{expected} comes last of {kinds}"
            assert [event.seq for event in events] == list(range(1, len(events) + 1))

    # ---------------------------------------------------------------------------------- means

    def _backend(self, upstream: Upstream) -> Backend:
        return self.backend(upstream.url, _KEY)

    def _half(self) -> bytes:
        return self.answer[: len(self.answer) // 2]

    @contextlib.asynccontextmanager
    async def _upstream(
        self, *, half: bool = False, body: bytes | None = None
    ) -> AsyncGenerator[Upstream]:
        said = self._half() if half else self.answer if body is None else body
        async with asyncio.timeout(_PATIENCE), Upstream(said, media=self.media) as upstream:
            yield upstream

    async def _events(self, upstream: Upstream, *, cancel: bool) -> list[StreamEvent]:
        """Return the events of a stream on a node, cancelled at its first text or not."""
        events: list[StreamEvent] = []
        async with Node() as node:
            stream = await node.start_stream(Client(self._backend(upstream)), "Hi")
            async with stream.subscribe() as following:
                async for event in following:
                    events.append(event)
                    if cancel and event.kind == "content":
                        await stream.cancel(wait=True)
        return events

    async def _read(self, upstream: Upstream) -> list[Chunk]:
        backend = self._backend(upstream)
        async with _resources() as resources, backend.open(_ASK, resources) as chunks:
            return [chunk async for chunk in chunks]

    async def _failure(self, upstream: Upstream) -> tuple[StreamError, list[Chunk]]:
        got: list[Chunk] = []
        async with _resources() as resources:
            try:
                async with self._backend(upstream).open(_ASK, resources) as chunks:
                    async for chunk in chunks:
                        got.append(chunk)  # noqa: PERF401  what came before the error counts
            except StreamError as error:
                return error, got
        msg = f"no StreamError came, but {got}"
        raise AssertionError(msg)

    def _reading(
        self, upstream: Upstream, resources: Resources, backend: Backend | None = None
    ) -> tuple[asyncio.Task[None], asyncio.Event]:
        """Read in a task of its own; the event is set at the first chunk."""
        first = asyncio.Event()

        async def read() -> None:
            async with (backend or self._backend(upstream)).open(_ASK, resources) as chunks:
                async for _ in chunks:
                    first.set()

        return asyncio.ensure_future(read()), first


@contextlib.asynccontextmanager
async def _resources() -> AsyncGenerator[Resources]:
    resources = Resources()
    try:
        yield resources
    finally:
        await resources.aclose()


def _text(chunks: list[Chunk]) -> str:
    return "".join(chunk.content for chunk in chunks if chunk.type == "content")


def _runs(chunks: list[Chunk]) -> list[tuple[str, str]]:
    """Return what adjacent chunks of one type say together."""
    kinds = groupby(chunks, key=lambda chunk: chunk.type)
    return [(kind, "".join(str(chunk.content) for chunk in same)) for kind, same in kinds]
