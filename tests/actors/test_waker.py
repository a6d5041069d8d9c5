"""The loop is woken from threads, however the loop can be woken."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from puckstream.actors.waker import Waker

if TYPE_CHECKING:
    from tests.actors.conftest import Threads


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def woken_from_threads(threads: Threads, waker: Waker, woken: asyncio.Event) -> None:
    for _ in range(3):
        await threads.run(waker.wake)
        await woken.wait()
        woken.clear()


async def test_every_wake_up_is_followed_by_a_call_on_the_loop(threads: Threads) -> None:
    woken, idents = asyncio.Event(), []

    def callback() -> None:
        idents.append(threading.get_ident())
        woken.set()

    waker = Waker(asyncio.get_running_loop(), callback)
    await woken_from_threads(threads, waker, woken)
    waker.close()
    assert set(idents) == {threading.get_ident()}


@pytest.mark.parametrize("lacking", ["eventfd", "add_reader"])
async def test_a_loop_or_system_without_descriptors_is_woken_its_own_way(
    threads: Threads, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> NoReturn:
        raise NotImplementedError

    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    if lacking == "eventfd":
        monkeypatch.delattr(os, "eventfd")
    else:
        monkeypatch.setattr(loop, "add_reader", refuse)
    before = open_descriptors()
    waker = Waker(loop, woken.set)
    await woken_from_threads(threads, waker, woken)
    assert open_descriptors() == before
    waker.close()


async def test_no_descriptor_is_opened_before_it_is_needed_nor_kept_after_the_end(
    threads: Threads,
) -> None:
    before, woken = open_descriptors(), asyncio.Event()
    waker = Waker(asyncio.get_running_loop(), woken.set)
    assert open_descriptors() == before
    await woken_from_threads(threads, waker, woken)
    assert open_descriptors() == before + 1
    waker.close()
    assert open_descriptors() == before
    await woken_from_threads(threads, waker, woken)
    assert open_descriptors() == before, "after the end it takes the loop's own way"
    waker.close()


def test_a_closed_loop_says_so_and_its_descriptor_goes_with_the_waker(threads: Threads) -> None:
    wakers: list[Waker] = []

    async def main() -> None:
        woken = asyncio.Event()
        wakers.append(Waker(asyncio.get_running_loop(), woken.set))
        await woken_from_threads(threads, wakers[0], woken)

    before = open_descriptors()
    asyncio.run(main())
    threads.join()  # the last one may hold the waker to its end
    with pytest.raises(RuntimeError, match="closed"):
        wakers[0].wake()
    assert open_descriptors() == before + 1
    wakers.clear()
    assert open_descriptors() == before
