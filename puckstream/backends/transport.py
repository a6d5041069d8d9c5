"""The layer between httpx and httpcore: a connection pool on this package's own sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import cast
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

from puckstream.backends.network import AsyncioNetwork

__all__ = ["PoolTransport"]


class PoolTransport(httpx.AsyncBaseTransport):
    """An httpx transport over one httpcore pool.

    httpx's own does the same, but has no parameter for the sockets. Errors pass through as
    httpcore raises them.

    Args:
        max_connections: the pool's limit, idle connections included.
        ssl_context: for https; httpcore's default if it is ``None``.
        proxy: the URL of a proxy, credentials included, or ``None``.
    """

    def __init__(
        self, max_connections: int, ssl_context: ssl.SSLContext | None, proxy: str | None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            proxy=None if proxy is None else _proxy(proxy),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=5.0,
            network_backend=AsyncioNetwork(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and return the response, its body unread.

        Raises:
            Exception: as httpcore does.
        """
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme,
                    host=url.raw_host,
                    port=url.port,
                    target=url.raw_path,
                ),
                headers=request.headers.raw,
                content=cast("AsyncIterable[bytes]", request.stream),
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer
        self._stream = cast("AsyncIterable[bytes]", answer.stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        await self._answer.aclose()


def _proxy(url: str) -> httpcore.Proxy:
    parts = urlsplit(url)
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    port = "" if parts.port is None else f":{parts.port}"
    return httpcore.Proxy(f"{parts.scheme}://{parts.hostname}{port}", auth=auth)
