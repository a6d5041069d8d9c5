"""Who may open a connection now: a fixed number of slots, spread over shards.

httpx's pool walks all its connections whenever a request starts or ends, so a stream is dearer
to open the more are open. Many small pools do not have that problem. The slots say which one to
use, and let callers wait in order when all are taken, so that no pool ever holds a queue.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque

__all__ = ["Slots"]


class Slots:
    """``total`` slots in shards of ``shard_size``; the last shard may be smaller.

    The lowest shard with room is filled first: connections that are kept alive get used again,
    and what a shard costs does not depend on how many others there are.
    """

    def __init__(self, total: int, shard_size: int) -> None:
        self._free = [slot // shard_size for slot in range(total)]  # ascending, so a heap
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._sizes = [min(shard_size, total - first) for first in range(0, total, shard_size)]

    def size(self, shard: int) -> int:
        """Return how many slots ``shard`` has."""
        return self._sizes[shard]

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return len(self._free)

    async def acquire(self) -> int:
        """Return the shard in which the caller now holds a slot; first come, first served.

        Cancellation leaves the slots unchanged.
        """
        if self._free:
            return heapq.heappop(self._free)
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(turn.result())
            raise

    def release(self, shard: int) -> None:
        """Give back a slot of ``shard``, to the longest waiting caller if there is one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(shard)
                return
        heapq.heappush(self._free, shard)
