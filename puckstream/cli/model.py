"""``puckstream model``: the scripted model as a server of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast, get_args

from puckstream.errors import InvalidOption
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.model_server import ModelServer
from puckstream.testing.record import Record
from puckstream.testing.script import Fault, FaultKind, Script, load_scripts

if TYPE_CHECKING:
    # argparse has no public name for it, and at run time it is no generic class.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

__all__ = ["add_parser", "run"]

_LAST_PORT: Final = 65_535

_DESCRIPTION = """\
A model to talk to: speaks the dialects of OpenAI (chat completions and Responses), Anthropic and
Ollama from a script, needs no key and no network. Point a client of OpenAI's at the URL it prints,
the others at the same without /v1. The model's name chooses a script: echo, story, fast,
slow, thinking, tool, refusal, empty, stall, cut, rate-limited, overloaded, broken, unauthorized,
error-after-200, malformed and more (GET /v1/models); any other name gets the script given here.
"""


def port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _LAST_PORT:
        msg = f"{port} is no port: 0 to {_LAST_PORT}"
        raise argparse.ArgumentTypeError(msg)
    return port


def add_parser(subparsers: Subparsers) -> None:
    """Add the command ``model`` to the command line."""
    parser = subparsers.add_parser(
        "model", help="run a scripted model server", description=_DESCRIPTION
    )
    _add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop.

    Returns:
        0 after SIGTERM or, with ``--until-stdin-closes``, the end of stdin; 130 after SIGINT;
        1 if the address cannot be had; 2 if an option cannot work.
    """
    try:
        scripts = _scripts(args)
    except InvalidOption as error:
        print(f"puckstream model: {error}", file=sys.stderr)
        return 2
    try:
        with contextlib.ExitStack() as stack:
            log = None
            if args.log is not None:
                log = stack.enter_context(Path(args.log).open("a", encoding="utf-8", buffering=1))
            return asyncio.run(_serve(args, scripts, log))
    except OSError as error:
        print(f"puckstream model: {error}", file=sys.stderr)
        return 1


async def _serve(
    args: argparse.Namespace, scripts: dict[str, tuple[Script, ...]], log: TextIO | None
) -> int:
    def tell(record: Record) -> None:
        line = json.dumps(record.as_json())
        if log is not None:
            print(line, file=log)
        if not args.quiet:
            print(line if args.json else record, flush=True)

    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    _stop_on_signals(stopped)
    if args.until_stdin_closes:
        _stop_on_end_of_stdin(stopped)
    async with ModelServer(scripts, host=args.host, port=args.port, on_record=tell) as server:
        print(json.dumps({"url": server.url}) if args.json else server.url, flush=True)
        return await stopped


def _stop_on_signals(stopped: asyncio.Future[int]) -> None:
    loop = asyncio.get_running_loop()
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
            loop.add_signal_handler(number, _stop, stopped, code)


def _stop_on_end_of_stdin(stopped: asyncio.Future[int]) -> None:
    """Watch stdin from a thread: it may be a file or a device, which no event loop can wait for."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop is closed: stopped by then
            loop.call_soon_threadsafe(_stop, stopped, 0)

    threading.Thread(target=watch, name="puckstream:stdin", daemon=True).start()


def _stop(stopped: asyncio.Future[int], code: int) -> None:
    if not stopped.done():
        stopped.set_result(code)


def _scripts(args: argparse.Namespace) -> dict[str, tuple[Script, ...]]:
    """Return the scripts of ``--script``, or the one that the other options describe."""
    if args.script is not None:
        return load_scripts(Path(args.script))
    described: dict[str, Any] = {
        "text": args.text,
        "echo": args.echo,
        "thinking": args.thinking,
        "rate": args.rate,
        "delay": args.delay,
        "chunk": args.chunk,
        "fault": None if args.fault is None else _fault(args.fault),
    }
    given = {name: value for name, value in described.items() if value is not None}
    if not given:
        return {}
    if "text" not in given and not args.echo:
        given["text"] = BUILTIN_SCRIPTS["story"].text
    return {"": (Script(**given),)}


def _fault(said: str) -> Fault:
    """Read ``kind``, ``kind:after`` or ``status:429``."""
    kind, _, number = said.partition(":")
    if kind not in get_args(FaultKind):
        raise InvalidOption("--fault", said, f"one of {', '.join(get_args(FaultKind))}")
    try:
        value = int(number) if number else None
    except ValueError:
        raise InvalidOption("--fault", said, "a whole number after the colon") from None
    if kind == "status":
        return Fault("status", status=value or 500)
    if value is None and kind in ("error", "malformed"):
        value = 0  # they are chunks, and come after the head
    return Fault(cast("FaultKind", kind), after=value)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=port_number, default=0, help="port to listen on (default: a free one)")
    add("--json", action="store_true", help="print JSON lines")
    add("--quiet", action="store_true", help="print the URL and nothing else")
    add("--log", metavar="FILE", help="append a JSON line for each request to FILE")
    add(
        "--until-stdin-closes",
        action="store_true",
        help="stop at the end of stdin, so as not to outlive the parent process",
    )
    script = parser.add_argument_group("what it says")
    add = script.add_argument
    add("--script", metavar="FILE", help="a .json or .toml file of scripts; overrides the rest")
    add("--text", help="what it says")
    add("--echo", action="store_true", default=None, help="say what the user said")
    add("--thinking", metavar="TEXT", help="what it thinks first")
    add("--rate", type=float, metavar="N", help="tokens per second (default: no limit)")
    add("--delay", type=float, metavar="S", help="seconds before the first token")
    add("--chunk", type=int, metavar="N", help="tokens per chunk")
    add(
        "--fault",
        metavar="KIND[:N]",
        help="cut, stall, error or malformed after N tokens (cut or stall without N: before the "
        "head), or status:N",
    )


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="puckstream model", description=_DESCRIPTION)
    _add_arguments(_parser)
    sys.exit(run(_parser.parse_args()))
