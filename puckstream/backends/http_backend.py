"""`HttpBackend`: a provider that is asked by one POST and answers with a stream.

A provider of one's own says what the request looks like and who decodes the answer; opening,
cancelling, closing, pooling and the meaning of errors are here.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from puckstream.backends.base import Chunk, Request, Resources
from puckstream.backends.decoder import Decoder
from puckstream.backends.failure import from_error_object
from puckstream.backends.http import Answer, Call, http_pool
from puckstream.errors import InvalidOption, MissingKey, StreamError

__all__ = ["HttpBackend"]


@dataclass(frozen=True)
class HttpBackend:
    """The base of a backend that speaks HTTP; frozen configuration without a socket.

    A subclass is a frozen dataclass too. It sets the class variables and defines `request_body`,
    `decoder` and, if it needs a key, `credentials`. Nothing is contacted before `open`. Two equal
    backends share their connections on a node.

    Class variables:
        label: the provider's name for people, e.g. ``"OpenAI"``.
        home: the provider's own ``base_url``.
        path: appended to ``base_url``, e.g. ``"/chat/completions"``.
        url_variable: the environment variable of ``base_url``; ``""`` for none.
        key_variable: the environment variable of ``api_key``; ``""`` for none.
        key_needed: whether ``home`` demands a key.
        accept: the media type of the answer.
        foreign: media types that are no such answer, though the status is 200.

    Args:
        model: the model's name as the provider spells it.
        base_url: where ``path`` is appended; default the environment's, else ``home``.
        api_key: default the environment's; ``""`` sends none. Never printed.
        headers: further headers, which override ours.
        max_connections: how many streams may run at once to this origin; more wait their turn.
        connect_timeout: seconds to connect, and again for the TLS handshake.
        verify: whether to check the server's certificate; a path names a file of authorities.
        options: fields of every request (``temperature``, …); those of a `Request` win, and a
            value of ``None`` leaves the field out.
        provider: the name under which errors and telemetry speak of it.

    Raises:
        InvalidOption: if an argument cannot work.
        MissingKey: if ``base_url`` is the provider's own and there is no key.
    """

    label: ClassVar[str] = "the provider"
    home: ClassVar[str] = ""
    path: ClassVar[str] = ""
    url_variable: ClassVar[str] = ""
    key_variable: ClassVar[str] = ""
    key_needed: ClassVar[bool] = False
    accept: ClassVar[str] = "text/event-stream"
    foreign: ClassVar[tuple[str, ...]] = ("application/json", "text/html")

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)
    max_connections: int = 100
    connect_timeout: float = 10.0
    verify: bool | str = True
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    provider: str = "http"

    def __post_init__(self) -> None:
        url = self.base_url or os.environ.get(self.url_variable) or self.home
        url = self.address(url)
        parts = self._checked_url(url)
        key = self.api_key
        if key is None:
            key = os.environ.get(self.key_variable, "")
        if not key and self._demands_key(parts):
            raise MissingKey(self.label, self.key_variable)
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

    # ------------------------------------------------------------------ what a subclass defines

    def request_body(self, request: Request) -> Mapping[str, Any]:
        """Return the body of the POST; fields whose value is ``None`` are left out.

        Raises:
            StreamError: of kind ``invalid_request``, if ``request`` cannot be put so.
        """
        raise NotImplementedError

    def decoder(self, secrets: tuple[str, ...]) -> Decoder:
        """Return what decodes one answer.

        Args:
            secrets: texts that must not appear in an error's message.
        """
        raise NotImplementedError

    def credentials(self) -> Mapping[str, str]:
        """Return the headers that carry the key, and any others the provider demands."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def address(self, said: str) -> str:
        """Return the ``base_url`` that the user or the environment means by ``said``."""
        return said

    def url(self) -> str:
        """Return where requests are sent."""
        parts = urlsplit(self.base_url or "")
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + self.path))

    # ----------------------------------------------------------------------- what it gives them

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
        decoder = self.decoder(call.secrets)
        async for data in answer:
            for chunk in decoder.feed(data):
                yield chunk
            if decoder.done:
                for chunk in decoder.end():
                    yield chunk
                await answer.drain()
                return
        for chunk in decoder.end():
            yield chunk

    async def _check(self, answer: Answer, call: Call) -> None:
        """Raise unless the answer may be a stream.

        A server that ignores ``stream`` answers in JSON, and a captive portal in HTML, both
        with status 200.
        """
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in self.foreign:
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
            f"is {self.base_url} the base_url of an API that streams at {self.path}?"
        )
        raise StreamError("protocol", msg, status=answer.status, provider=self.provider)

    def _call(self, request: Request) -> Call:
        body = {
            name: value for name, value in self.request_body(request).items() if value is not None
        }
        try:
            encoded = msgspec.json.encode(body, enc_hook=_plain)
        except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
            msg = f"the request cannot be sent as JSON: {error}"
            raise StreamError("invalid_request", msg, provider=self.provider) from error
        headers = {"accept": self.accept, "content-type": "application/json", **self.credentials()}
        headers.update({name.lower(): value for name, value in self.headers.items()})
        return Call(self.url(), headers, encoded, self.provider, self.connect_timeout)

    def _demands_key(self, parts: SplitResult) -> bool:
        return self.key_needed and parts.hostname == urlsplit(self.home).hostname

    def _checked_url(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise InvalidOption("base_url", url, str(error)) from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidOption("base_url", url, "an http or https URL such as https://host/v1")
        if "@" in parts.netloc:
            shown = url.replace(parts.netloc.rpartition("@")[0], "***")
            raise InvalidOption("base_url", shown, "put credentials into api_key or headers")
        try:
            _ = parts.port
        except ValueError:
            raise InvalidOption("base_url", url, "the port is not a number up to 65535") from None
        if self.path and parts.path.rstrip("/").endswith(self.path):
            raise InvalidOption("base_url", url, f"leave {self.path} out: it is appended")
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
