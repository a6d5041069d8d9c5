"""How far a stream has come, for a progress bar or a log line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from puckstream.backends.base import Usage
from puckstream.errors import InvalidOption
from puckstream.streams.iteration import Iteration, Look
from puckstream.streams.snapshot import Status

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler
    from puckstream.streams.log import Log

__all__ = ["Progress", "ProgressReports"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream has come at one moment.

    Args:
        status: where it is in its life.
        seq: the number of its last event.
        usage: the token counts so far; ``usage.estimated`` says whether they were counted here.
        elapsed: seconds since the stream was made.
        first_chunk: seconds from then to its first chunk; ``None`` before that.
    """

    status: Status
    seq: int
    usage: Usage
    elapsed: float
    first_chunk: float | None

    @property
    def rate(self) -> float | None:
        """Output tokens a second since the first chunk; ``None`` where that means nothing yet."""
        if self.first_chunk is None or self.usage.output is None:
            return None
        seconds = self.elapsed - self.first_chunk
        return self.usage.output / seconds if seconds > 0 else None


class ProgressReports(Iteration[Progress]):
    """The present state of a stream whenever it has changed, the last one at its end.

    Who is slow gets the latest, not every one.

    Args:
        interval: at least so many seconds of the node's clock from one report to the next.

    Raises:
        InvalidOption: if ``interval`` is no number of seconds from 0 up.
    """

    def __init__(self, system: Scheduler, log: Log, interval: float = 0.0) -> None:
        given = cast("object", interval)
        if type(given) not in (int, float) or not 0 <= interval < math.inf:
            raise InvalidOption("interval", interval, "seconds, 0 or more")
        super().__init__(system, log)
        self._interval = interval
        self._reported_at = -math.inf

    def _look(self) -> Look:
        log, now = self._log, self._system.clock.now()
        if log.last_seq == self._seq:
            return Look()
        left = self._reported_at + self._interval - now
        if left > 0 and log.terminal is None:
            return Look(pause=left)
        report = self._report(log, log.last_at if log.terminal is not None else now)
        return Look([(now, report)])

    def _is_held(self, event: object) -> bool:
        del event
        return self._system.clock.now() < self._reported_at + self._interval

    @staticmethod
    def _report(log: Log, now: float) -> Progress:
        first = log.first_chunk_at
        return Progress(
            log.status,
            log.last_seq,
            log.usage,
            now - log.created_at,
            None if first is None else first - log.created_at,
        )

    def _hand_out(self, found: Any) -> Progress:
        report: Progress
        # Not before: a step that is cancelled may have looked without handing anything out.
        self._reported_at, report = found
        self._coalesced += report.seq - self._seq - 1
        self._delivered += 1
        self._seq = report.seq
        if report.status in ("done", "error", "cancelled"):
            self._ended = True
        return report
