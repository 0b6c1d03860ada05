"""What excuses a finding of a program, and what does not; and what is said once though two programs see it."""

from __future__ import annotations

import pytest

from sdlc.domain import Panel
from sdlc.repeats import repeats
from tests.test_panels import Bench, bench, rules, source, whole_bench
from tests.test_review_rounds import found

__all__ = ["bench", "whole_bench"]  # fixtures


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import os  # noqa: F401", []),
        ("import os  # noqa", []),
        ("import os  # noqa: E501", ["ruff:F401"]),
        ("import os  # nothing to say", ["ruff:F401"]),
        ("def f(x=[]): return x  # noqa: B006", ["ruff:B006"]),
    ],
)
async def test_a_noqa_excuses_what_is_minor_and_nothing_worse(bench: Bench, line: str, expected: list[str]) -> None:
    report = await bench.review(Panel.QUALITY, bench.change({"new.py": f"{line}\n"}))
    assert [rule for rule, _, _ in rules(report)] == expected
    assert source(report, "ruff").dropped == 1 - len(expected)


LOADER = """\
import yaml


class Strict({base}):
    pass


def load(text):
    return yaml.load(text, Loader=Strict)
"""


@pytest.mark.parametrize(
    ("base", "expected"), [("yaml.SafeLoader", []), ("CSafeLoader", []), ("yaml.Loader", ["bandit:B506"])]
)
async def test_a_loader_that_is_made_of_a_safe_one_is_safe(bench: Bench, base: str, expected: list[str]) -> None:
    report = await bench.review(Panel.SECURITY, bench.change({"app/load.py": LOADER.format(base=base)}))
    assert [rule for rule, _, _ in rules(report)] == expected


def test_an_acronym_says_more_than_most_words() -> None:
    one = found(Panel.SECURITY, "insecure-code:x", "A value is pasted into an SQL statement.")
    other = found(Panel.QUALITY, "lens:correctness", "The city is put into the SQL query as it is.")
    assert repeats(one, other)
