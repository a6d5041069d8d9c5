"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["LoopThread"]


class LoopThread:
    """An event loop that runs in a daemon thread of its own, from its making to `close`.

    Args:
        name: what the thread is called after.
        factory: makes the loop; asyncio's default if it is ``None``.
    """

    def __init__(self, name: str, factory: Callable[[], asyncio.AbstractEventLoop] | None) -> None:
        self._loop = factory() if factory is not None else asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"puckstream-{name}", daemon=True)
        self.closed = False
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            asyncio.set_event_loop(None)

    def is_current(self) -> bool:
        """Whether this is the thread that is calling."""
        return threading.current_thread() is self._thread

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run ``coroutine`` on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Stop the loop, once everything on it has ended, and join the thread."""
        if self.closed:
            return
        self.closed = True

        async def finish() -> None:
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()

        self.run(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
