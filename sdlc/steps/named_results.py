"""Test results that runners without a report print by name: Go, Rust, TAP, the ticks of Node's runners. Pure."""

from __future__ import annotations

import hashlib
import re

from sdlc.steps.junit import Case, CaseStatus

_MOST = 20_000
_PATTERNS = (
    re.compile(r"\s*--- (?P<status>PASS|FAIL|SKIP): (?P<name>\S+)"),
    re.compile(r"test (?P<name>\S+)(?: - [\w ]+)? \.\.\. (?P<status>ok|FAILED|ignored)\b"),
    re.compile(
        r"\s*(?P<status>not ok|ok) \d+ (?:- )?(?P<name>[^#]+?)\s*(?P<skip># (?:SKIP|TODO)\b.*)?\Z", re.IGNORECASE
    ),
    re.compile(r"\s*(?P<status>[✓✔√✕✖✗×]) (?P<name>\S.*?)(?:\s+\(?\d+(?:\.\d+)?\s?m?s\)?)?\Z"),
)
_PASSED = frozenset({"pass", "ok", "✓", "✔", "√"})
_SKIPPED = frozenset({"skip", "ignored"})


def named_results(output: str) -> tuple[Case, ...]:
    """The tests that the output names, each once with its worst result; empty if it names none."""
    worst = list(CaseStatus)
    found: dict[str, Case] = {}
    for line in output.splitlines():
        for pattern in _PATTERNS:
            match = pattern.match(line[:1_000])
            if not match:
                continue
            word = match["status"].lower()
            status = CaseStatus.PASSED if word in _PASSED else CaseStatus.FAILED
            if word in _SKIPPED or match.groupdict().get("skip"):
                status = CaseStatus.SKIPPED
            name = match["name"].strip()[:300]
            known = found.get(name)
            if known is None or worst.index(status) > worst.index(known.status):
                found[name] = Case(id=name, status=status)
            break
        if len(found) >= _MOST:
            break
    return tuple(found.values())


def likeness(output: str) -> str:
    """A mark that two outputs share if they differ only in numbers and in the order of their lines.

    It is how two red commands that name no tests are known to be red in the same way.
    """
    lines = (re.sub(r"0x[0-9a-f]+|\d+(?:\.\d+)?", "0", line).strip() for line in output.splitlines())
    return hashlib.sha256("\n".join(sorted(filter(None, lines))).encode("utf-8", "replace")).hexdigest()
