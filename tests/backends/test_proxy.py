"""Which proxy the environment means, and that this machine is never reached through one."""

from __future__ import annotations

import pytest

from puckstream.backends.proxy import is_loopback, proxy_of
from puckstream.errors import StreamError


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_never_reached_through_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    assert is_loopback(host)
    assert proxy_of(f"http://[{host}]/v1" if ":" in host else f"http://{host}/v1") is None


def test_the_environment_s_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_of("https://api.example/v1") is None
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert proxy_of("https://api.example/v1") == "http://all:1"
    monkeypatch.setenv("HTTPS_PROXY", "secure:2")
    assert proxy_of("https://api.example/v1") == "http://secure:2"
    assert proxy_of("http://api.example/v1") == "http://all:1"


def test_exceptions_in_no_proxy_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert proxy_of("https://api.inside.example/v1") is None
    assert proxy_of("https://outside.example/v1") == "http://proxy:1"


@pytest.mark.parametrize("proxy", ["ftp://proxy:1", "socks5://proxy:1"])
def test_a_proxy_that_cannot_be_used_says_so(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(StreamError, match="environment names a") as caught:
        proxy_of("https://api.example/v1")
    assert caught.value.kind == "connection"
