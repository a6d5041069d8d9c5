"""Statuses, error bodies and Retry-After, as a caller can act on them."""

from __future__ import annotations

import json

import pytest

from puckstream.backends.failure import from_error_object, from_status, one_line, retry_after

JSON = {"content-type": "application/json"}


def body(message: str = "no", **fields: object) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (301, "invalid_request", False),
        (400, "invalid_request", False),
        (401, "auth", False),
        (402, "auth", False),
        (403, "auth", False),
        (404, "invalid_request", False),
        (408, "server", True),
        (409, "server", True),
        (413, "invalid_request", False),
        (422, "invalid_request", False),
        (429, "rate_limit", True),
        (500, "server", True),
        (502, "server", True),
        (503, "overloaded", True),
        (504, "server", True),
        (529, "overloaded", True),
        (599, "server", True),
    ],
)
def test_a_status_says_what_happened_and_whether_to_try_again(
    status: int, kind: str, retryable: bool
) -> None:
    error = from_status(status, JSON, body("so it is"), provider="openai")
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)
    assert error.provider == "openai"
    if status >= 400:
        assert error.message == "so it is"


@pytest.mark.parametrize(
    ("status", "fields", "kind", "retryable"),
    [
        (429, {"code": "insufficient_quota"}, "rate_limit", False),
        (400, {"code": "content_filter"}, "content_filter", False),
        (400, {"type": "rate_limit_exceeded"}, "rate_limit", True),
        (403, {"type": "overloaded_error"}, "overloaded", True),
        (500, {"type": "invalid_request_error"}, "server", True),
    ],
)
def test_the_error_s_own_type_is_more_precise_than_the_status(
    status: int, fields: dict[str, str], kind: str, retryable: bool
) -> None:
    error = from_status(status, JSON, body(**fields))
    assert (error.kind, error.retryable) == (kind, retryable)


def test_the_upstream_s_word_on_retrying_counts() -> None:
    assert not from_status(500, {**JSON, "x-should-retry": "false"}, body()).retryable
    assert from_status(400, {**JSON, "x-should-retry": "true"}, body()).retryable


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"error": {"message": "a"}}', "a"),
        (b'{"error": "b"}', "b"),
        (b'{"object": "error", "message": "c"}', "c"),
        (b'{"detail": "d"}', "d"),
        (b'{"detail": [{"msg": "e"}, {"msg": "f"}]}', "e; f"),
        (b'{"type": "error", "error": {"type": "api_error", "message": "g"}}', "g"),
        (b'{"error": {"message": "two\\n  lines"}}', "two lines"),
        (b"", "HTTP 500 Internal Server Error"),
        (b"<html>no</html>", "HTTP 500 Internal Server Error"),
        (b'{"error": {"mess', "HTTP 500 Internal Server Error"),
        (b"[1]", "HTTP 500 Internal Server Error"),
        (b"\xff\xfe", "HTTP 500 Internal Server Error"),
    ],
)
def test_the_upstream_s_own_words_are_the_message_in_whatever_shape_they_come(
    said: bytes, message: str
) -> None:
    assert from_status(500, JSON, said).message == message


def test_plain_text_is_a_message_too() -> None:
    error = from_status(503, {"content-type": "text/plain; charset=utf-8"}, b"upstream is down\n")
    assert error.message == "upstream is down"


def test_an_unknown_status_has_a_message() -> None:
    assert from_status(599, {}, b"").message == "HTTP 599"


def test_a_redirect_says_where_to_and_what_to_do() -> None:
    error = from_status(308, {"location": "https://new.example/v1"}, b"")
    assert error.message == "redirected to https://new.example/v1: correct the base_url"


def test_a_key_never_gets_into_the_message() -> None:
    error = from_status(401, JSON, body("bad key sk-secret!"), secrets=("sk-secret",))
    assert error.message == "bad key ***!"
    late = from_error_object({"message": "sk-secret is out of money"}, secrets=("sk-secret", ""))
    assert late.message == "*** is out of money"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_milliseconds_or_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=10.0) == seconds
    assert from_status(429, headers, b"", now=10.0).retry_after == seconds


@pytest.mark.parametrize(
    ("said", "kind", "retryable", "status"),
    [
        ({"message": "x", "type": "overloaded_error"}, "overloaded", True, None),
        ({"message": "x", "type": "server_error"}, "server", True, None),
        ({"message": "x", "code": 429}, "rate_limit", True, 429),
        ({"message": "x", "code": "502"}, "server", True, 502),
        ({"message": "x", "type": "BadRequestError", "code": 400}, "invalid_request", False, 400),
        ({"message": "x", "type": "authentication_error"}, "auth", False, None),
        ({"error": {"message": "x", "code": "content_filter"}}, "content_filter", False, None),
        ({"message": "x"}, "server", True, None),
        ("x", "server", True, None),
    ],
)
def test_an_error_object_in_the_stream_says_as_much_as_a_status(
    said: object, kind: str, retryable: bool, status: int | None
) -> None:
    error = from_error_object(said, provider="vllm")
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)
    assert (error.message, error.provider) == ("x", "vllm")


def test_an_error_object_without_words_still_makes_a_message() -> None:
    assert from_error_object({}).message == "the model reported an error without a message"


def test_a_long_message_is_cut() -> None:
    assert len(one_line("word " * 1000)) == 500
