"""The OpenAI chat-completions dialect: OpenAI, vLLM, llama.cpp, Ollama's ``/v1``, LiteLLM.

Reference: OpenAI API, "Chat Completions", streaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from puckstream.backends.base import Message, Request
from puckstream.backends.conversation import native_of
from puckstream.backends.decoder import Decoder, Framed
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.openai_decoder import ChatDecoder
from puckstream.backends.sse import SseDecoder
from puckstream.backends.think_tags import ThinkTags
from puckstream.errors import StreamError

__all__ = ["OpenAI"]

_HOME = "api.openai.com"
_FOREIGN = frozenset({"is_error", "native"})


@dataclass(frozen=True)
class OpenAI(HttpBackend):
    """A model behind an OpenAI-compatible API.

    Nothing is contacted before `open`. Two equal backends share their connections on a node.
    ``base_url`` is that of the API with its ``/v1``; the environment's is ``OPENAI_BASE_URL``, the
    key's variable ``OPENAI_API_KEY``. Only OpenAI's own address demands a key.

    Args:
        organization: the OpenAI organization to bill.
        think_tags: read ``<think>…</think>`` at the beginning of the text as thinking, for
            servers that leave it there.

    The other arguments and the errors are those of `HttpBackend`.
    """

    label: ClassVar[str] = "OpenAI"
    home: ClassVar[str] = f"https://{_HOME}/v1"
    path: ClassVar[str] = "/chat/completions"
    url_variable: ClassVar[str] = "OPENAI_BASE_URL"
    key_variable: ClassVar[str] = "OPENAI_API_KEY"
    key_needed: ClassVar[bool] = True

    provider: str = "openai"
    organization: str | None = None
    think_tags: bool = False

    def request_body(self, request: Request) -> Mapping[str, Any]:
        """Return the body of the POST.

        Raises:
            StreamError: of kind ``invalid_request``, if more than one answer is asked for.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [self._message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.options,
            **request.options,
        }
        if body.get("n") not in (None, 1):
            msg = f"n={body['n']!r}: a stream is one answer; start one stream for each"
            raise StreamError("invalid_request", msg, provider=self.provider)
        return body

    def decoder(self, secrets: tuple[str, ...] = ()) -> Decoder:
        """Return what decodes one answer."""
        decoder = Framed(SseDecoder(), ChatDecoder(self.provider, secrets))
        return ThinkTags(decoder) if self.think_tags else decoder

    def credentials(self) -> Mapping[str, str]:
        """Return the headers that carry the key and the organization."""
        headers = dict(super().credentials())
        if self.organization is not None:
            headers["openai-organization"] = self.organization
        return headers

    def _message(self, message: Message) -> Message:
        """Leave out what is for other dialects: servers refuse fields they do not know."""
        if _FOREIGN.isdisjoint(message):
            return message
        said = {name: value for name, value in message.items() if name not in _FOREIGN}
        native: object = native_of(message, "openai")
        if isinstance(native, Mapping) and urlsplit(self.base_url or "").hostname != _HOME:
            said.update(cast("Mapping[str, Any]", native))  # fields that OpenAI's own has not
        return said
