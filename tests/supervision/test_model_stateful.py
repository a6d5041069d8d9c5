"""The same model as in `test_model`, driven by Hypothesis, which chooses, shrinks and remembers.

Every rule is one kind of thing that happens to a tree; after each the real tree must have done
what the model says. A failure is printed as the shortest program of rules that brings it about.
"""

from __future__ import annotations

import asyncio
import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.supervision.otp_chance import TIMES, Happenings, random_tree
from tests.supervision.otp_model import Ambiguous, Model
from tests.supervision.otp_play import compare_journals, compare_states, step
from tests.supervision.otp_procs import Sup
from tests.supervision.otp_spec import Op, Spec
from tests.supervision.otp_world import World

CHANCE = st.randoms(use_true_random=False)


@pytest.fixture(autouse=True)
def _quiet(only_reports: None) -> None:
    """Thousands of crashes are no news here."""


class SupervisedTree(RuleBasedStateMachine):
    """A real tree and its model, to which the same things happen."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(debug=False)
        self.numbers = itertools.count(100)

    @initialize(chance=CHANCE)
    def build(self, chance: Random) -> None:
        self.over = False
        self.spec: Spec = random_tree(chance)
        self.runner.run(self.begin())

    @precondition(lambda self: not self.living())
    @rule(chance=CHANCE)
    def another_tree_takes_the_place_of_one_that_has_ended(self, chance: Random) -> None:
        self.runner.run(self.world.close())
        self.build(chance)

    async def begin(self) -> None:
        self.world = World(self.spec)
        self.model = Model(self.spec, self.world.clock.time)
        await self.world.start()
        compare_journals(self.model, self.world)
        await compare_states(self.model, self.world)

    def happen(self, *batch: Op) -> None:
        try:
            self.runner.run(step(self.model, self.world, list(batch)))
        except Ambiguous:
            self.over = True

    def living(self) -> bool:
        return not self.over and self.model.top is not None and self.model.top.alive

    def sup(self, chance: Random) -> Sup:
        return chance.choice(self.model.sups())

    def by_chance(self, chance: Random) -> Happenings:
        happenings = Happenings(chance, self.model)
        happenings.chance.numbers = self.numbers
        return happenings

    @precondition(living)
    @rule(seconds=st.sampled_from(TIMES))
    def time_passes(self, seconds: float) -> None:
        self.happen(("advance", seconds))

    @precondition(living)
    @rule(chance=CHANCE)
    def an_administrator_asks(self, chance: Random) -> None:
        self.happen(self.by_chance(chance).request(self.sup(chance)))

    @precondition(living)
    @rule(chance=CHANCE)
    def several_things_reach_a_supervisor_at_once(self, chance: Random) -> None:
        self.happen(*self.by_chance(chance).several(self.sup(chance)))

    @precondition(lambda self: self.living() and self.workers())
    @rule(chance=CHANCE)
    def children_end_while_starts_fail(self, chance: Random) -> None:
        happenings = self.by_chance(chance)
        plan = happenings.plan(chance.choice(self.workers()))
        self.happen(plan, *happenings.several(self.sup(chance)))

    @precondition(living)
    @rule(chance=CHANCE)
    def whatever_else_there_is(self, chance: Random) -> None:
        batch = self.by_chance(chance).batch()
        self.happen(*batch)
        if self.living() and any(op[0] == "doom" for op in batch):
            self.happen(("advance", 0.5))

    def workers(self) -> list[str]:
        return [name for name in self.model.latest if name.startswith("w")]

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                if self.living():
                    self.happen(("stop", self.spec.name, "normal"))
                self.runner.run(self.world.close())
        finally:
            self.runner.close()


def test_hypothesis_finds_nothing_that_the_model_of_otp_does_not_do() -> None:
    """S8, S14, S15, S19, S20, S21, S22, S24, S25, S26, S27, S30, S31, S34, S36, S37, S39."""
    quietly: Any = settings(
        max_examples=25,
        stateful_step_count=30,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        # Explaining a failure line by line takes longer than to shrink it.
        phases=[Phase.generate, Phase.shrink],
    )
    run_state_machine_as_test(SupervisedTree, settings=quietly)
