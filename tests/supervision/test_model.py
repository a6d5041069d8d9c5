"""Real supervision trees against a pure model of OTP's rules, at random.

Every step is one batch of things that happen to a tree: children end, start functions fail or
ignore, children unlink, administrators ask, supervisors are stopped or killed, time passes. After
each, the tree must have done what the model says: started and ended the same actors in the same
order for the same reasons, at the same time, answered the same, and stand the same.

``PUCKSTREAM_MODEL_STEPS`` is the number of steps (10,000), ``PUCKSTREAM_MODEL_SEED`` where they
begin. A failure prints a tree and what happened to it, shortened, to be pasted into `SCENARIOS`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest

from tests.supervision.otp_chance import batches, random_tree
from tests.supervision.otp_model import Ambiguous, Model
from tests.supervision.otp_procs import Bag
from tests.supervision.otp_spec import Delay, Op, Spec
from tests.supervision.otp_world import World

STEPS = int(os.environ.get("PUCKSTREAM_MODEL_STEPS", "10000"))
SEED = int(os.environ.get("PUCKSTREAM_MODEL_SEED", "1"))
ROUNDS = 5
STEPS_PER_TREE = 60
SHORTENINGS = 400

Batches = list[list[Op]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of crashes are no news here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# ------------------------------------------------------------------------------------ comparison


class Divergence(AssertionError):
    """The real tree did something else than the model."""


def compare(what: str, model: Any, real: Any) -> None:
    if model != real:
        msg = f"{what}\n  model: {model}\n  real:  {real}"
        raise Divergence(msg)


def compare_journals(model: Model, world: World) -> None:
    real, world.journal = world.journal, []
    expected, model.journal = model.journal, []
    loose, model.loose = model.loose, []
    apart = Counter(loose)
    ordered = [entry for entry in real if entry not in apart]
    compare("ends of orphans", apart, Counter(entry for entry in real if entry in apart))
    at = 0
    for item in expected:
        if isinstance(item, Bag):
            some = ordered[at : at + len(item)]
            compare(f"journal {expected}, at {item}", Counter(item), Counter(some))
            at += len(item)
        else:
            some = ordered[at : at + 1]
            compare(f"journal\n  model: {expected}\n  real:  {real}\nat {at}", [item], some)
            at += 1
    compare(f"journal {real}, further than {expected}", [], ordered[at:])


def compare_states(model: Model, world: World) -> None:
    compare("time", model.now, world.clock.time)
    dues = {due for due, *_ in model.pending()}
    compare("delayed restarts", set(), dues - world.clock.dues())
    alive = {proc.key for proc in model.latest.values() if proc.alive}
    refs = {key for key, ref in world.refs.items() if ref.is_alive()}
    compare("not alive", set(), alive - refs)
    for sup in model.sups():
        ref = world.refs[sup.key]
        name = sup.spec.name
        rows = ref.which_children()
        compare(f"which_children of {name}", sup.rows(), world.answer_of(ref, rows))
        counts = world.answer_of(ref, ref.count_children())
        compare(f"count_children of {name}", sup.counts(), counts)
        compare(
            f"restarts in the window of {name}",
            sup.in_window(model.now),
            ref.tree().get().restarts_in_window,
        )
        compare(
            f"restarts of the children of {name}",
            sorted((slot.spec.name, slot.restarts) for slot in sup.slots),
            sorted((row.spec.id, row.restarts) for row in rows.get()),
        )


# --------------------------------------------------------------------------------------- playing


class Play:
    """A tree, what happens to it, and a record of that."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.record: Batches = []

    async def run(self, happenings: Callable[[Model], Iterable[list[Op]]]) -> None:
        """Build the tree twice and let the same things happen to both.

        Raises:
            Divergence: they did not become the same.
            Ambiguous: two supervisors would act at one time; this cannot be compared.
        """
        world = World(self.spec)
        try:
            model = Model(self.spec, world.clock.time)
            await world.start()
            compare_journals(model, world)
            compare_states(model, world)
            for batch in happenings(model):
                self.record.append(batch)
                await step(model, world, batch)
            if model.top is not None and model.top.alive:
                await step(model, world, [("stop", self.spec.name, "normal")])
        finally:
            await world.close()


async def step(model: Model, world: World, batch: list[Op]) -> None:
    model.results = []
    possible = [op for op in batch if op[0] in ("advance", "plan") or op[1] in model.latest]
    for op in possible:
        if op[0] in ("noise", "ask", "stop") and not model.latest[op[1]].alive:
            return
    for op in possible:
        model.happen(op)
    model.run()
    for op in possible:
        await world.happen(op)
    await world.settle()
    compare_journals(model, world)
    compare(f"answers to {batch}", model.results, world.answers())
    compare_states(model, world)


async def outcome_of(spec: Spec, recorded: Batches) -> str | None:
    """Play what was recorded; return how it diverged, or None."""
    try:
        await Play(spec).run(lambda _model: recorded)
    except Ambiguous:
        return None
    except Exception as error:  # noqa: BLE001  # a shortened play may fail in any way
        return f"{type(error).__name__}: {error}"
    return None


async def shortened(spec: Spec, recorded: Batches) -> tuple[Spec, Batches]:
    """Leave out what the failure does not need, a piece at a time."""
    tries = SHORTENINGS
    again = True
    while again and tries:
        again = False
        for less_spec, less in smaller(spec, recorded):
            tries -= 1
            if tries <= 0:
                break
            if await outcome_of(less_spec, less) is not None:
                spec, recorded, again = less_spec, less, True
                break
    return spec, recorded


def smaller(spec: Spec, recorded: Batches) -> Iterator[tuple[Spec, Batches]]:
    half = len(recorded) // 2
    if half > 2:
        yield spec, recorded[half:]
        yield spec, recorded[:half]
    for at in reversed(range(len(recorded))):
        yield spec, recorded[:at] + recorded[at + 1 :]
    for less in smaller_specs(spec):
        yield less, recorded
    for at, batch in enumerate(recorded):
        for op in range(len(batch) if len(batch) > 1 else 0):
            yield spec, [*recorded[:at], batch[:op] + batch[op + 1 :], *recorded[at + 1 :]]


def smaller_specs(spec: Spec) -> Iterator[Spec]:
    plain: dict[str, Any] = {
        "backoff": None,
        "linger": 0.0,
        "traps": False,
        "start": "class",
        "shutdown": 5.0,
        "classify": False,
        "restart": "permanent",
    }
    for at, child in enumerate(spec.children):
        before, after = spec.children[:at], spec.children[at + 1 :]
        yield replace(spec, children=before + after)
        for less in smaller_specs(child):
            yield replace(spec, children=(*before, less, *after))
    for option, value in plain.items():
        if getattr(spec, option) != value and not (option == "restart" and spec.significant):
            yield replace(spec, **{option: value})


# ----------------------------------------------------------------------------------------- tests

CAREFREE = Spec("w", backoff=Delay(1.0, 4.0, 10.0))
DYNAMIC = Spec("d", "dynamic")

SCENARIOS: dict[str, tuple[Spec, Batches]] = {
    "a child that died unnoticed is not active": (
        Spec("s", "static", children=(Spec("w"),)),
        [[("unlink", "w")], [("end", "w", "killed")]],
    ),
    "a child whose exit still waits in the mailbox is not active": (
        Spec("s", "static", children=(Spec("w"),)),
        [[("noise", "s"), ("ask", "s", "count_children", None), ("end", "w", "shutdown")]],
    ),
    "a dynamic supervisor can be looked at while a child waits for its restart": (
        Spec("s", "static", children=(DYNAMIC,)),
        [
            [("ask", "d", "start_child", CAREFREE)],
            [("noise", "d"), ("end", "w", "crash"), ("ask", "d", "which_children", None)],
            [("advance", 1.0)],
        ],
    ),
    "a child started by hand begins with the shortest delay again": (
        Spec("s", "static", children=(CAREFREE,)),
        [
            *([("end", "w", "crash")], [("advance", 1.0)], [("end", "w", "crash")]),
            *([("ask", "s", "terminate_child", "w")], [("ask", "s", "restart_child", "w")]),
            *([("end", "w", "crash")], [("advance", 1.0)]),
        ],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_what_once_diverged_does_so_no_more(name: str) -> None:
    """S21, S32, S39: plays that were found at random."""
    spec, recorded = SCENARIOS[name]
    await Play(spec).run(lambda _model: recorded)


@pytest.mark.time_limit(60 + STEPS / 50)
@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_a_tree_does_what_the_model_of_otp_does(round_: int) -> None:
    """S8, S10, S11, S14, S15, S17, S19, S20, S21, S22, S24, S25, S26, S27, S29, S30, S31, S32,
    S34, S35, S36, S37, S38, S39: whatever happens, in whatever order."""
    steps = trees = ambiguous = 0
    while steps < STEPS // ROUNDS:
        seed = f"{SEED}-{round_}-{trees}"
        random = Random(seed)
        play = Play(random_tree(random))
        trees += 1
        try:
            await play.run(partial(batches, random, count=STEPS_PER_TREE))
        except Ambiguous:
            ambiguous += 1
        except Exception as error:
            spec, recorded = await shortened(play.spec, play.record)
            why = await outcome_of(spec, recorded)
            happened = "\n".join(f"        {batch!r}," for batch in recorded)
            error.add_note(
                f"seed {seed}, step {len(play.record)}; shortened: {why}\n"
                f"    (\n      {spec!r},\n      [\n{happened}\n      ],\n    ),"
            )
            raise
        steps += len(play.record)
    assert ambiguous < max(5, trees / 4), (
        f"{ambiguous} of {trees} could not be compared to their end"
    )
