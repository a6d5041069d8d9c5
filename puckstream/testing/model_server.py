"""A model to talk to: a real HTTP server that speaks four dialects from one script.

=============================  ====================================================
``POST /v1/chat/completions``  OpenAI: an answer, streamed or whole
``POST /v1/responses``         OpenAI Responses
``POST /v1/messages``          Anthropic
``POST /api/chat``             Ollama, streamed unless the request says otherwise
``GET /v1/models``             the names of the scripts, for OpenAI and Anthropic
``GET /api/tags``              the names of the scripts, for Ollama
``GET /api/version``           a version, for Ollama
``GET /healthz``               ``{"status": "ok"}``
``GET /log``                   every request so far, see `Record`
=============================  ====================================================

Which script answers: the one that the header ``x-puckstream-script`` names (404 if there is none
of that name); else the one named like the model, or like what follows the last slash of the
model's name; else the server's own scripts without a name, in turn; else ``story``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Self

from puckstream.errors import InvalidOption
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.chat_dialect import ChatDialect
from puckstream.testing.conditions import Conditions
from puckstream.testing.connection import Connection, Incoming
from puckstream.testing.dialect import BadRequest, Dialect
from puckstream.testing.exchange import Exchange
from puckstream.testing.gate import Gate
from puckstream.testing.messages_dialect import MessagesDialect
from puckstream.testing.ollama_dialect import OllamaDialect
from puckstream.testing.record import Record
from puckstream.testing.responses_dialect import ResponsesDialect
from puckstream.testing.script import Script

__all__ = ["SCRIPT_HEADER", "ModelServer", "Scripts"]

SCRIPT_HEADER = "x-puckstream-script"

Scripts = Script | Sequence[Script] | Mapping[str, Script | Sequence[Script]]
"""One script, several in turn, or either by name (``""`` for requests that name none)."""

_JSON = {"content-type": "application/json"}
_LONG_AGO = "1970-01-01T00:00:00Z"
_OPENAI = ChatDialect()
_DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.path: dialect
        for dialect in (_OPENAI, ResponsesDialect(), MessagesDialect(), OllamaDialect())
    }
)


class ModelServer:
    """The scripted model, listening while the ``async with`` lasts.

    Args:
        scripts: what to answer; the built-in scripts are always there by their names.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        gated: let nothing out but what `release` allows, so that a test decides what has come.
        on_record: called with the record of every request when it ends.
        remember: how many requests the log keeps.

    Raises:
        OSError: on entering, if the address cannot be had.
        InvalidOption: if there is no script for a name.
    """

    def __init__(
        self,
        scripts: Scripts | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        gated: bool = False,
        on_record: Callable[[Record], None] | None = None,
        remember: int = 10_000,
    ) -> None:
        self._scripts = _by_name(scripts)
        self._host = host
        self._port = port
        self._gate = Gate(open=not gated)
        self._on_record = on_record
        self._exchanges: deque[Exchange] = deque(maxlen=remember)
        self._connections: dict[Connection, None] = {}
        self._connection_numbers = itertools.count(1)
        self._request_numbers = itertools.count(1)
        self._conditions = Conditions()
        self._server: asyncio.Server | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connected, self._host, self._port, backlog=4096
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._connections):
            await connection.aclose()
        await self.wait_connections(0)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The ``base_url`` for clients of the OpenAI dialects, with its ``/v1``."""
        return f"{self.origin}/v1"

    @property
    def origin(self) -> str:
        """The address without a path: the ``base_url`` for Anthropic's client, Ollama's host."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def records(self) -> tuple[Record, ...]:
        """Every request so far, oldest first, running ones included."""
        return tuple(exchange.record() for exchange in self._exchanges)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def release(self, chunks: int = 1) -> None:
        """Let ``chunks`` more chunks out of a gated server; the end of an answer counts as one.

        Whoever waited longest sends first, whichever request it belongs to. Chunks released
        ahead of time are kept.
        """
        self._gate.release(chunks)

    def release_all(self) -> None:
        """Open the gate for good."""
        self._gate.open()

    async def wait_record(self, predicate: Callable[[Record], bool]) -> Record:
        """Return the first record of which ``predicate`` holds, now or as soon as one does."""
        await self._conditions.until(lambda: any(map(predicate, self.records)))
        return next(filter(predicate, self.records))

    async def wait_closed(self, request: str) -> Record:
        """Return the record of that request once it has ended and its connection is closed."""
        return await self.wait_record(
            lambda record: record.id == request and record.closed and record.ended is not None
        )

    async def wait_connections(self, count: int) -> None:
        """Return when exactly ``count`` connections are open."""
        await self._conditions.until(lambda: len(self._connections) == count)

    def _connected(self) -> Connection:
        connection = Connection(next(self._connection_numbers), self._handle, self._lost)
        self._connections[connection] = None
        self._conditions.changed()
        return connection

    def _lost(self, connection: Connection) -> None:
        del self._connections[connection]
        self._conditions.changed()

    async def _handle(self, connection: Connection, incoming: Incoming) -> None:
        """Answer one request of any path."""
        path = incoming.path.removeprefix("/v1")
        dialect = _DIALECTS.get(path)
        if dialect is not None and incoming.method == "POST":
            await self._answer(dialect, connection, incoming)
            return
        answers: Mapping[str, Callable[[], object]] = {
            "/models": self._models,
            "/api/tags": self._tags,
            "/api/version": lambda: {"version": "0.0.0"},
            "/healthz": lambda: {"status": "ok"},
            "/log": lambda: [record.as_json() for record in self.records],
        }
        spoken = dialect or _OPENAI
        if dialect is not None or (path in answers and incoming.method != "GET"):
            await _fail(spoken, connection, 405, f"{incoming.method} is not for {incoming.path}")
        elif path not in answers:
            await _fail(spoken, connection, 404, f"there is no {incoming.path} here")
        else:
            await connection.whole(200, json.dumps(answers[path]()).encode(), _JSON)

    async def _answer(self, dialect: Dialect, connection: Connection, incoming: Incoming) -> None:
        try:
            asked = dialect.read(incoming.body)
        except BadRequest as error:
            await _fail(dialect, connection, 400, str(error))
            return
        name = self._name_for(asked.model, incoming.headers.get(SCRIPT_HEADER))
        if name is None:
            known = ", ".join(name for name in self._scripts if name)
            problem = f"no such script; there are: {known}"
            await _fail(dialect, connection, 404, problem, "not_found_error")
            return
        request = f"req-{next(self._request_numbers)}"
        script = next(self._scripts[name])
        exchange = Exchange(
            id=request,
            dialect=dialect,
            asked=asked,
            name=name or "default",
            script=script,
            connection=connection,
            gate=self._gate,
            on_change=self._conditions.changed,
        )
        self._exchanges.append(exchange)
        self._conditions.changed()
        try:
            exchange.end(await exchange.play())
        except asyncio.CancelledError:
            exchange.end("shutdown" if self._stopping else "client_closed")
            raise
        finally:
            self._conditions.changed()
            if self._on_record is not None:
                self._on_record(exchange.record())

    def _name_for(self, model: str, asked: str | None) -> str | None:
        """Return the name under which the script for a request is kept."""
        if asked is not None:
            return asked if asked in self._scripts else None
        for name in (model, model.rpartition("/")[2]):
            if name and name in self._scripts:
                return name
        return ""

    def _models(self) -> object:
        """Return the list in the words of both OpenAI and Anthropic, whose page is the same."""
        names = [name for name in self._scripts if name]
        openai = {"object": "model", "created": 0, "owned_by": "puckstream"}
        models = [
            {"id": name, **openai, "type": "model", "display_name": name, "created_at": _LONG_AGO}
            for name in names
        ]
        ends = {"first_id": names[0], "last_id": names[-1], "has_more": False}
        return {"object": "list", "data": models, **ends}

    def _tags(self) -> object:
        details = {"format": "script", "family": "puckstream", "parameter_size": "0"}
        known = {"modified_at": _LONG_AGO, "size": 0, "digest": "", "details": details}
        names = [name for name in self._scripts if name]
        return {"models": [{"name": name, "model": name, **known} for name in names]}


def _by_name(scripts: Scripts | None) -> dict[str, Iterator[Script]]:
    """Return an endless supply of scripts for each name, the built-in ones included."""
    given: Mapping[str, Script | Sequence[Script]] = (
        scripts if isinstance(scripts, Mapping) else {} if scripts is None else {"": scripts}
    )
    supply: dict[str, Iterator[Script]] = {}
    for name, some in {"": BUILTIN_SCRIPTS["story"], **BUILTIN_SCRIPTS, **given}.items():
        each = (some,) if isinstance(some, Script) else tuple(some)
        if not each:
            raise InvalidOption("scripts", name, "at least one script for each name")
        supply[name] = itertools.cycle(each)
    return supply


async def _fail(
    dialect: Dialect,
    connection: Connection,
    status: int,
    message: str,
    kind: str = "invalid_request_error",
) -> None:
    await connection.whole(status, dialect.error(message, kind), _JSON)
