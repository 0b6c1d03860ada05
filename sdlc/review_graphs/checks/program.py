"""The program in the sandbox: runs the checks that a subject names, one after the other, a report for each.

A report is written as soon as its check is through, so that one that hangs or dies takes nobody else's along.
"""

from __future__ import annotations

import json
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from sdlc.review_graphs.checks.base import ChangedPath, Check, NotRun, Raised, Tree, Trees

MOST_FINDINGS = 500
"""Of one check. More than that is one mistake of the check, or one of the change that nobody reads as a list."""


class TooLong(BaseException):
    """The check's time is over. Not an Exception, so that no tool takes it for one of its own."""


def main(subject: Path) -> None:
    """Run what `subject` (JSON, see `analysis.ChecksRun`) asks for; reports go beside it, as `<check>.json`."""
    asked = json.loads(subject.read_bytes())
    trees = Trees(
        head=Tree(Path(asked["head"])),
        base=Tree(Path(asked["base"])),
        files=tuple(_changed(item) for item in asked["files"]),
        rules=asked["rules"],
    )
    # Checks pass over what they can't read (too large, a name that is no text), so it is said here.
    present = (file for file in trees.files if file.status != "D" and file.is_text and not file.is_generated)
    unread = [file.path for file in present if trees.head.content(file.path) is None]
    _write(subject.with_name("unread.json"), unread)
    # The checks of one panel alone: the others' modules would cost this process its fast start.
    module = import_module(f"sdlc.review_graphs.checks.{asked['panel']}")
    known: dict[str, Check] = {check.name: check for check in module.CHECKS}
    for name in asked["checks"]:
        report = report_of(known[name], trees, seconds=float(asked["seconds"]))
        _write(subject.with_name(f"{name}.json"), report)


def _write(path: Path, document: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document), encoding="utf-8")
    part.replace(path)


def report_of(check: Check, trees: Trees, *, seconds: float) -> dict[str, Any]:
    """`{"state": "ok" | "failed" | "not_run", "note": …, "findings": [Raised as JSON]}`."""
    try:
        with _at_most(seconds):
            found = list(check.run(trees))
    except NotRun as error:
        return {"state": "not_run", "note": str(error), "findings": []}
    except TooLong:
        return {"state": "failed", "note": f"{check.name} did not end within {seconds:g} s", "findings": []}
    except (Exception, SystemExit, RecursionError) as error:
        return {"state": "failed", "note": _told(error), "findings": []}
    note = f"{len(found)} findings, of which {MOST_FINDINGS} are kept" if len(found) > MOST_FINDINGS else ""
    return {"state": "ok", "note": note, "findings": [asdict(item) for item in _worst(found)]}


def _worst(found: Sequence[Raised]) -> Iterator[Raised]:
    order = ["blocker", "major", "minor", "info"]
    yield from sorted(found, key=lambda item: (order.index(item.severity), item.file, item.line))[:MOST_FINDINGS]


def _told(error: BaseException) -> str:
    """What went wrong and where in the check, without the text that it stumbled over."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{place}: {str(error)[:160]}"


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _changed(item: dict[str, Any]) -> ChangedPath:
    return ChangedPath(**{**item, "added": tuple((int(first), int(last)) for first, last in item["added"])})
