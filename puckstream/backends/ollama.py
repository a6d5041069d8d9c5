"""Ollama's native dialect, ``/api/chat``.

Reference: Ollama API, "Generate a chat message"; ``OLLAMA_HOST`` as its own clients read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from puckstream.backends.base import Message, Request
from puckstream.backends.conversation import (
    call_names,
    calls_of,
    data_of,
    native_of,
    parts_of,
    text_of,
)
from puckstream.backends.decoder import Decoder, Framed
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.lines import LineDecoder
from puckstream.backends.ollama_decoder import OllamaDecoder
from puckstream.errors import StreamError

__all__ = ["Ollama"]

_PORT = 11434
_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  a server's, not ours
"""Where a client finds the server whose own setting this is."""

_FIELDS = frozenset(
    {
        *("format", "keep_alive", "logprobs", "messages", "model", "options", "stream", "think"),
        *("tools", "top_logprobs", "truncate", "shift"),
    }
)
"""Options that are fields of the request; all others are parameters of the model."""


@dataclass(frozen=True)
class Ollama(HttpBackend):
    """A model behind Ollama's native API.

    ``base_url`` is the server's address; the environment's is ``OLLAMA_HOST``, in all the forms
    that Ollama takes: ``host``, ``host:port``, ``:port``, ``https://host/path``. A key is sent if
    ``OLLAMA_API_KEY`` is set, which only Ollama's cloud wants.

    Options that are no fields of the request go to the model's ``options`` (``temperature``,
    ``num_ctx``, …), ``max_tokens`` as ``num_predict``. Ask for thinking by ``think=True``.

    The arguments and the errors are those of `HttpBackend`.
    """

    label: ClassVar[str] = "Ollama"
    home: ClassVar[str] = f"http://127.0.0.1:{_PORT}"
    path: ClassVar[str] = "/api/chat"
    url_variable: ClassVar[str] = "OLLAMA_HOST"
    key_variable: ClassVar[str] = "OLLAMA_API_KEY"
    accept: ClassVar[str] = "application/x-ndjson"
    foreign: ClassVar[tuple[str, ...]] = ("text/html",)  # one JSON object is one line

    provider: str = "ollama"

    def request_body(self, request: Request) -> Mapping[str, Any]:
        """Return the body of the POST.

        Raises:
            StreamError: of kind ``invalid_request``, if a tool's arguments in the conversation are
                no JSON object, or an image is an address instead of data.
        """
        said = {**self.options, **request.options}
        parameters = dict(said.pop("options", None) or {})
        for name in ("max_tokens", "max_completion_tokens"):
            if said.get(name) is not None:
                parameters.setdefault("num_predict", said[name])
            said.pop(name, None)
        said.pop("stream_options", None)
        if said.pop("tool_choice", None) == "none":  # otherwise the model decides
            said["tools"] = None
        fields = {name: value for name, value in said.items() if name in _FIELDS}
        parameters |= {
            name: value for name, value in said.items() if name not in _FIELDS and value is not None
        }
        names = call_names(request.messages)
        return {
            "model": self.model,
            "messages": [self._message(message, names) for message in request.messages],
            "stream": True,
            "options": parameters or None,
            **fields,
        }

    def decoder(self, secrets: tuple[str, ...] = ()) -> Decoder:
        """Return what decodes one answer."""
        return Framed(LineDecoder(), OllamaDecoder(self.provider, secrets))

    def address(self, said: str) -> str:
        """Return the URL that ``OLLAMA_HOST`` means: http and port 11434 unless it says so."""
        said = said.strip()
        if "://" in said:
            scheme, _, rest = said.partition("://")
            return f"{scheme}://{_found(rest)}".rstrip("/")
        found = _found(said)
        try:
            named = urlsplit(f"http://{found}").port is not None
        except ValueError:
            named = True  # it is wrong, and will be refused by its name
        host, slash, path = found.partition("/")
        return f"http://{host}{'' if named else f':{_PORT}'}{slash}{path}".rstrip("/")

    def _message(self, message: Message, names: Mapping[str, str]) -> dict[str, Any]:
        role = message["role"]
        said: dict[str, Any] = {
            "role": "system" if role == "developer" else role,
            "content": text_of(message.get("content")),
        }
        images = [
            self._image(part)
            for part in parts_of(message.get("content"))
            if part.get("type") == "image_url"
        ]
        if images:
            said["images"] = images
        if role == "tool":
            name = message.get("name") or names.get(str(message.get("tool_call_id")))
            said |= {"tool_name": name} if name else {}
        calls = calls_of(message, self.provider)
        if calls:
            said["tool_calls"] = [
                {"function": {"name": name, "arguments": arguments}}
                for _, name, _, arguments in calls
            ]
        native: object = native_of(message, "ollama")
        return {**said, **cast("Mapping[str, Any]", native)} if native else said

    def _image(self, part: Mapping[str, Any]) -> str:
        address, data = data_of(part)
        if data is None:
            msg = f"Ollama takes images as data URLs, not as addresses: {address[:80]!r}"
            raise StreamError("invalid_request", msg, provider=self.provider)
        return data[1]


def _found(said: str) -> str:
    """Return ``host[:port][/path]`` with a host that can be connected to."""
    place, slash, path = said.partition("/")
    host, colon, port = place.rpartition(":")
    bracketless = ":" in host and not host.startswith("[")  # an IPv6 address without a port
    if place.endswith("]") or not colon or bracketless:
        host, colon, port = place, "", ""
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in bare:
        host = f"[{bare}]"
    return f"{_HERE.get(bare, host)}{colon}{port}{slash}{path}"
