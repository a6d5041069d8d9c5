"""What httpx and httpcore raise, as `StreamError`; the two use the same names."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Protocol

from puckstream.backends.failure import one_line, without_secrets
from puckstream.errors import ErrorKind, StreamError

__all__ = ["ERRORS", "translated"]

ERRORS: Mapping[str, tuple[ErrorKind, bool, str]] = {
    "ConnectTimeout": ("connection", True, "cannot connect to {origin}"),
    "PoolTimeout": ("connection", True, "no connection to {origin} became free"),
    "ReadTimeout": ("connection", True, "{origin} fell silent"),
    "WriteTimeout": ("connection", True, "{origin} does not take the request"),
    "TimeoutException": ("connection", True, "{origin} took too long"),
    "ConnectError": ("connection", True, "cannot connect to {origin}"),
    "ReadError": ("connection", True, "the connection to {origin} broke"),
    "WriteError": ("connection", True, "the connection to {origin} broke"),
    "CloseError": ("connection", True, "the connection to {origin} broke"),
    "NetworkError": ("connection", True, "the connection to {origin} broke"),
    "ConnectionNotAvailable": ("connection", True, "the connection to {origin} broke"),
    "ProxyError": ("connection", True, "the proxy does not connect to {origin}"),
    "TransportError": ("connection", True, "the connection to {origin} broke"),
    "RequestError": ("connection", True, "the request to {origin} failed"),
    "HTTPError": ("connection", True, "the request to {origin} failed"),
    "RemoteProtocolError": ("protocol", False, "{origin} does not speak HTTP/1.1"),
    "ProtocolError": ("protocol", False, "{origin} does not speak HTTP/1.1"),
    "DecodingError": ("protocol", False, "{origin} sends what its Content-Encoding is not"),
    "TooManyRedirects": ("protocol", False, "{origin} redirects in a circle"),
    "HTTPStatusError": ("protocol", False, "{origin} refuses"),
    "CookieConflict": ("protocol", False, "{origin} sends conflicting cookies"),
    "StreamConsumed": ("protocol", False, "the answer of {origin} was read twice"),
    "StreamClosed": ("protocol", False, "the answer of {origin} was read after its end"),
    "ResponseNotRead": ("protocol", False, "the answer of {origin} was not read"),
    "RequestNotRead": ("protocol", False, "the request to {origin} was not read"),
    "StreamError": ("protocol", False, "the answer of {origin} cannot be read"),
    # These may quote the header, which may be the key.
    "LocalProtocolError": ("invalid_request", False, "a header cannot be sent: check the API key"),
    "UnicodeEncodeError": ("invalid_request", False, "a header cannot be sent: check the API key"),
    "UnsupportedProtocol": ("invalid_request", False, "{origin} is neither http nor https"),
    "InvalidURL": ("invalid_request", False, "{origin} is not a URL"),
}
"""Kind, whether to try again, and message, by the name of the exception's class."""

_UNKNOWN_OS: tuple[ErrorKind, bool, str] = ("connection", True, "the request to {origin} failed")
_UNKNOWN: tuple[ErrorKind, bool, str] = ("protocol", False, "the request to {origin} failed")
_DEEPEST = 10  # causes of causes: a chain may be a circle
_QUOTING = ("LocalProtocolError", "UnicodeEncodeError")


class _Sent(Protocol):
    """What a translation needs to know of the call that failed."""

    @property
    def provider(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def secrets(self) -> tuple[str, ...]: ...


def translated(error: Exception, call: _Sent) -> StreamError:
    """Return ``error``, raised by httpx or below while sending ``call``, as a `StreamError`.

    A `StreamError` of this package is returned as it is.
    """
    if isinstance(error, StreamError):
        return error
    names = [cls.__name__ for cls in type(error).__mro__]
    name = next((name for name in names if name in ERRORS), None)
    if name is None:
        kind, retryable, template = _UNKNOWN_OS if isinstance(error, OSError) else _UNKNOWN
    else:
        kind, retryable, template = ERRORS[name]
    detail = one_line(str(error)) or type(error).__name__
    if name == "RemoteProtocolError" and ("closed" in detail or "disconnected" in detail):
        # h11 and httpcore say so of a connection that ends before the response does.
        kind, retryable, template = "connection", True, "{origin} cut the connection"
    if name == "ConnectError" and any(
        isinstance(e, ssl.SSLError) for e in islice(_causes(error), _DEEPEST)
    ):
        retryable = False  # a certificate does not become valid by asking again
    message = template.format(origin=call.origin)
    if name not in _QUOTING:
        message = f"{message}: {detail}"
    return StreamError(
        kind,
        without_secrets(message, call.secrets),
        retryable=retryable,
        provider=call.provider,
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
