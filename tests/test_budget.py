"""What a run may cost, and which model comes next: pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc import budget, ladder
from sdlc.budget import Left, Spent
from sdlc.domain import Budget, Usage

NONE = Budget(usd=None, tokens=None, turns=None, minutes=None)

amounts = st.floats(min_value=0, max_value=1e6)
counts = st.integers(min_value=0, max_value=10**9)
costs = counts.map(lambda millionths: millionths / 1_000_000)  # as Usage keeps them
usages = st.builds(Usage, model_calls=counts, input_tokens=counts, output_tokens=counts, usd=st.none() | costs)
spendings = st.builds(Spent, usage=usages, turns=counts, minutes=amounts)
budgets = st.builds(
    Budget,
    usd=st.none() | amounts,
    tokens=st.none() | counts,
    turns=st.none() | counts,
    minutes=st.none() | amounts,
    warn_at=st.floats(min_value=0.01, max_value=1),
)
portions = st.integers(min_value=1, max_value=9)


def spent(usd: float | None = 0.0, tokens: int = 0, turns: int = 0, minutes: float = 0.0) -> Spent:
    return Spent(usage=Usage(usd=usd, input_tokens=tokens, model_calls=1), turns=turns, minutes=minutes)


@pytest.mark.parametrize(
    ("used", "sentence"),
    [
        (spent(usd=0.99, tokens=5, turns=1, minutes=1), None),
        (spent(usd=1.0), "The budget of 1.00 USD is spent (1.00 USD)."),
        (spent(usd=None, tokens=1000), "The budget of 1,000 tokens is spent (1,000)."),
        (spent(usd=None, tokens=999), None),
        (spent(turns=7), "The budget of 7 turns of the engine is spent."),
        (spent(minutes=30), "The budget of 30 minutes of work is spent."),
        (spent(minutes=29.99), None),
    ],
)
def test_a_budget_is_spent_when_any_bound_is_reached(used: Spent, sentence: str | None) -> None:
    bounds = Budget(usd=1.0, tokens=1000, turns=7, minutes=30)
    assert budget.over(used, bounds) == sentence
    assert budget.over(used, bounds, portions=2) is None


def test_the_worst_bound_is_told_with_its_share() -> None:
    bounds = Budget(usd=10.0, tokens=5_000_000, turns=200, minutes=60)
    share = budget.spent_share(spent(usd=8.10, tokens=1_000_000, turns=20), bounds)
    assert share.part == pytest.approx(0.81)
    assert share.told == "8.10 of 10.00 USD (81 %)"
    assert budget.spent_share(spent(turns=190), bounds).told == "190 of 200 turns of the engine (95 %)"
    assert budget.spent_share(spent(tokens=4_999_999), bounds).told == "4,999,999 of 5,000,000 tokens (99 %)"
    assert budget.spent_share(spent(minutes=90), bounds).told == "90 of 60 minutes of work (150 %)"
    assert budget.spent_share(spent(usd=2.9), bounds).told == "2.90 of 10.00 USD (29 %)"
    assert budget.spent_share(spent(usd=15), bounds, portions=2).told == "15.00 of 20.00 USD (75 %)"


def test_people_are_told_from_the_configured_share_on() -> None:
    bounds = Budget(usd=10.0, warn_at=0.5)
    assert budget.warned(spent(usd=4.99), bounds) is None
    assert budget.warned(spent(usd=5), bounds) == "The budget is nearing its end: 5.00 of 10.00 USD (50 %)."
    assert budget.warned(spent(usd=5), bounds, portions=2) is None


def test_what_is_left_is_never_less_than_nothing_and_unknown_where_it_is_unknown() -> None:
    bounds = Budget(usd=1.0, tokens=100, turns=7, minutes=30)
    assert budget.left(spent(usd=0.3, tokens=40, turns=2, minutes=10), bounds) == Left(
        usd=0.7, tokens=60, turns=5, minutes=20
    )
    assert budget.left(spent(usd=9, tokens=900, turns=90, minutes=90), bounds) == Left(
        usd=0, tokens=0, turns=0, minutes=0
    )
    assert budget.left(spent(usd=None), bounds).usd is None
    assert budget.left(spent(usd=9), NONE) == Left()


def test_a_bound_of_nothing_is_reached_at_once() -> None:
    assert budget.over(Spent(), Budget(usd=0)) is not None
    assert budget.spent_share(Spent(), Budget(usd=0)).part == 1


def test_a_bound_that_can_not_be_checked_is_told_with_the_mend() -> None:
    bounds = Budget(usd=10.0)
    assert budget.unchecked(spent(usd=None, tokens=5), bounds, model="x") == (
        "The budget of 10.00 USD can't be checked: the price of `x` is unknown; set llm.prices."
    )
    assert "the price of a model is unknown" in (budget.unchecked(spent(usd=None, tokens=5), bounds) or "")
    assert "doesn't count tokens" in (budget.unchecked(spent(usd=None), bounds) or "")
    assert budget.unchecked(spent(usd=3), bounds) is None
    assert budget.unchecked(spent(usd=None), NONE) is None


@given(spendings, budgets, portions)
def test_over_warned_left_and_the_share_agree(used: Spent, bounds: Budget, times: int) -> None:
    share = budget.spent_share(used, bounds, portions=times)
    over = budget.over(used, bounds, portions=times)
    assert (over is not None) == (share.part >= 1)
    if over:
        assert budget.warned(used, bounds, portions=times)
    assert ("(100 %)" in share.told) <= (share.part >= 1), "100 % is not said too early"
    left = budget.left(used, bounds, portions=times).model_dump().values()
    assert all(amount is None or amount >= 0 for amount in left)


@given(spendings, spendings, budgets, portions)
def test_more_spending_is_never_less_of_the_budget(one: Spent, more: Spent, bounds: Budget, times: int) -> None:
    both = Spent(usage=one.usage + more.usage, turns=one.turns + more.turns, minutes=one.minutes + more.minutes)
    if both.usage.usd is None:
        bounds = bounds.model_copy(update={"usd": None})
    before = budget.spent_share(one, bounds, portions=times)
    assert budget.spent_share(both, bounds, portions=times).part >= before.part * (1 - 1e-9)
    assert budget.spent_share(one, bounds, portions=times + 1).part <= before.part


@given(spendings, portions)
def test_without_bounds_nothing_is_ever_spent(used: Spent, times: int) -> None:
    assert budget.over(used, NONE, portions=times) is None
    assert budget.warned(used, NONE, portions=times) is None
    assert budget.spent_share(used, NONE, portions=times) == budget.Share()
    assert budget.left(used, NONE, portions=times) == Left()


# --- the ladder ---------------------------------------------------------------------------


def test_the_ladder_leads_from_the_usual_model_to_the_strongest() -> None:
    rungs = ("middle", "strong")
    assert [ladder.next_model(rungs, model) for model in ("", "usual", "middle", "strong")] == [
        "middle",
        "middle",
        "strong",
        "",
    ]
    assert ladder.next_model((), "usual") == ""


@given(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=8), st.sampled_from(["", "a", "b", "usual"]))
def test_climbing_ends_at_the_top_without_a_model_twice(rungs: list[str], model: str) -> None:
    climbed = []
    while model := ladder.next_model(rungs, model):
        assert model not in climbed
        climbed.append(model)
    assert set(climbed) <= set(rungs)


@pytest.mark.parametrize(
    ("red", "after", "expected"), [(1, 2, False), (2, 2, True), (3, 2, True), (9, 0, False), (0, 0, False)]
)
def test_the_next_model_is_due_after_red_rounds(red: int, after: int, expected: bool) -> None:
    assert ladder.due(red, after) is expected
