"""Checks and statuses of a head, as GitHub gives them, made into one report."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sdlc.domain import CiReport, CiState, TestFailure
from sdlc.naming import counted
from sdlc.untrusted import visible_text

OURS = "sdlc/"
"""Statuses and Check Runs of this system begin so; they say nothing about the project's own checks."""
OURS_BY_ID = "sdlc:"
"""Of a Check Run, its `external_id` as well: a project's own job may have any name."""
MAX_FAILURES = 50
MAX_NAMED = 5

_GOOD = ("success", "neutral", "skipped")
_WAITING_FOR_A_PERSON = "action_required"
_JOB = re.compile(r"/actions/runs/(?P<run>\d+)/jobs?/(?P<job>\d+)")


@dataclass(frozen=True)
class Check:
    """One check run, workflow run or status."""

    name: str
    state: CiState
    said: str = ""
    """Why, in a few words."""
    url: str = ""
    job: int = 0
    """Of GitHub Actions; 0 for others."""
    run: int = 0


@dataclass(frozen=True)
class Seen:
    """All that could be learnt about a head."""

    head_sha: str
    checks: tuple[Check, ...] = ()
    required: frozenset[str] = frozenset()
    """What branch protection asks for."""
    notes: tuple[str, ...] = ()

    def deciding(self, which: str) -> tuple[Check, ...]:
        """Those that decide: the required ones where there are some and `which` is `required`, else all."""
        if which == "required" and self.required:
            return tuple(check for check in self.checks if check.name in self.required)
        return self.checks


def of_check_runs(runs: Iterable[Mapping[str, Any]]) -> list[Check]:
    """From `GET /repos/…/commits/…/check-runs`, without ours."""
    found = []
    for run in runs:
        name = str(run.get("name") or "check")
        if name.startswith(OURS) and str(run.get("external_id") or "").startswith(OURS_BY_ID):
            continue
        job = _JOB.search(str(run.get("details_url") or run.get("html_url") or ""))
        output = run.get("output") or {}
        said = _line(str(output.get("title") or "")) if isinstance(output, Mapping) else ""
        state, word = _state(str(run.get("status") or ""), str(run.get("conclusion") or ""))
        # A check of GitHub Actions has the id of its job.
        by_actions = (run.get("app") or {}).get("slug") == "github-actions"
        found.append(
            Check(
                name=name,
                state=state,
                said=f"{word}: {said}" if said and word else said or word,
                url=str(run.get("html_url") or run.get("details_url") or ""),
                job=int(job["job"]) if job else int(run.get("id") or 0) if by_actions else 0,
                run=int(job["run"]) if job else 0,
            )
        )
    return found


def of_workflow_runs(runs: Iterable[Mapping[str, Any]]) -> list[Check]:
    """From `GET /repos/…/actions/runs`, for a token that may not read checks: the newest run of each workflow."""
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for run in runs:
        key = str(run.get("workflow_id") or run.get("name")), str(run.get("event") or "")
        if key not in newest or int(run.get("id") or 0) > int(newest[key].get("id") or 0):
            newest[key] = run
    found = []
    for run in newest.values():
        state, word = _state(str(run.get("status") or ""), str(run.get("conclusion") or ""))
        name, url = str(run.get("name") or "workflow"), str(run.get("html_url") or "")
        found.append(Check(name=name, state=state, said=word, url=url, run=int(run.get("id") or 0)))
    return found


def of_statuses(statuses: Iterable[Mapping[str, Any]]) -> list[Check]:
    """From `GET /repos/…/commits/…/statuses`, newest first: the newest of each context, without ours."""
    found: dict[str, Check] = {}
    for status in statuses:
        name = str(status.get("context") or "default")
        if name.startswith(OURS) or name in found:
            continue
        word = str(status.get("state") or "")
        state = {"success": CiState.GREEN, "pending": CiState.PENDING}.get(word, CiState.RED)
        said = _line(str(status.get("description") or "")) or word
        url = str(status.get("target_url") or "")
        job = _JOB.search(url)
        found[name] = Check(name, state, said, url, int(job["job"]) if job else 0, int(job["run"]) if job else 0)
    return list(found.values())


def required_of(branch: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The checks that a base branch asks for: by its protection (`GET …/branches/…`) and by rule sets.

    Those of ours are left out: nobody waits for a verdict that is given later.
    """
    names: set[str] = set()
    protection = branch.get("protection")
    asked = protection.get("required_status_checks") if isinstance(protection, Mapping) else None
    if isinstance(asked, Mapping) and asked.get("enforcement_level") != "off":
        names |= {str(name) for name in asked.get("contexts") or ()}
        names |= {str(check["context"]) for check in asked.get("checks") or () if check.get("context")}
    for rule in rules:
        if rule.get("type") == "required_status_checks":
            listed = (rule.get("parameters") or {}).get("required_status_checks") or ()
            names |= {str(check["context"]) for check in listed if check.get("context")}
    return frozenset(name for name in names if not name.startswith(OURS))


def report(seen: Seen, *, which: str = "required", waited: bool = True) -> CiReport:
    """The verdict over a head.

    Red as soon as one that decides is red; pending while one is under way or a required one has not begun; NONE,
    with a note, where nothing at all was seen and `waited` says that it has had its time.
    """
    notes = list(seen.notes)
    deciding = seen.deciding(which)
    if not seen.checks and not seen.required:
        if not waited:
            return CiReport(state=CiState.PENDING, head_sha=seen.head_sha, note=_joined([*notes, "no check yet"]))
        none = "GitHub runs no checks for this commit; nothing but the run's own tests speaks for it."
        return CiReport(state=CiState.NONE, head_sha=seen.head_sha, note=_joined([none, *notes]))
    red = [check for check in deciding if check.state is CiState.RED]
    names = {check.name for check in deciding}
    absent = sorted(seen.required - names)
    pending = [check for check in deciding if check.state is CiState.PENDING]
    aside = [check for check in seen.checks if check.state is CiState.RED and check not in deciding]
    if aside:
        notes.append(f"red, but not required: {_named(check.name for check in aside)}")
    if absent:
        notes.append(f"required and not begun: {_named(absent)}")
    if pending:
        notes.append(f"under way: {_named(_with_word(check) for check in pending)}")
    if red:
        state = CiState.RED
    elif pending or absent:
        state = CiState.PENDING
    else:
        state = CiState.GREEN
        notes.insert(0, f"{counted(len(deciding), 'check')} passed")
    return CiReport(
        state=state,
        head_sha=seen.head_sha,
        failures=tuple(
            TestFailure(test=_line(check.name), message=_line(check.said) or "failed") for check in red[:MAX_FAILURES]
        ),
        note=_joined(notes),
    )


def red_of(seen: Seen, *, which: str = "required") -> list[Check]:
    """The red checks that decide, for whoever fetches their logs."""
    return [check for check in seen.deciding(which) if check.state is CiState.RED]


def _state(status: str, conclusion: str) -> tuple[CiState, str]:
    if status != "completed":
        return CiState.PENDING, status.replace("_", " ")
    if conclusion in _GOOD:
        return CiState.GREEN, conclusion
    word = conclusion.replace("_", " ") or "no conclusion"
    # A workflow that a maintainer must release is no failure that a fix could mend.
    return (CiState.PENDING, "waits for a person") if conclusion == _WAITING_FOR_A_PERSON else (CiState.RED, word)


def _with_word(check: Check) -> str:
    return f"{check.name} (waits for a person)" if check.said.startswith("waits for a person") else check.name


def _named(names: Iterable[str]) -> str:
    listed = [_line(name, 80) for name in names]
    more = len(listed) - MAX_NAMED
    return ", ".join(listed[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _joined(notes: Collection[str]) -> str:
    return "; ".join(note.rstrip(".;") for note in notes if note)[:1_000]


def _line(text: str, limit: int = 200) -> str:
    line = " ".join(visible_text(text)[0].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
