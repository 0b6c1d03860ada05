"""Which test shows which acceptance criterion: what the engine claims, held against what was seen. Pure.

The engine names tests in its summary, a line for each criterion: `Criterion 1: tests/test_money.py::test_rounds`.
A claim is believed only for tests that were seen to fail on the base commit and to pass on the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sdlc.domain import Record

ASKED_FOR = "Criterion 1: tests/test_x.py::test_name"

_CLAIM = re.compile(
    r"^[\s>*_`-]{0,10}criterion[\s*_`]{0,4}(?P<number>\d{1,3})[\s*_`]{0,4}:(?P<named>.{1,2000})$", re.IGNORECASE
)
_NAME = re.compile(r"[^\s,;`'\"*()]+")
_MOST = 10


class Shown(Record):
    """A criterion, and the tests that show it."""

    criterion: str
    tests: tuple[str, ...] = ()
    """Named by the engine, and seen to fail without the change and to pass with it."""
    claimed: bool = False
    """The engine named a test for it."""


def shown_criteria(criteria: Sequence[str], said: str, proof: Iterable[str]) -> tuple[Shown, ...]:
    """For each criterion the tests that show it. `said` is what the engine said, of all rounds; a later line adds."""
    proved = list(dict.fromkeys(proof))
    named: dict[int, list[str]] = {}
    for line in said.splitlines():
        if claim := _CLAIM.match(line):
            named.setdefault(int(claim["number"]), []).extend(_NAME.findall(claim["named"]))
    shown = []
    for number, criterion in enumerate(criteria, 1):
        names = named.get(number, [])
        tests = [test for test in proved if any(_is_meant(name, test) for name in names)]
        shown.append(Shown(criterion=criterion, tests=tuple(tests[:_MOST]), claimed=bool(names)))
    return tuple(shown)


def without_claims(said: str) -> str:
    """The engine's words without the lines that are shown beside the criteria."""
    return "\n".join(line for line in said.splitlines() if not _CLAIM.match(line)).strip()


def _is_meant(name: str, test: str) -> bool:
    """`test_rounds` and `tests/test_money.py::test_rounds` both mean that test, with each of its parameters."""
    name = name.strip(".,:").removeprefix("./")
    if len(re.findall(r"\w", name)) < 4:
        return False
    meant = test if "[" in name else test.partition("[")[0]
    return meant == name or meant.endswith((f"::{name}", f"/{name}", f".{name}"))
