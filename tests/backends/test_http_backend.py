"""The base of a provider that speaks HTTP, by a provider that says as little as it can."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from puckstream.backends.base import Chunk, Request, Resources, Usage
from puckstream.backends.decoder import Decoder, Framed
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.lines import LineDecoder
from puckstream.errors import InvalidOption, MissingKey, StreamError
from puckstream.testing.upstream import Upstream


class Lines:
    """Every line is text, and the end of the body ends the answer."""

    done = False

    def decode(self, line: bytes) -> list[Chunk]:
        return [Chunk("content", line.decode())]

    def finish(self) -> Chunk:
        return Chunk("finish", "", {"usage": Usage()})


@dataclass(frozen=True)
class Harbour(HttpBackend):
    label = "The harbour"
    home = "https://harbour.example/api"
    path = "/ask"
    accept = "text/plain"
    url_variable = "HARBOUR_URL"
    key_variable = "HARBOUR_KEY"
    key_needed = True
    provider: str = "harbour"

    def request_body(self, request: Request) -> Mapping[str, Any]:
        return {"who": self.model, "said": request.messages, **self.options, **request.options}

    def decoder(self, secrets: tuple[str, ...]) -> Decoder:
        return Framed(LineDecoder(), Lines())


ASK = Request((MappingProxyType({"role": "user", "content": "hi"}),), {"lamp": "on", "oil": None})


async def ask(backend: HttpBackend, request: Request = ASK) -> list[Chunk]:
    resources = Resources()
    try:
        async with backend.open(request, resources) as chunks:
            return [chunk async for chunk in chunks]
    finally:
        await resources.aclose()


async def test_the_request_is_what_the_subclass_says_with_the_user_s_headers_on_top() -> None:
    async with Upstream(b"All is\nwell", media="text/plain") as upstream:
        backend = Harbour(
            "keeper",
            base_url=f"{upstream.url}/api/?v=2",
            api_key="k",
            headers={"Accept": "text/mine", "X-Pier": "3"},
            options={"oil": "much", "wick": 2},
        )
        chunks = await ask(backend)
        (request,) = upstream.requests
    assert [chunk.content for chunk in chunks] == ["All is", "well", ""]
    assert (request.method, request.path) == ("POST", "/api/ask")
    assert json.loads(request.body) == {
        "who": "keeper",
        "said": [{"role": "user", "content": "hi"}],
        "wick": 2,
        "lamp": "on",
    }
    sent = request.headers
    assert (sent["authorization"], sent["accept"], sent["x-pier"]) == ("Bearer k", "text/mine", "3")


def test_address_and_key_come_from_the_variables_that_the_subclass_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HARBOUR_KEY", raising=False)
    with pytest.raises(MissingKey, match="The harbour needs an API key: set HARBOUR_KEY"):
        Harbour("m")
    monkeypatch.setenv("HARBOUR_URL", "http://env/api")
    monkeypatch.setenv("HARBOUR_KEY", "k")
    backend = Harbour("m")
    assert (backend.url(), backend.api_key) == ("http://env/api/ask", "k")
    assert backend == Harbour("m")
    assert hash(backend) == hash(Harbour("m"))
    assert Harbour("m", api_key="").credentials() == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [("", "http or https"), ("http://h/ask", "leave /ask out"), ("http://[h", "base_url")],
)
def test_an_address_that_cannot_be_is_refused(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Harbour, "home", "")
    with pytest.raises(InvalidOption, match=message):
        Harbour("m", base_url=url, api_key="k")


async def test_a_page_instead_of_an_answer_is_no_answer() -> None:
    async with Upstream(b"<html>", media="text/html; charset=utf-8") as upstream:
        with pytest.raises(StreamError, match="answered text/html") as caught:
            await ask(Harbour("m", base_url=upstream.url))
    assert (caught.value.kind, caught.value.provider) == ("protocol", "harbour")


async def test_a_request_that_is_no_json_is_refused_before_anything_is_sent() -> None:
    request = Request(ASK.messages, {"lamp": object()})
    with pytest.raises(StreamError, match="cannot be sent as JSON") as caught:
        await ask(Harbour("m", base_url="http://nowhere.invalid"), request)
    assert caught.value.kind == "invalid_request"


async def test_a_subclass_must_say_what_to_send_and_who_decodes() -> None:
    backend = HttpBackend("m", base_url="http://h")
    with pytest.raises(NotImplementedError):
        backend.request_body(ASK)
    with pytest.raises(NotImplementedError):
        backend.decoder(())
