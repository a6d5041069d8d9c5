"""The contract for backends finds what is broken: one backend for each thing that can be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from puckstream.backends.base import Backend, Chunk, Request, Resources, Usage
from puckstream.backends.decoder import Decoder, Framed
from puckstream.backends.failure import cut_short, unreadable
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.lines import LineDecoder
from puckstream.errors import StreamError
from puckstream.testing.backend_contract import BackendContract


class Lines:
    """``say TEXT`` adds text, ``end`` ends the answer."""

    def __init__(self) -> None:
        self.done = False

    def decode(self, line: bytes) -> Iterable[Chunk]:
        word, _, rest = line.partition(b" ")
        if word == b"end":
            self.done = True
            return []
        if word != b"say":
            raise unreadable(line, ValueError("no such word"))
        return [Chunk("content", rest.decode())]

    def finish(self) -> Chunk:
        if not self.done:
            raise cut_short("no end", begun=True)
        return Chunk("finish", "", {"finish_reason": "stop", "usage": Usage()})


@dataclass(frozen=True)
class Sound(HttpBackend):
    """Nothing is wrong with it."""

    accept = "text/plain"

    def request_body(self, request: Request) -> dict[str, Any]:
        return {"said": request.messages[-1]["content"]}

    def decoder(self, secrets: tuple[str, ...]) -> Decoder:
        return Framed(LineDecoder(), Lines())


class Contract(BackendContract):
    answer = "say Der Hafen \nsay ist ruhig ✓\nend\n".encode()
    text = "Der Hafen ist ruhig ✓"
    media = "text/plain"
    broken: type[HttpBackend] = Sound

    def backend(self, url: str, key: str) -> Backend:
        return self.broken("m", base_url=url, api_key=key)


class NoFinish(Lines):
    def finish(self) -> Chunk:
        return Chunk("content", "")


class Forgiving(Lines):
    def finish(self) -> Chunk:
        self.done = True
        return super().finish()


class Split(LineDecoder):
    """Takes every read for whole lines."""

    def feed(self, data: bytes) -> list[bytes]:
        return [line for line in data.split(b"\n") if line]


class Framer(Sound):
    def decoder(self, secrets: tuple[str, ...]) -> Decoder:
        return Framed(Split(), Lines())


class WithoutFinish(Sound):
    def decoder(self, secrets: tuple[str, ...]) -> Decoder:
        return Framed(LineDecoder(), NoFinish())


class Optimist(Sound):
    def decoder(self, secrets: tuple[str, ...]) -> Decoder:
        return Framed(LineDecoder(), Forgiving())


class Chatty(Sound):
    def __repr__(self) -> str:
        return f"Chatty({self.api_key})"


class Blunt(Sound):
    """Makes every refusal the same, and no error one of the reader's."""

    @asynccontextmanager
    async def open(
        self, request: Request, resources: Resources
    ) -> AsyncGenerator[AsyncIterator[Chunk]]:
        try:
            async with super().open(request, resources) as chunks:
                yield chunks
        except Exception as error:
            raise StreamError("server", "it went wrong") from error


class Leaky(Sound):
    """Leaves the connection to whoever finds it."""

    @asynccontextmanager
    async def open(
        self, request: Request, resources: Resources
    ) -> AsyncGenerator[AsyncIterator[Chunk]]:
        yield await super().open(request, resources).__aenter__()


async def test_a_sound_backend_keeps_the_contract() -> None:
    await Contract().run()


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (WithoutFinish, "test_an_answer_is_its_text_and_ends_with_one_finish"),
        (Framer, "test_however_the_bytes_are_cut_the_answer_is_the_same"),
        (Optimist, "test_an_answer_that_stops_half_way_is_an_error"),
        (Optimist, "test_what_is_no_answer_is_an_error"),
        (Chatty, "test_a_key_is_never_shown"),
        (Blunt, "test_a_refusal_has_its_kind_and_says_when_to_come_back"),
        (Blunt, "test_an_upstream_that_is_not_there_is_an_error_of_the_connection"),
        (Blunt, "test_leaving_early_closes_the_connection"),
    ],
)
async def test_what_is_broken_is_found(broken: type[HttpBackend], check: str) -> None:
    contract = Contract()
    contract.broken = broken
    with pytest.raises((AssertionError, StreamError)):
        await getattr(contract, check)()


async def test_a_connection_that_stays_open_is_found_and_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("puckstream.testing.backend_contract._PATIENCE", 0.2)
    contract = Contract()
    contract.broken = Leaky
    kept: list[Any] = []
    monkeypatch.setattr(Sound, "open", keeping(kept, Sound.open))
    with pytest.raises(TimeoutError):
        await contract.test_leaving_early_closes_the_connection()
    for opened in kept:
        await opened.aclose()


def keeping(kept: list[Any], original: Any) -> Any:
    """Keep every context that is opened, so that the test can close it."""

    def opened(self: Any, request: Request, resources: Resources) -> Any:
        context = original(self, request, resources)
        kept.append(context.gen)
        return context

    return opened
