"""Which proxy leads to an upstream: what the environment says, except for this machine itself."""

from __future__ import annotations

import importlib.util
import ipaddress
import urllib.request
from urllib.parse import urlsplit

from puckstream.errors import StreamError

__all__ = ["is_loopback", "proxy_of"]

_SCHEMES = ("http", "https", "socks5", "socks5h")


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine by its name or its address."""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(url: str) -> str | None:
    """Return the proxy for ``url`` by ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.

    This machine is never reached through a proxy. May block: some systems keep such settings
    elsewhere than in the environment.

    Raises:
        StreamError: if the proxy is of a kind that cannot be used.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in _SCHEMES:
        msg = f"the environment names a proxy of scheme {scheme!r}; use {', '.join(_SCHEMES)}"
        raise StreamError("connection", msg)
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        msg = "the environment names a SOCKS proxy, which needs the package 'socksio'"
        raise StreamError("connection", msg)
    return proxy
