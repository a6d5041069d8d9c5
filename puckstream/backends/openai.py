"""The OpenAI chat-completions dialect: OpenAI, vLLM, llama.cpp, Ollama's ``/v1``, LiteLLM.

Reference: OpenAI API, "Chat Completions", streaming.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from puckstream.backends.base import Chunk, Request, Resources
from puckstream.backends.failure import from_error_object
from puckstream.backends.http import Answer, Call, http_pool
from puckstream.backends.openai_decoder import ChatDecoder
from puckstream.backends.sse import SseDecoder
from puckstream.errors import InvalidOption, MissingKey, StreamError

__all__ = ["OpenAI"]

_HOME = "api.openai.com"
_PATH = "/chat/completions"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class OpenAI:
    """A model behind an OpenAI-compatible API.

    Nothing is contacted before `open`. Two equal backends share their connections on a node.

    Args:
        model: the model's name as the provider spells it.
        base_url: where ``/chat/completions`` is appended; default ``OPENAI_BASE_URL``, else
            OpenAI's own.
        api_key: default ``OPENAI_API_KEY``. Only OpenAI's own address demands one; ``""`` sends
            none. Never printed.
        organization: the OpenAI organization to bill.
        headers: further headers, which override ours.
        max_connections: how many streams may run at once to this origin; more wait their turn.
        connect_timeout: seconds to connect, and again for the TLS handshake.
        verify: whether to check the server's certificate; a path names a file of authorities.
        options: fields of every request body (``temperature``, …); those of a `Request` win, and
            a value of ``None`` leaves the field out.
        provider: the name under which errors and telemetry speak of it.

    Raises:
        InvalidOption: if an argument cannot work.
        MissingKey: if ``base_url`` is OpenAI's own and there is no key.
    """

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    organization: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)
    max_connections: int = 100
    connect_timeout: float = 10.0
    verify: bool | str = True
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    provider: str = "openai"

    def __post_init__(self) -> None:
        url = self.base_url or os.environ.get("OPENAI_BASE_URL") or f"https://{_HOME}/v1"
        parts = _checked_url(url)
        key = os.environ.get("OPENAI_API_KEY", "") if self.api_key is None else self.api_key
        if parts.hostname == _HOME and not key:
            raise MissingKey("OpenAI", "OPENAI_API_KEY")
        if not _sendable(key):
            raise InvalidOption("api_key", "***", "it holds a space, a newline or a non-ASCII sign")
        for name, value in self.headers.items():
            if not _sendable(name) or not _sendable(value, blanks=True):
                raise InvalidOption("headers", name, "its name or value cannot be sent as ASCII")
        if self.max_connections < 1:
            raise InvalidOption("max_connections", self.max_connections, "at least 1 is needed")
        if not self.connect_timeout > 0:
            raise InvalidOption("connect_timeout", self.connect_timeout, "seconds, more than 0")
        # The environment counts when the backend is made, so that it is a value like any other.
        object.__setattr__(self, "base_url", url)
        object.__setattr__(self, "api_key", key)

    @asynccontextmanager
    async def open(
        self, request: Request, resources: Resources
    ) -> AsyncGenerator[AsyncIterator[Chunk]]:
        """Send ``request``; the context's value iterates the answer, ``finish`` last.

        Entering waits for a free connection and for the response's head. Leaving closes the
        connection, or hands it back to the pool if the answer was read to its end; it returns
        after that, however often the task is cancelled meanwhile.

        Raises (on entering and while iterating):
            StreamError: for anything the upstream or the network did, and if ``request`` cannot
                be sent as JSON.
        """
        call = self._call(request)
        pool = await http_pool(
            resources, call.url, max_connections=self.max_connections, verify=self.verify
        )
        async with pool.stream(call) as answer:
            await self._check(answer, call)
            async with aclosing(self._chunks(answer, call)) as chunks:
                yield chunks

    async def _chunks(self, answer: Answer, call: Call) -> AsyncGenerator[Chunk]:
        events = SseDecoder()
        decoder = ChatDecoder(self.provider, call.secrets)
        async for data in answer:
            for event in events.feed(data):
                for chunk in decoder.decode(event):
                    yield chunk
            if decoder.done:
                yield decoder.finish()
                await answer.drain()
                return
        for event in events.flush():
            for chunk in decoder.decode(event):
                yield chunk
        yield decoder.finish()

    async def _check(self, answer: Answer, call: Call) -> None:
        """Raise unless the answer is a stream of events.

        A server that ignores ``stream`` answers in JSON, and a captive portal in HTML, both
        with status 200.
        """
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", "text/html"):
            return
        body = await answer.read_head()
        try:
            error: object = msgspec.json.decode(body, type=dict[str, Any]).get("error")
        except (msgspec.DecodeError, UnicodeDecodeError):
            error = None
        if error is not None:
            raise from_error_object(error, provider=self.provider, secrets=call.secrets)
        msg = (
            f"{call.origin} answered {kind} instead of a stream of events: "
            f"is {self.base_url} the base_url of a chat-completions API?"
        )
        raise StreamError("protocol", msg, status=answer.status, provider=self.provider)

    def _call(self, request: Request) -> Call:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": request.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.options,
            **request.options,
        }
        if body.get("n") not in (None, 1):
            msg = f"n={body['n']!r}: a stream is one answer; start one stream for each"
            raise StreamError("invalid_request", msg, provider=self.provider)
        body = {name: value for name, value in body.items() if value is not None}
        try:
            encoded = msgspec.json.encode(body, enc_hook=_plain)
        except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
            msg = f"the request cannot be sent as JSON: {error}"
            raise StreamError("invalid_request", msg, provider=self.provider) from error
        headers = {"accept": "text/event-stream", "content-type": "application/json"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        if self.organization is not None:
            headers["openai-organization"] = self.organization
        headers.update({name.lower(): value for name, value in self.headers.items()})
        parts = urlsplit(self.base_url or "")
        url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + _PATH))
        return Call(url, headers, encoded, self.provider, self.connect_timeout)


def _checked_url(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOption("base_url", url, "an http or https URL such as https://host/v1")
    if "@" in parts.netloc:
        shown = url.replace(parts.netloc.rpartition("@")[0], "***")
        raise InvalidOption("base_url", shown, "put credentials into api_key or headers")
    try:
        _ = parts.port
    except ValueError:
        raise InvalidOption("base_url", url, "the port is not a number up to 65535") from None
    if parts.path.rstrip("/").endswith(_PATH):
        raise InvalidOption("base_url", url, f"leave {_PATH} out: it is appended")
    return parts


def _sendable(text: str, *, blanks: bool = False) -> bool:
    return text.isascii() and (text.isprintable() if blanks else not any(map(_blank, text)))


def _blank(sign: str) -> bool:
    return sign.isspace() or not sign.isprintable()


def _plain(value: object) -> object:
    """Turn what msgspec does not take for JSON into what it does."""
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    msg = f"{type(value).__name__} is no JSON"
    raise TypeError(msg)
