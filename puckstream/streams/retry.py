"""Trying again: which failures are worth another attempt, when, and with whom.

All of it is decided here, by `Retry.decide`; the stream actor carries it out:

- A chunk that a subscriber could see ends it, unless ``after_first_token`` says otherwise.
- The same client is tried again while it has attempts left and the failure is one to retry.
- Then it is the next client's turn (``fallback=``), unless the failure is the request's own: one
  of kind ``invalid_request`` or ``content_filter`` would be the next client's too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast, get_args

from puckstream.backends.base import Chunk
from puckstream.errors import ErrorKind, InvalidOption, StreamError
from puckstream.streams.policy import check_span
from puckstream.supervision.child import Backoff

__all__ = ["Retry", "Step", "is_visible"]

# The end of the actor or of its node: nobody is left to try again.
_FINAL: Final = frozenset({"killed", "node_down"})
_KINDS: Final = frozenset(cast("tuple[str, ...]", get_args(ErrorKind))) - _FINAL
_OF_THE_REQUEST: Final = frozenset({"invalid_request", "content_filter"})


class Step(NamedTuple):
    """What follows a failure: another attempt.

    Args:
        delay: seconds until then.
        next_client: whether it is the next client's turn.
    """

    delay: float
    next_client: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, when and after which failures a stream is tried again.

    Every attempt is announced by ``retrying``. None is made once the stream has been cancelled,
    and none by anybody else: a stream whose actor was killed is over.

    Args:
        attempts: how often each client is tried, the first time included; 1 or more.
        backoff: how long to wait: doubling, capped, with jitter. Its ``reset_after`` means
            nothing here.
        on: the kinds of `StreamError` to retry, whatever they say themselves; by default those
            that are ``retryable``.
        after_first_token: try again also when something could be seen already. The subscribers
            are told by ``retrying`` with ``reset``: the text so far is void.
        max_retry_after: the longest wait, in seconds, an upstream may ask for. Never is it asked
            again earlier than it wants; if it wants more than this, it is not tried again.
        chance: makes the jitter: a number from 0 to 1.

    Raises:
        InvalidOption: if a value is impossible.
    """

    attempts: int = 3
    backoff: Backoff = field(default=Backoff(min=0.5, max=30.0, jitter=0.5), kw_only=True)
    on: Iterable[ErrorKind] | None = field(default=None, kw_only=True)
    after_first_token: bool = field(default=False, kw_only=True)
    max_retry_after: float = field(default=60.0, kw_only=True)
    chance: Callable[[], float] = field(
        default=random.random, kw_only=True, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise InvalidOption("retry.attempts", self.attempts, "a whole number, 1 or more")
        if not isinstance(cast("object", self.backoff), Backoff):
            raise InvalidOption("retry.backoff", self.backoff, "a puckstream Backoff")
        if not isinstance(cast("object", self.after_first_token), bool):
            option = "retry.after_first_token"
            raise InvalidOption(option, self.after_first_token, "True or False")
        check_span("retry.max_retry_after", self.max_retry_after)
        if not callable(self.chance):
            raise InvalidOption("retry.chance", self.chance, "a function of no argument")
        if self.on is not None:
            object.__setattr__(self, "on", _kinds(self.on))

    @classmethod
    def of(cls, value: Retry | int | None) -> Retry:
        """Return ``value`` as a `Retry`; a number is that of the attempts, ``None`` means one.

        Raises:
            InvalidOption: if ``value`` is anything else.
        """
        if isinstance(value, Retry):
            return value
        if value is None:
            return _ONCE
        if type(value) is not int:
            raise InvalidOption("retry", value, "a Retry, a number of attempts, or None")
        return cls(value)

    def decide(
        self, error: StreamError, *, tried: int, clients_left: int, visible: bool, chance: float
    ) -> Step | None:
        """Decide what follows ``error``; ``None`` if it is the end. Pure.

        Args:
            error: how the last attempt failed.
            tried: how many attempts this client has had.
            clients_left: how many clients have not had their turn.
            visible: whether a subscriber could have seen something of an answer.
            chance: from 0 to 1, for the jitter.
        """
        if error.kind in _FINAL or (visible and not self.after_first_token):
            return None
        if tried < self.attempts and self._worth_it(error):
            delay = self._delay(tried, error.retry_after, chance)
            if delay is not None:
                return Step(delay, next_client=False)
        if clients_left and error.kind not in _OF_THE_REQUEST:
            return Step(0.0, next_client=True)
        return None

    def _worth_it(self, error: StreamError) -> bool:
        return error.retryable if self.on is None else error.kind in self.on

    def _delay(self, tried: int, retry_after: float | None, chance: float) -> float | None:
        delay = self.backoff.delay(tried - 1, chance)
        if retry_after is None:
            return delay
        if retry_after > self.max_retry_after:
            return None
        # Everybody was told the same moment; those who come a little later come apart.
        apart = self.backoff.min * self.backoff.jitter * chance
        return max(delay, retry_after + apart)


def is_visible(chunk: Chunk) -> bool:
    """Whether a subscriber sees something of the answer in ``chunk``.

    Empty chunks and the last, ``finish``, show nothing; the name of a tool does.
    """
    type_: Any = chunk[0]
    content = chunk[1]
    return type_ != "finish" and (type_ == "tool_use" or (content is not None and content != ""))


def _kinds(given: Any) -> frozenset[str]:
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise InvalidOption("retry.on", given, "a set of kinds, such as {'overloaded'}")
    kinds: tuple[Any, ...] = tuple(given)
    for kind in kinds:
        if kind not in _KINDS:
            raise InvalidOption("retry.on", kind, f"one of {', '.join(sorted(_KINDS))}")
    return frozenset(kinds)


_ONCE: Final = Retry(1)
