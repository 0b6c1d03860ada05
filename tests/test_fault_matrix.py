"""Whatever goes wrong once, a run ends right, and everything that people see is there once.

Here each call has one fault of its own, in turn. `FAULT_MATRIX=all` plays every call with every fault.
"""

from __future__ import annotations

import asyncio
import os
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sdlc.config import Settings
from sdlc.runtime.client import connect
from tests.fault_cases import AFTER, FAULTS, SCENARIOS, Case, cases_of, rows_of, sample_of
from tests.fault_matrix import theatre

WHOLE = os.environ.get("FAULT_MATRIX") == "all"
PARTS = 16 if WHOLE else 2
"""Played by as many test processes as there are."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800 if WHOLE else 400)]

_baselines: list[Case] = []
"""Of this process: runs without a fault are alike."""


@pytest.mark.parametrize("part", range(PARTS))
async def test_whatever_goes_wrong_once_the_run_ends_right(
    part: int, temporal_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await connect(temporal_settings)
    async with theatre(client, tmp_path) as stage:
        if not _baselines:
            first = [Case(scenario, 900_000 + number) for number, scenario in enumerate(SCENARIOS)]
            _baselines.extend(await asyncio.gather(*map(stage.play, first)))
        right = {case.scenario.name: _right(case) for case in _baselines}
        cases = cases_of(rows_of(_baselines))
        every = [case for row in cases for case in row]
        chosen = every if WHOLE else sample_of(cases)
        assert {(case.fault, case.after) for case in chosen} == {
            *((name, False) for name in FAULTS),
            *((name, True) for name in AFTER),
        }
        # By the call's name: another process may have seen one call more or less.
        mine = [case for case in chosen if zlib.crc32(str(case.call).encode()) % PARTS == part]
        await asyncio.gather(*map(stage.play, mine))
    wrong = [f"{case}: {trouble}" for case in mine if (trouble := case.trouble(right[case.scenario.name]))]
    asked = sum(bool(case.asked) for case in mine)
    with capsys.disabled():
        print(
            f"\nfault matrix, part {part + 1} of {PARTS}: {len(mine)} of {len(every)} cases "
            f"({len(cases)} calls × up to {len(FAULTS) + len(AFTER)} faults); "
            f"{len(mine) - len(wrong)} ended right, {asked} after a word of a person",
            *wrong,
            sep="\n",
            file=sys.stderr,
        )
    assert not wrong, "\n".join(wrong)


def _right(case: Case) -> dict[str, Any]:
    """The picture that all cases of a scenario are held to, if it is as it should be itself."""
    assert case.seen is not None, case.broke
    assert not case.asked
    parts = case.seen
    assert parts["run"] == case.scenario.ends.value
    topics = Counter(topic for topic, _ in parts["ticket comments"])
    is_closed = parts["run"] == "closed"
    assert len(parts["pull requests"]) == 1
    assert topics["claim"] == 1
    assert ("claim", True) not in parts["ticket comments"], "the claim still holds"
    assert topics["closed"] == parts["moves"].count("Done") == int(is_closed)
    assert max(topics.values()) == 1
    assert max(Counter(parts["pull request comments"]).values()) == 1
    assert len(set(parts["findings"])) == len(parts["findings"])
    assert parts["links"] == 1
    assert not any(parts["pushes"]), "a branch was forced"
    assert parts["made by hand"] == (["Rounded once.\n"] if case.scenario.name == "helped by hand" else [None])
    return parts
