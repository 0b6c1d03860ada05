"""The cases of the fault matrix: each call of a run to Jira, GitHub and git × each fault."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from sdlc.domain import Panel, RunState
from tests.fakes.faults import Fault
from tests.fault_world import Call

_SOON = {"Retry-After": "1"}
FAULTS = {
    **{str(status): Fault("status", status=status) for status in (401, 403, 404, 409, 422, 500, 502)},
    "429": Fault("status", status=429, headers=_SOON),
    "secondary limit": Fault("secondary", headers=_SOON),
    "cut": Fault("reset"),
    "slow": Fault("slow", seconds=0.3),
    "hang": Fault("hang"),
    "stale": Fault("stale"),
}
FINAL = frozenset({"401", "403", "404", "409", "422"})
"""A person may be asked, once; after any other the run goes on by itself."""
AFTER = ("429", "secondary limit", "500", "502", "cut", "hang")
"""Those that may also come when the effect is there. A refusal that is no limit comes instead of one."""


class Say(StrEnum):
    """What a person does at a pull request that waits."""

    APPROVE = "approve"
    """A review on the forge."""
    REVISE = "request changes"
    """Likewise, with a word on a line."""
    DECIDE = "decide"
    """An approval by the command line, which the run shows on the forge."""
    HELP = "help"
    """A commit on the run's branch, and a command in a comment."""


@dataclass(frozen=True)
class Scenario:
    """A run, and what people say to it."""

    name: str
    says: tuple[Say, ...] = (Say.APPROVE,)
    """One after the other, each about another head."""
    ends: RunState = RunState.CLOSED
    ci: str | None = None
    """What the forge's own check comes to; None: there is none."""
    finding: bool = False
    """A panel has something to say about the first head."""
    merge: bool = False
    enterprise: bool = False
    """Jira Data Center, and a GitHub App."""


SCENARIOS = (
    Scenario("approved", ci="success"),
    Scenario("revised and merged", (Say.REVISE, Say.APPROVE), finding=True, merge=True),
    Scenario("helped by hand", (Say.HELP, Say.DECIDE)),
    Scenario("given up", (), ends=RunState.ABORTED, ci="failure"),
    Scenario("Data Center and App", enterprise=True),
)


@dataclass
class Case:
    """One run of a scenario, with a fault or without."""

    scenario: Scenario
    number: int
    call: Call | None = None
    nth: int = 1
    """Which of the calls that are alike is struck."""
    fault: str = ""
    after: bool = False
    asked: list[str] = field(default_factory=list)
    """Why a person was asked because of the fault."""
    seen: dict[str, Any] | None = None
    """`World.picture` and how the run ended."""
    calls: list[Call] = field(default_factory=list)
    broke: str = ""
    """Why it never came to its end."""
    struck: bool = False

    def __str__(self) -> str:
        when = " after the effect" if self.after else ""
        return f"{self.scenario.name} · {self.call} (no. {self.nth}) · {self.fault}{when}"

    def trouble(self, right: dict[str, Any]) -> str:
        """What is not as it should be; "" for nothing."""
        if self.broke:
            return self.broke
        if not self.struck:
            return "the fault never struck"
        if self.asked and self.fault not in FINAL:
            return f"a person was asked: {self.asked}"
        if unclear := [sentence for sentence in self.asked if _NO_SENTENCE.search(sentence)]:
            return f"a person was told of a fault within: {unclear}"
        assert self.seen is not None
        wrong = [name for name, here in self.seen.items() if here != right[name]]
        wrong = [name for name in wrong if not self._by_design(name, self.seen[name], right[name])]
        return "; ".join(f"{name}: {self.seen[name]!r}, not {right[name]!r}" for name in wrong)

    def _by_design(self, name: str, here: Any, there: Any) -> bool:
        """May this part of the picture be another one after this fault? Never is anything there twice."""
        if self.call is None or self.fault not in FINAL:
            return False
        if name == "told":  # of the question, or of what could not be read; or they could not be told
            return bool(here <= 1)
        call = self.call
        if name == "findings" and call.route.endswith("/reviews"):
            return [finding[2] for finding in here] == [finding[2] for finding in there]  # on the file, not the line
        if name == "ticket" and call.activity == "release_run" and call.route.endswith("/transitions"):
            return bool(here == ("In Progress", None))  # the comment says what Jira has against it
        if name in ("statuses", "check runs") and call.route.endswith("/check-runs"):
            return set(here) <= {*there, *STATUSES}  # in place of each other
        absorbed = (call.activity, name) in _ABSORBED or any(
            name == part and call.route.endswith(end) for end, part in _ABSORBED_AT
        )
        return absorbed and not Counter(_flat(here)) - Counter(_flat(there))


STATUSES = tuple(f"sdlc/{panel.value}" for panel in Panel)
_NO_SENTENCE = re.compile(r"\b[A-Z][a-z]\w*(Error|Exception)\b|Traceback")
_ABSORBED = frozenset(
    {
        # What was decided or answered counts, also where it can't be shown.
        ("record_decision", "pull request comments"),
        ("say_on_pull_request", "pull request comments"),
        # In review is what the pull request says as well; the ticket's comment says what was against it.
        ("request_approval", "moves"),
    }
)
_ABSORBED_AT = (
    ("/labels", "labels"),
    ("/contents/{path}", "asked"),
    ("/requested_reviewers", "asked"),
    ("/remotelink", "links"),
    # Findings that are gone are marked so in any case.
    ("/graphql", "resolved"),
    ("/transitions", "moves"),
)


def _flat(part: Any) -> list[Any]:
    if isinstance(part, list | tuple):
        return [item for inner in part for item in _flat(inner)]
    return [part] * part if isinstance(part, int) else [part]


def rows_of(baselines: Sequence[Case]) -> list[tuple[Scenario, Call, int]]:
    """The distinct calls, each with the scenario that is to try it and how often it is made there."""
    known: set[tuple[str, Call]] = set()
    rows: list[tuple[Scenario, Call, int]] = []
    for case in baselines:
        for call, times in Counter(case.calls).items():
            # Another flavour of Jira is another service; GitHub is the same for whoever asks.
            service = "jira of Data Center" if case.scenario.enterprise and call.service == "jira" else call.service
            if (service, call) not in known:
                known.add((service, call))
                rows.append((case.scenario, call, times))
    return rows


def cases_of(rows: Sequence[tuple[Scenario, Call, int]]) -> list[list[Case]]:
    """For every row its cases: every fault that can come there. Of calls that are alike each strikes another one."""
    numbers = count(1)
    cases: list[list[Case]] = []
    for scenario, call, times in rows:
        tries = [(name, False) for name in FAULTS if _can_come(name, call)]
        tries += [(name, True) for name in AFTER if call.writes and _can_come(name, call)]
        turns = ((turn % times + 1, name, after) for turn, (name, after) in enumerate(tries))
        cases.append([Case(scenario, next(numbers), call, *turn) for turn in turns])
    return cases


def sample_of(cases: Sequence[Sequence[Case]]) -> list[Case]:
    """One case of each row: the fault that has had the fewest turns so far."""
    turns: Counter[tuple[str, bool]] = Counter()
    chosen: list[Case] = []
    for row in cases:
        case = min(row, key=lambda one: turns[one.fault, one.after])
        turns[case.fault, case.after] += 1
        chosen.append(case)
    return chosen


def _can_come(name: str, call: Call) -> bool:
    if name == "stale":
        # Git's own answers come from the repository itself.
        return call.method == "GET" and call.service != "git"
    # What limits the API's writes does not limit git, whose limit is a plain 429.
    return name != "secondary limit" or call.service != "git"
