"""What a test waits for on a server: conditions that are looked at whenever something changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Conditions"]


class Conditions:
    """Conditions that somebody waits for; on one loop."""

    def __init__(self) -> None:
        self._watches: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when ``condition()`` holds, now or at a change. Cancelled, it leaves nothing."""
        if condition():
            return
        met: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watch = (condition, met)
        self._watches.append(watch)
        try:
            await met
        finally:
            self._watches.remove(watch)

    def changed(self) -> None:
        """Look at every condition; whose holds is let go."""
        for condition, met in self._watches:
            if not met.done() and condition():
                met.set_result(None)
