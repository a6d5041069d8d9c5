"""What an upstream's refusal means: statuses and error objects into `StreamError`.

Pure. Providers agree on little: ``{"error": {"message", "type", "code"}}`` (OpenAI, Anthropic),
``{"error": "…"}`` (Ollama), ``{"object": "error", "message"}`` (vLLM), ``{"detail": …}``
(FastAPI). Whatever shape it has, the upstream's own words end up in the message, and never a key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

import msgspec

from puckstream.errors import ErrorKind, StreamError

__all__ = [
    "cut_short",
    "from_error_object",
    "from_status",
    "one_line",
    "retry_after",
    "unreadable",
    "without_secrets",
]

_LONGEST = 500
"""Characters of an upstream's message that are kept."""

_EXCERPT = 80
"""Bytes of what cannot be read that are shown."""

_REDIRECTS = range(300, 400)
_ERRORS = range(400, 600)
_SERVER_ERRORS = range(500, 600)

_BY_STATUS: Mapping[int, tuple[ErrorKind, bool]] = {
    401: ("auth", False),
    402: ("auth", False),
    403: ("auth", False),
    407: ("auth", False),
    408: ("server", True),
    409: ("server", True),
    425: ("server", True),
    429: ("rate_limit", True),
    501: ("invalid_request", False),
    503: ("overloaded", True),
    529: ("overloaded", True),  # Anthropic: overloaded_error
}

# Searched in order in "type code" of an error object, so the narrower word comes first.
_BY_WORD: tuple[tuple[str, ErrorKind, bool], ...] = (
    ("insufficient_quota", "rate_limit", False),
    ("billing", "auth", False),
    ("credit", "auth", False),
    ("content_filter", "content_filter", False),
    ("content_policy", "content_filter", False),
    ("contentpolicy", "content_filter", False),
    ("moderation", "content_filter", False),
    ("rate_limit", "rate_limit", True),
    ("ratelimit", "rate_limit", True),
    ("too_many_requests", "rate_limit", True),
    ("tokens_per", "rate_limit", True),
    ("overloaded", "overloaded", True),
    ("unavailable", "overloaded", True),
    ("capacity", "overloaded", True),
    ("auth", "auth", False),
    ("api_key", "auth", False),
    ("permission", "auth", False),
    ("forbidden", "auth", False),
    ("invalid_request", "invalid_request", False),
    ("badrequest", "invalid_request", False),
    ("bad_request", "invalid_request", False),
    ("not_found", "invalid_request", False),
    ("notfound", "invalid_request", False),
    ("context_length", "invalid_request", False),
    ("exceed_context", "invalid_request", False),
    ("unsupported", "invalid_request", False),
    ("too_large", "invalid_request", False),
    ("policy", "content_filter", False),  # OpenAI Responses: bio_policy, …
    ("invalid", "invalid_request", False),
    ("image", "invalid_request", False),
    ("mismatch", "invalid_request", False),
)


def from_status(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str | None = None,
    secrets: Iterable[str] = (),
    now: float | None = None,
) -> StreamError:
    """Return the error that an answer other than 2xx means.

    Args:
        status: the HTTP status.
        headers: the answer's headers, looked up in lower case.
        body: the answer's body, or as much of it as came.
        provider: the provider's name.
        secrets: texts that must not appear in the message.
        now: the wall-clock time, against which an HTTP date in ``Retry-After`` is read.
    """
    detail = _decode(body)
    words, _ = _words(detail)
    kind, retryable = _by_status(status)
    if kind in ("invalid_request", "rate_limit", "auth"):
        kind, retryable = _by_word(words) or (kind, retryable)
    advice = headers.get("x-should-retry")  # sent by OpenAI, and obeyed by its own SDK
    if advice in ("true", "false"):
        retryable = advice == "true"
    message = _message(detail)
    if not message and headers.get("content-type", "").partition(";")[0].strip() == "text/plain":
        message = body.decode("utf-8", "replace")
    if status in _REDIRECTS:
        message = f"redirected to {headers.get('location', 'nowhere')}: correct the base_url"
    return StreamError(
        kind,
        without_secrets(one_line(message), secrets) or _phrase(status),
        status=status,
        retryable=retryable,
        retry_after=retry_after(headers, now),
        provider=provider,
    )


def from_error_object(
    error: object, *, provider: str | None = None, secrets: Iterable[str] = ()
) -> StreamError:
    """Return the error that an error object in a stream, after HTTP 200, means.

    Args:
        error: the decoded JSON: an object, or just the message.
        provider: the provider's name.
        secrets: texts that must not appear in the message.
    """
    words, code = _words(error)
    known = _by_word(words)
    if known is None and code is not None:
        known = _by_status(code)
    kind, retryable = known or ("server", True)
    return StreamError(
        kind,
        without_secrets(one_line(_message(error)), secrets)
        or "the model reported an error without a message",
        status=code,
        retryable=retryable,
        provider=provider,
    )


def unreadable(
    data: bytes, error: Exception, *, provider: str | None = None, secrets: Iterable[str] = ()
) -> StreamError:
    """Return the error of kind ``parse`` for ``data``, a part of an answer that is none.

    Args:
        data: what was to be read; its beginning is shown.
        error: why it cannot be.
        provider: the provider's name.
        secrets: texts that must not appear in the message.
    """
    # Before it is cut, so that no part of a secret is left.
    excerpt = without_secrets(data.decode("utf-8", "replace"), secrets)
    dots = "…" if len(excerpt) > _EXCERPT else ""
    msg = f"cannot read a chunk of the answer: {error}: {excerpt[:_EXCERPT]!r}{dots}"
    return StreamError("parse", without_secrets(msg, secrets), provider=provider)


def cut_short(missing: str, *, begun: bool, provider: str | None = None) -> StreamError:
    """Return the error of kind ``connection`` for an answer that just stops.

    Args:
        missing: that what ends an answer is missing, e.g. ``"no message_stop"``.
        begun: whether anything of it came.
        provider: the provider's name.
    """
    when = "before it was complete" if begun else "before it began"
    msg = f"the answer ended {when}: {missing} came"
    return StreamError("connection", msg, retryable=True, provider=provider)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return how many seconds the upstream asks to wait, or ``None``.

    Reads ``retry-after-ms``, then ``Retry-After`` as seconds or as an HTTP date (RFC 9110,
    10.2.3). Never negative; what cannot be read counts as absent.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        when = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, when - (time.time() if now is None else now))


def one_line(text: str) -> str:
    """Return ``text`` on one line, cut to a length a person reads."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every secret replaced by ``***``."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _by_status(status: int) -> tuple[ErrorKind, bool]:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status in _SERVER_ERRORS:
        return ("server", True)
    return ("invalid_request", False)


def _by_word(words: str) -> tuple[ErrorKind, bool] | None:
    for word, kind, retryable in _BY_WORD:
        if word in words:
            return (kind, retryable)
    return None


def _decode(body: bytes) -> object:
    try:
        return cast("object", msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _object(detail: object) -> Mapping[str, Any]:
    """Return the mapping that describes the error, unwrapped from ``{"error": …}``."""
    if not isinstance(detail, dict):
        return {}
    outer = cast("Mapping[str, Any]", detail)
    inner: object = outer.get("error")
    return cast("Mapping[str, Any]", inner) if isinstance(inner, dict) else outer


def _words(detail: object) -> tuple[str, int | None]:
    """Return the type and code of an error in lower case, and the code if it is a status."""
    error = _object(detail)
    kind, code = error.get("type"), error.get("code")
    status = _number(code) if isinstance(code, str) else code
    words = " ".join(str(word) for word in (kind, code) if isinstance(word, str)).lower()
    if isinstance(status, (int, float)) and int(status) in _ERRORS:
        return words, int(status)
    return words, None


def _message(detail: object) -> str:
    if isinstance(detail, str):
        return detail
    error = _object(detail)
    for key in ("message", "detail", "error", "msg"):
        text: object = error.get(key)
        if isinstance(text, str) and text.strip():
            return text
        if isinstance(text, list) and text:  # FastAPI: one object for each field
            return "; ".join(_message(item) for item in cast("list[object]", text))
    return ""


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _phrase(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
