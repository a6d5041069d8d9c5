"""``puckstream chat``: streams, cancels, and says in one line what went wrong."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script, ToolCall
from puckstream.testing.upstream import Upstream

if TYPE_CHECKING:
    from tests.cli.conftest import Start

every_dialect = pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("openai", "OPENAI_BASE_URL"),
        ("openai-responses", "OPENAI_BASE_URL"),
        ("anthropic", "ANTHROPIC_BASE_URL"),
        ("ollama", "OLLAMA_HOST"),
    ],
)
SAYING = Script(text="One word after the other.")


async def test_the_answer_goes_to_standard_output_and_nothing_else(start: Start) -> None:
    async with ModelServer(SAYING) as server:
        process = await start("chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"One word after the other.\n", b"")


async def test_the_prompt_dash_is_standard_input(start: Start) -> None:
    async with ModelServer(Script(echo=True)) as server:
        process = await start("chat", "-", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        out, _ = await process.communicate(b"said on standard input")
    assert b"said on standard input" in out


@every_dialect
async def test_thinking_and_tool_calls_are_shown_on_lines_of_their_own(
    start: Start, provider: str, variable: str
) -> None:
    script = Script(
        thinking="Let me see.",
        text="Here.",
        tool_calls=(ToolCall("look", '{"a": 1}'), ToolCall("see", "{}")),
    )
    async with ModelServer(script) as server:
        where = {variable: server.url if variable == "OPENAI_BASE_URL" else server.origin}
        process = await start("chat", "Hi", "--model", f"{provider}:x", **where)
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    thinking, text, *calls = out.decode().splitlines()
    assert (thinking, text) == ("Let me see.", "Here.")
    assert [call.replace(" ", "") for call in calls] == ['[look]{"a":1}', "[see]{}"]


@every_dialect
async def test_ctrl_c_closes_the_upstream_of_every_dialect(
    start: Start, provider: str, variable: str
) -> None:
    async with ModelServer(SAYING, gated=True) as server:
        where = {variable: server.url if variable == "OPENAI_BASE_URL" else server.origin}
        process = await start("chat", "Hi", "--model", f"{provider}:x", **where)
        assert process.stdout is not None
        server.release(2)
        await process.stdout.readuntil(b"word")
        process.send_signal(signal.SIGINT)
        await process.communicate()
        record = await server.wait_record(lambda record: record.closed)
    assert process.returncode == 130
    assert (record.ended, record.tokens_sent, record.dialect) == ("client_closed", 2, provider)


@every_dialect
async def test_an_error_in_the_stream_is_one_clear_line_in_every_dialect(
    start: Start, provider: str, variable: str
) -> None:
    script = Script(text="a b", fault=Fault("error", after=1, message="The oil ran out."))
    async with ModelServer(script) as server:
        where = {variable: server.url if variable == "OPENAI_BASE_URL" else server.origin}
        process = await start("chat", "Hi", "--model", f"{provider}:x", **where)
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"a \n")
    assert err.decode() == f"puckstream: server from {provider}: The oil ran out.\n"


async def test_a_refusal_is_shown_as_the_answer_it_is(start: Start) -> None:
    async with ModelServer(Script(refusal="I would rather not.")) as server:
        process = await start("chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        out, _ = await process.communicate()
    assert out == b"I would rather not.\n"


async def test_an_option_goes_into_the_request(start: Start) -> None:
    async with Upstream(b'{"message": {"content": "ok"}, "done": true}') as upstream:
        process = await start(
            *("chat", "Hi", "--model", "ollama:x", "-o", "think=true", "-o", "temperature=0.5"),
            *("--option", "keep_alive=5m"),
            OLLAMA_HOST=upstream.url,
        )
        out, err = await process.communicate()
    assert (out, err) == (b"ok\n", b"")
    body = json.loads(upstream.requests[0].body)
    assert (body["think"], body["options"], body["keep_alive"]) == (
        True,
        {"temperature": 0.5},
        "5m",
    )


async def test_json_prints_one_event_a_line_numbered_without_gaps(start: Start) -> None:
    async with ModelServer(SAYING) as server:
        process = await start(
            "chat", "Hi", "--model", "openai:x", "--json", OPENAI_BASE_URL=server.url
        )
        out, _ = await process.communicate()
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("started", "done")
    assert "".join(event["content"] for event in events if event["type"] == "content") == (
        "One word after the other."
    )


async def test_ctrl_c_closes_the_upstream_keeps_the_text_and_exits_130(start: Start) -> None:
    async with ModelServer(SAYING, gated=True) as server:
        process = await start("chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        assert process.stdout is not None
        server.release(3)
        said = await process.stdout.readuntil(b"after")
        process.send_signal(signal.SIGINT)
        rest, err = await process.communicate()
        record = await server.wait_record(lambda record: record.closed)
    assert said + rest == b"One word after \n"
    assert (process.returncode, err) == (130, b"")
    assert (record.ended, record.tokens_sent) == ("client_closed", 3)


async def test_ctrl_c_before_the_headers_closes_the_upstream_too(start: Start) -> None:
    async with ModelServer(Script(text="never", fault=Fault("stall"))) as server:
        process = await start("chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        await server.wait_record(lambda _record: True)
        process.send_signal(signal.SIGINT)
        await process.communicate()
        record = await server.wait_record(lambda record: record.closed)
    assert (process.returncode, record.ended) == (130, "client_closed")


async def test_a_reader_that_goes_away_stops_the_model(start: Start) -> None:
    async with ModelServer(SAYING, gated=True) as server:
        process = await start("chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        assert process.stdout is not None
        server.release(1)
        await process.stdout.readuntil(b"One")
        process.stdout._transport.close()  # type: ignore[attr-defined]  # the pipe's reading end
        server.release(3)
        record = await server.wait_record(lambda record: record.closed)
        assert await process.wait() == 1
    assert record.ended == "client_closed"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (Script(text="a b", fault=Fault("status", status=429, retry_after=1)), "rate_limit (429)"),
        (Script(text="a b", fault=Fault("status", status=500)), "server (500)"),
        (Script(text="a b", fault=Fault("cut", after=1)), "connection"),
        (Script(text="a b", fault=Fault("error", after=1)), "from openai"),
        (Script(text="a b", fault=Fault("malformed", after=1)), "parse"),
    ],
)
async def test_an_error_is_one_clear_line_and_exit_1(
    start: Start, script: Script, line: str
) -> None:
    async with ModelServer(script) as server:
        process = await start("chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=server.url)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert line in err.decode()
    assert len(err.decode().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--model", "nobody:x"), "unknown provider 'nobody'"),
        (("--model", "openai"), "unknown provider 'openai'"),
        (("--model", "openai:x"), "set OPENAI_API_KEY"),
        (("--model", "anthropic:x"), "set ANTHROPIC_API_KEY"),
        (("--timeout", "-1"), "timeout=-1.0 is not possible"),
        (("-o", "temperature"), "--option='temperature'"),
        (("-o", "prompt=x"), "--option='prompt=x'"),
    ],
)
async def test_bad_input_is_one_clear_line_and_exit_1(
    start: Start, arguments: tuple[str, ...], line: str
) -> None:
    process = await start("chat", "Hi", *arguments)
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert line in err.decode()
    assert len(err.decode().splitlines()) == 1


async def test_an_unreachable_upstream_is_one_clear_line(start: Start) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    process = await start(
        "chat", "Hi", "--model", "openai:x", OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1"
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().startswith("puckstream: connection from openai: ")
    assert len(err.decode().splitlines()) == 1


async def test_a_timeout_says_which_clock_ran_out(start: Start) -> None:
    async with ModelServer(Script(text="a", fault=Fault("stall"))) as server:
        process = await start(
            *("chat", "Hi", "--model", "openai:x", "--timeout", "0.2"), OPENAI_BASE_URL=server.url
        )
        _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"puckstream: stopped: timeout_total\n")


async def test_the_scripted_model_needs_no_key_and_ends_with_the_command(start: Start) -> None:
    process = await start("chat", "Hi", "--model", "scripted:fast")
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"The keeper of the harbour lamp")
