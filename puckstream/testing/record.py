"""What the scripted model remembers of a request."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Ending", "Record"]

Ending = Literal["complete", "client_closed", "fault", "shutdown"]
"""How an answer ended: by itself, because the client left, as its script says, with the server."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request, as the server saw it. Times are seconds since the epoch."""

    id: str
    model: str
    script: str
    stream: bool
    connection: int
    started: float
    tokens_sent: int
    tokens_total: int
    ended: Ending | None = None
    """``None`` while it runs."""
    when: float | None = None
    """When it ended."""
    closed: bool = False
    """Whether the client's connection is closed by now."""
    dialect: str = "openai"
    """The API that was spoken: ``openai``, ``openai-responses``, ``anthropic`` or ``ollama``."""

    def as_json(self) -> dict[str, Any]:
        """Return the record as an object for ``/log``."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the record as a line for a person."""
        ended = "runs" if self.ended is None else self.ended.replace("_", " ")
        return (
            f"{self.id} {self.model} [{self.script}] {ended} "
            f"after {self.tokens_sent} of {self.tokens_total} tokens "
            f"on connection {self.connection}"
        )
