"""The one file that knows pykka: its errors, and its registry at scale."""

from __future__ import annotations

import pykka
import pytest

from puckstream.actors._pykka import ActorDeadError, AskTimeout, PykkaRefs, enlist, strike_off
from puckstream.errors import ActorDead, CallTimeout


def test_the_errors_are_pykkas_and_puckstreams_at_once() -> None:
    assert issubclass(ActorDeadError, pykka.ActorDeadError)
    assert issubclass(ActorDeadError, ActorDead)
    assert issubclass(AskTimeout, pykka.Timeout)
    assert issubclass(AskTimeout, CallTimeout)
    assert issubclass(AskTimeout, TimeoutError)


def test_the_list_of_refs_keeps_what_the_registry_does_with_it() -> None:
    one, other, third = object(), object(), object()
    refs = PykkaRefs([one])
    refs.append(other)
    refs.append(third)
    refs.remove(other)
    assert list(refs) == refs[:] == [one, third]
    assert refs[1:] == [third]
    assert len(refs) == 2
    assert one in refs
    assert other not in refs
    with pytest.raises(ValueError, match="not registered"):
        refs.remove(other)


def test_going_through_the_refs_survives_their_removal_and_newcomers() -> None:
    refs = PykkaRefs(list(range(10)))
    for ref in refs:
        refs.remove(ref)
        refs.append(-ref - 1)
    assert refs[:] == list(range(-1, -11, -1))


def test_enlisting_twice_and_striking_off_the_unknown_are_harmless() -> None:
    class Ref:
        pass

    ref = Ref()
    strike_off(ref)
    enlist(ref)
    assert ref in pykka.ActorRegistry.get_all()
    strike_off(ref)
    strike_off(ref)
    assert ref not in pykka.ActorRegistry.get_all()
