"""Nothing that httpx or httpcore can raise is unknown."""

from __future__ import annotations

import ssl
from typing import get_args

import httpcore
import httpx
import pytest

from puckstream.backends.http import Call
from puckstream.backends.http_errors import ERRORS, translated
from puckstream.errors import ErrorKind, StreamError

CALL = Call(
    "https://user@api.example:8443/v1/chat/completions",
    {"authorization": "Bearer sk-secret"},
    b"",
    "openai",
)


def exceptions(module: object) -> list[type[Exception]]:
    found = [getattr(module, name) for name in module.__all__]  # type: ignore[attr-defined]
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, Exception)]


def raised(cls: type[Exception], message: str) -> Exception:
    if cls is httpx.HTTPStatusError:
        request = httpx.Request("POST", CALL.url)
        return httpx.HTTPStatusError(message, request=request, response=httpx.Response(500))
    try:
        return cls(message)
    except TypeError:  # the errors of misuse carry a message of their own
        return cls()


@pytest.mark.parametrize("cls", [*exceptions(httpx), *exceptions(httpcore)])
def test_every_error_has_a_kind_of_its_own_and_names_the_upstream(cls: type[Exception]) -> None:
    assert cls.__name__ in ERRORS
    error = translated(raised(cls, "it says Bearer sk-secret"), CALL)
    assert error.kind in get_args(ErrorKind)
    assert error.provider == "openai"
    assert "https://api.example:8443" in error.message or error.kind == "invalid_request"
    assert "sk-secret" not in str(error)
    assert "\n" not in error.message


def test_the_table_names_only_what_exists() -> None:
    names = {cls.__name__ for cls in (*exceptions(httpx), *exceptions(httpcore))}
    assert set(ERRORS) - names == {"UnicodeEncodeError"}


def test_a_cut_connection_is_worth_another_try_and_a_stranger_s_protocol_is_not() -> None:
    cut = httpcore.RemoteProtocolError(
        "peer closed connection without sending complete message body"
    )
    gone = httpcore.RemoteProtocolError("Server disconnected without sending a response.")
    strange = httpcore.RemoteProtocolError("illegal status line: 'SSH-2.0'")
    assert [(e.kind, e.retryable) for e in (translated(x, CALL) for x in (cut, gone, strange))] == [
        ("connection", True),
        ("connection", True),
        ("protocol", False),
    ]


def test_a_certificate_that_is_not_trusted_stays_so() -> None:
    error = httpcore.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    found = translated(error, CALL)
    assert (found.kind, found.retryable) == ("connection", False)


def test_a_subclass_is_what_its_parent_is() -> None:
    class Custom(httpx.ReadError): ...

    assert translated(Custom("x"), CALL).kind == "connection"


def test_what_nobody_knows_is_told_with_its_name() -> None:
    error = translated(RuntimeError(), CALL)
    assert (error.kind, error.retryable) == ("protocol", False)
    assert error.message == "the request to https://api.example:8443 failed: RuntimeError"
    assert translated(ConnectionResetError("x"), CALL).kind == "connection"


def test_a_stream_error_passes_unchanged() -> None:
    error = StreamError("auth", "no")
    assert translated(error, CALL) is error
