"""How good the review panels are, on labelled changes.

    python -m benchmarks.review [--only NAME] [--verbose] [--json FILE] [--without-model | --with-model]

First the deterministic part: all cases, no model. Then the plumbing around a model, on the cases that have recorded
answers. Ends with exit code 1 if a bound is not met, or if something recorded did not end as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from benchmarks.review import recorded
from benchmarks.review.case import Case, CaseInvalid, load
from benchmarks.review.outcome import as_json, details, table
from benchmarks.review.repository import reviewed, services_for
from benchmarks.review.score import CaseScore, failed, numbers, score
from sdlc.errors import SdlcError

AT_ONCE = 2
"""Cases; each of them runs four panels."""

WIDTH = 120
"""Columns at least: a table that is cut says nothing."""

Result = TypeVar("Result")


async def without_model(cases: Sequence[Case], folder: Path) -> list[CaseScore]:
    services = services_for(folder)

    async def one(case: Case) -> CaseScore:
        try:
            reports, seconds = await reviewed(case, folder, services)
        except (SdlcError, TimeoutError) as error:
            return failed(case, error)
        return score(case, reports, seconds)

    return await _each(cases, one)


async def with_model(cases: Sequence[Case], folder: Path) -> list[recorded.Played]:
    async def one(case: Case) -> recorded.Played:
        return await recorded.played(case, folder)

    return await _each(cases, one)


async def _each(cases: Sequence[Case], one: Callable[[Case], Coroutine[Any, Any, Result]]) -> list[Result]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(number: int, case: Case) -> Result:
        async with gate:
            if sys.stderr.isatty():
                print(f"\r\033[K{number}/{len(cases)} {case.title}", end="", file=sys.stderr, flush=True)
            return await one(case)

    try:
        return await asyncio.gather(*(gated(number, case) for number, case in enumerate(cases, 1)))
    finally:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.review", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--only", action="append", default=[], help="a case or a group, such as clean; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="say what was missed, what is noise, and what is right")
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--without-model", action="store_true", help="the deterministic part alone")
    part.add_argument("--with-model", action="store_true", help="the plumbing around a recorded model alone")
    given = parser.parse_args(arguments)
    # What the person at this machine has set must not decide how a case ends.
    for name in [name for name in os.environ if name.startswith(("SDLC_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_"))]:
        del os.environ[name]
    try:
        cases = load()
    except CaseInvalid as error:
        print(error, file=sys.stderr)
        return 2
    chosen = [case for case in cases if not given.only or {case.name, case.group, case.title} & {*given.only}]
    if not chosen:
        parser.error("there is no such case")
    console = Console()
    console.width = max(console.width, WIDTH)
    started = time.monotonic()
    scores: list[CaseScore] = []
    played: list[recorded.Played] = []
    with tempfile.TemporaryDirectory(prefix="sdlc-bench-review-") as folder:
        if not given.with_model:
            scores = asyncio.run(without_model(chosen, Path(folder, "without")))
        if not given.without_model:
            with_answers = [case for case in chosen if case.text.model]
            played = asyncio.run(with_model(with_answers, Path(folder, "with")))
    good = True
    if scores:
        rows = numbers(scores)
        console.print(table(f"Without a model: {len(scores)} changes", rows, bounds=True))
        details(console, scores, verbose=given.verbose)
        good = all(row.is_good for row in rows) and not any(item.problems for item in scores)
    if played:
        good = recorded.told(console, played, verbose=given.verbose) and good
    console.print(f"{time.monotonic() - started:.0f} s")
    if given.json:
        document = {**as_json(scores), "with_recorded_model": [item.as_json() for item in played]}
        given.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
