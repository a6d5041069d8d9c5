"""One streaming HTTP response after another: the only file that knows httpx.

Rules of this file:

* One task opens, iterates and closes a response; the response never leaves the ``async with``.
* Whatever enters httpx goes through `puckstream.backends.cancellation`, so that no cancellation
  interrupts its tidying. When the ``async with`` is left the socket is closed, or the connection
  is idle in the pool.
* Every error leaves as a `StreamError`, which never contains a key.
* httpx gets no read timeout: how long a model may be silent is the stream's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from puckstream.backends.base import Resources
from puckstream.backends.cancellation import through_doors, to_the_end
from puckstream.backends.failure import from_status
from puckstream.backends.http_errors import translated
from puckstream.backends.proxy import is_loopback, proxy_of
from puckstream.backends.slots import Slots
from puckstream.backends.transport import PoolTransport
from puckstream.errors import StreamError

__all__ = ["Answer", "Call", "HttpPool", "fetch", "http_pool"]

_SHARD = 32
"""Connections of one httpx client. Measured: an open costs the same from 1 to about this many."""

_LINGER = 0.5
"""Seconds to wait for the end of a body whose last event has come, to use its connection again."""

_HEAD_BYTES = 64 * 1024
_HEAD_TIMEOUT = 5.0

_SUCCESS = range(200, 300)
_HEADERS = {"accept-encoding": "identity", "user-agent": "puckstream"}


@dataclass(frozen=True, slots=True)
class Call:
    """One POST whose answer is a stream.

    Args:
        url: where to.
        headers: what to send besides the pool's own headers; keys are not printed.
        body: the JSON, encoded.
        provider: the provider's name, for errors.
        connect_timeout: seconds for the TCP connection, and again for the TLS handshake.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    provider: str
    connect_timeout: float = 10.0

    @property
    def origin(self) -> str:
        """Scheme, host and port, for messages: no path, no credentials."""
        parts = urlsplit(self.url)
        port = "" if parts.port is None else f":{parts.port}"
        return f"{parts.scheme}://{parts.hostname}{port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials in the headers."""
        names = ("authorization", "x-api-key", "api-key")
        sent = (value for name, value in self.headers.items() if name.lower() in names)
        return tuple(value.rpartition(" ")[2] for value in sent if value)


class Answer:
    """The head of a response, and an iterator over the bytes of its body as they come.

    Raises (while iterating):
        StreamError: for anything the upstream or the network does.
    """

    __slots__ = ("_call", "_pieces", "_response", "headers", "status")

    def __init__(self, response: httpx.Response, call: Call) -> None:
        self._response = response
        self._call = call
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        self._pieces = response.aiter_bytes() if encoded else response.aiter_raw()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await through_doors(anext(self._pieces))
        except StopAsyncIteration:
            raise
        except Exception as error:
            raise translated(error, self._call) from error

    async def read_head(self) -> bytes:
        """Return the body of an answer that is not the stream it should be.

        That is as much of it as a message needs, and as comes within a few seconds. Never raises
        a `StreamError`.
        """
        body = b""
        with contextlib.suppress(TimeoutError, StreamError):
            async with asyncio.timeout(_HEAD_TIMEOUT):
                async for piece in self:
                    body += piece
                    if len(body) > _HEAD_BYTES:
                        break
        return body

    async def drain(self, linger: float = _LINGER) -> None:
        """Read what is left of a body that has said all it had to say.

        The connection can be used again if the body ends within ``linger`` seconds; otherwise,
        or if it breaks, leaving closes it. Either is fine, so nothing is raised.
        """
        with contextlib.suppress(TimeoutError, StreamError):
            async with asyncio.timeout(linger):
                async for _ in self:
                    pass

    async def aclose(self) -> None:
        """Close the connection, or hand it back if the body has ended."""
        with contextlib.suppress(Exception):
            await self._response.aclose()
        # What is left half-way are generators within generators of httpx, which would each be
        # finished by a task of the garbage collector's. On a closed connection a read ends them.
        with contextlib.suppress(Exception):
            async for _ in self._pieces:
                pass


class HttpPool:
    """At most ``max_connections`` connections, spread over small httpx clients.

    Callers wait for a connection in the order in which they came. Belongs to one loop.
    """

    def __init__(
        self,
        max_connections: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._slots = Slots(max_connections, _SHARD)
        self._clients: dict[int, httpx.AsyncClient] = {}
        self._ssl_context = ssl_context
        self._proxy = proxy

    @property
    def free(self) -> int:
        """How many more connections may be opened now."""
        return self._slots.free

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[Answer]:
        """Send ``call``; the context's value is the answer, its status 2xx.

        Entering waits for a free connection and for the response's head. Leaving closes the
        response before it returns, however often the task is cancelled meanwhile.

        Raises:
            StreamError: if the upstream cannot be reached, or refuses.
        """
        shard = await self._slots.acquire()
        try:
            answer = await self._send(self._client(shard), call)
            try:
                if answer.status not in _SUCCESS:
                    raise from_status(
                        answer.status,
                        answer.headers,
                        await answer.read_head(),
                        provider=call.provider,
                        secrets=call.secrets,
                    )
                yield answer
            finally:
                await to_the_end(answer.aclose())
        finally:
            self._slots.release(shard)

    async def aclose(self) -> None:
        """Close the idle connections. The streams must have ended."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await to_the_end(client.aclose())

    async def _send(self, client: httpx.AsyncClient, call: Call) -> Answer:
        try:
            request = client.build_request(
                "POST",
                call.url,
                headers=dict(call.headers),
                content=call.body,
                timeout=httpx.Timeout(None, connect=call.connect_timeout),
            )
            return Answer(await through_doors(client.send(request, stream=True)), call)
        except Exception as error:
            raise translated(error, call) from error

    def _client(self, shard: int) -> httpx.AsyncClient:
        client = self._clients.get(shard)
        if client is None:
            transport = PoolTransport(self._slots.size(shard), self._ssl_context, self._proxy)
            client = httpx.AsyncClient(transport=transport, headers=_HEADERS)
            self._clients[shard] = client
        return client


async def http_pool(
    resources: Resources, url: str, *, max_connections: int, verify: bool | str = True
) -> HttpPool:
    """Return the node's pool for the origin of ``url``.

    Args:
        resources: the node's.
        url: an absolute http or https URL.
        max_connections: how many connections there may be to this origin.
        verify: whether the server's certificate is checked; a path names the file of the
            certificate authorities to trust.

    Raises:
        StreamError: if the proxy that the environment names cannot be used.
    """
    parts = urlsplit(url)
    key = ("http", parts.scheme, parts.hostname, parts.port, max_connections, verify)

    @asynccontextmanager
    async def opened() -> AsyncGenerator[HttpPool]:
        context = None
        if parts.scheme == "https":
            context = await resources.get(("tls", verify), lambda: _ssl_context(verify=verify))
        # Not on the loop: some systems ask the network for their proxies.
        local = is_loopback(parts.hostname or "")
        proxy = None if local else await asyncio.to_thread(proxy_of, url)
        pool = HttpPool(max_connections, ssl_context=context, proxy=proxy)
        try:
            yield pool
        finally:
            await pool.aclose()

    return await resources.get(key, opened)


@asynccontextmanager
async def _ssl_context(*, verify: bool | str) -> AsyncGenerator[ssl.SSLContext]:
    """Make the context that all pools of a node share: reading the authorities takes long."""
    if isinstance(verify, str):
        yield await asyncio.to_thread(ssl.create_default_context, cafile=verify)
    else:
        yield await asyncio.to_thread(httpx.create_ssl_context, verify=verify)


async def fetch(url: str, *, provider: str, timeout: float = 10.0) -> bytes:
    """GET ``url`` from a server on this machine and return the body.

    Raises:
        StreamError: if it cannot be had within ``timeout`` seconds.
    """
    call = Call(url, {}, b"", provider, connect_timeout=timeout)
    try:
        async with httpx.AsyncClient(transport=PoolTransport(1, None, None)) as client:
            response = await through_doors(client.get(url, timeout=timeout))
    except Exception as error:
        raise translated(error, call) from error
    if response.status_code not in _SUCCESS:
        raise from_status(
            response.status_code, response.headers, response.content, provider=provider
        )
    return response.content
