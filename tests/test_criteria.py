"""Which test shows which criterion: claims of the engine, believed only where they were seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.steps.criteria import shown_criteria, without_claims

PROOF = (
    "tests/test_money.py::test_rounds_half_up[1]",
    "tests/test_money.py::test_rounds_half_up[2]",
    "tests.T.test_tells",
)
CRITERIA = ("0.125 becomes 0.13", "the command tells it")


@pytest.mark.parametrize(
    ("said", "tests"),
    [
        ("Done.\n\nCriterion 1: tests/test_money.py::test_rounds_half_up", PROOF[:2]),
        ("- **Criterion 1**: `test_rounds_half_up`", PROOF[:2]),
        ("criterion 1: tests/test_money.py::test_rounds_half_up[2]", PROOF[1:2]),
        ("Criterion 1: test_tells, and test_rounds_half_up.", PROOF),
        ("Criterion 1: a\nCriterion 1: test_tells", PROOF[2:]),
        ("Criterion 2: test_rounds_half_up", ()),
        ("Criterion 1: half_up", ()),
        ("Criterion 1: ::", ()),
        ("I met criterion 1: test_tells", ()),
    ],
)
def test_the_named_tests_that_were_seen_show_a_criterion(said: str, tests: tuple[str, ...]) -> None:
    assert shown_criteria(CRITERIA, said, PROOF)[0].tests == tests


def test_a_claim_that_nothing_bears_out_is_told_apart_from_no_claim() -> None:
    first, second = shown_criteria(CRITERIA, "Criterion 1: test_invented_by_the_engine", PROOF)
    assert (first.claimed, first.tests) == (True, ())
    assert not second.claimed


def test_claims_are_left_out_of_the_words_of_the_engine() -> None:
    assert without_claims("Rounded.\n\nCriterion 1: test_tells\n- Criterion 2: test_x") == "Rounded."


@given(st.text(), st.lists(st.text(max_size=40), max_size=5))
def test_whatever_is_said_nothing_but_what_was_seen_is_shown(said: str, proof: list[str]) -> None:
    for one in shown_criteria(CRITERIA, f"Criterion 1: {said}", proof):
        assert set(one.tests) <= set(proof)
