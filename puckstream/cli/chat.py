"""``puckstream chat``: one question to a model, streamed to the terminal."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import signal
import sys
from typing import Any

from puckstream.errors import InvalidOption
from puckstream.node import Node
from puckstream.streams.client import Client
from puckstream.streams.events import CancelledEvent, DoneEvent, ErrorEvent, StreamEvent
from puckstream.streams.handle import Stream
from puckstream.streams.policy import Timeout

__all__ = ["add_parser", "run"]

_INTERRUPTED = 130
_TAKEN = frozenset(inspect.signature(Node.start_stream).parameters)
"""Names that are no option of a provider's but an argument of `Node.start_stream`."""

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help="ask a model and stream its answer",
        description="Streams a model's answer to the terminal. Ctrl-C cancels: what has arrived "
        "stays, the connection to the model is closed, and the exit status is 130.",
    )
    parser.add_argument("prompt", help="what to ask; '-' reads it from standard input")
    parser.add_argument(
        "--model",
        default=os.environ.get("PUCKSTREAM_MODEL", "scripted:"),
        metavar="PROVIDER:MODEL",
        help="openai, openai-responses, anthropic, ollama or scripted, and a model of theirs; "
        "default: $PUCKSTREAM_MODEL, else a scripted model that needs no key and no network",
    )
    parser.add_argument("--system", metavar="TEXT", help="a system prompt")
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the request, JSON or text, e.g. temperature=0.2 or think=true; repeatable",
    )
    parser.add_argument("--timeout", type=float, metavar="S", help="the most seconds it may take")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out.

    Returns:
        0 after a complete answer, 1 after an error or a timeout, 130 after Ctrl-C.

    Raises:
        PuckstreamError: if the arguments name no usable model.
    """
    client = Client(args.model, system_prompt=args.system)
    timeout = Timeout.of(args.timeout)
    options = dict(map(_option, args.option))
    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    if not prompt.strip():
        raise InvalidOption("prompt", prompt, "something to ask")
    return asyncio.run(_chat(client, prompt, timeout, options, as_json=args.json))


def _option(said: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``, whose value is text if it is no JSON."""
    name, equals, value = said.partition("=")
    if not equals or not name.isidentifier() or name in _TAKEN:
        raise InvalidOption("--option", said, "NAME=VALUE, with a name of the provider's")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


async def _chat(
    client: Client, prompt: str, timeout: Timeout, options: dict[str, Any], *, as_json: bool
) -> int:
    async with Node() as node:
        stream = await node.start_stream(client, prompt, timeout=timeout, **options)
        _cancel_on_interrupt(stream)
        show = _Json(stream.id) if as_json else _Text()
        last: StreamEvent | None = None
        try:
            async with stream.subscribe() as events:
                async for event in events:
                    show.event(event)
                    last = event
        except BrokenPipeError:
            # Whoever was reading has gone; nobody else wants the answer.
            await stream.cancel(wait=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        # The upstream connection is closed before the command says it is done.
        await stream.cancel(wait=True)
        return _status(last)


def _cancel_on_interrupt(stream: Stream) -> None:
    """Have the first Ctrl-C cancel the stream, and a second one end the program at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stream.cancel()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    except NotImplementedError:
        # No loop signal handlers on this platform: Ctrl-C ends the program, and so the stream.
        return


def _status(last: StreamEvent | None) -> int:
    if isinstance(last, DoneEvent):
        return 0
    if isinstance(last, CancelledEvent) and last.reason == "user":
        return _INTERRUPTED
    if isinstance(last, CancelledEvent):
        why = f"stopped: {last.reason}"
    elif isinstance(last, ErrorEvent):
        why = " ".join(str(last.reason).split())
    else:
        why = "the stream ended without a word"
    print(f"puckstream: {why}", file=sys.stderr)
    return 1


class _Json:
    """Prints every event as a JSON object on a line."""

    def __init__(self, stream_id: str) -> None:
        self._id = stream_id

    def event(self, event: StreamEvent) -> None:
        """Print ``event``."""
        print(json.dumps(event.to_dict(self._id), ensure_ascii=False), flush=True)


class _Text:
    """Prints the answer as it comes; thinking and tool calls dimmed, where there are colours."""

    def __init__(self) -> None:
        self._dim = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._kind = ""
        self._fresh_line = True

    def event(self, event: StreamEvent) -> None:
        """Print what ``event`` adds."""
        if event.terminal:
            self._switch("")
        match event:
            case ("content" | "refusal", chunk):
                self._switch("content")
                content = chunk.content
                self._write(content if isinstance(content, str) else repr(content))
            case ("thinking", chunk):
                self._switch("thinking")
                self._write(chunk.content)
            case ("tool_use", chunk):
                call = f"tool {chunk.metadata.get('index')}"
                if call != self._kind:
                    self._switch(call)
                    self._write(f"[{chunk.metadata.get('name')}] ")
                self._write(chunk.content)
            case _:
                return

    def _switch(self, kind: str) -> None:
        if kind == self._kind:
            return
        if not self._fresh_line:
            self._write("\n")
        if self._dim:
            sys.stdout.write(_PLAIN if kind in ("content", "") else _DIM)
            sys.stdout.flush()
        self._kind = kind

    def _write(self, text: str) -> None:
        if text:
            print(text, end="", flush=True)
            self._fresh_line = text.endswith("\n")
