"""The quickest real run there is: one module, tests without a dependency, a fix and a revision in few words."""

from __future__ import annotations

from pathlib import Path

from tests.repositories import Checkout, new_checkout
from tests.scripted import Script, edit, reviewed_clean, say, shell, submit

KEY = "BUG-7"
TICKET = f"""---
key: {KEY}
title: Totals are rounded twice
labels: [bug]
---
`total([0.125, 0.125])` gives 0.24.

## Acceptance criteria
- The sum is rounded once, at the end
"""

_MONEY = '''"""Sums of money."""


def total(amounts: list[float]) -> float:
    """The sum in whole cents."""
    return sum(round(amount, 2) for amount in amounts)
'''

_TESTS = """import unittest

from money import total


class TotalTest(unittest.TestCase):
    def test_whole_cents_are_added(self) -> None:
        self.assertEqual(total([1.25, 2.5]), 3.75)
"""

_ONE_MORE = """
    def test_the_sum_is_rounded_once(self) -> None:
        self.assertEqual(total([0.125, 0.125]), 0.25)
"""


def small_repository(path: Path) -> Checkout:
    return new_checkout(
        path,
        {
            ".gitignore": "__pycache__/\n",
            ".sdlc.yml": "unit: python -m unittest -v\n",
            "README.md": "# money\n",
            "money.py": _MONEY,
            "test_money.py": _TESTS,
        },
    )


def small_script(turns: int = 1) -> Script:
    """`turns` are looks around before the change, for those who need time."""
    looks = [say(f"Look {number}.", shell(f"ls -a && echo {number}")) for number in range(turns)]
    summary = "The sum is rounded once, at the end."
    change = say(
        "Round at the end.",
        edit("money.py", "sum(round(amount, 2) for amount in amounts)", "round(sum(amounts), 2)"),
        edit("test_money.py", "3.75)\n", "3.75)\n" + _ONE_MORE),
    )
    told = say("As asked.", edit("README.md", "# money\n", "# money\n\nSums are rounded once.\n"))
    return (
        reviewed_clean()
        .round(0, *looks, change, say("", submit(summary, "Change", "Test")))
        .later(told, say("", submit("The README says it.", "Tell")))
    )
