"""`.sdlc/baseline.json`: findings that a repository has looked at and lets stand, each with the reason.

It is read from the base commit and never from the change, so that a change can't accept its own findings.
Reading and writing are pure: text in, entries or text out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sdlc.domain import Finding, Record, SourceReport, SourceState
from sdlc.untrusted import visible_text

BASELINE_FILE = ".sdlc/baseline.json"
LARGEST_BASELINE = 1024**2
"""Bytes."""
MOST_ENTRIES = 5_000
"""A repository with more to let stand has switched its reviews off, and should do so in `.sdlc.yml`."""

_LONGEST_RULE = 200
_LONGEST_PATH = 4_096


class BaselineInvalid(ValueError):
    """The file can't be used; the message names the place and the mend. A note for a person, never a crash."""


class Accepted(BaseModel):
    """One finding that may stand."""

    # A misspelt `until` must not make an entry last for ever.
    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: Annotated[str, Field(min_length=1, max_length=64)]
    """What counts. It holds rule, file and code, so an entry ends when one of them changes."""
    rule: Annotated[str, Field(max_length=_LONGEST_RULE)] = ""
    """For those who read the file, as `file` is."""
    file: Annotated[str, Field(max_length=_LONGEST_PATH)] = ""
    reason: Annotated[str, Field(max_length=1_000)]
    by: Annotated[str, Field(max_length=200)] = ""
    until: date | None = None
    """The last day on which it counts; without one it does not end."""

    @field_validator("reason")
    @classmethod
    def _says_why(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("say why the finding may stand")
        return value

    def counts(self, today: date) -> bool:
        return self.until is None or today <= self.until


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    accepted: Annotated[tuple[Accepted, ...], Field(max_length=MOST_ENTRIES)] = ()


class Baseline(Record):
    """What the baseline of a commit comes to on a day."""

    accepted: dict[str, str] = {}
    """Fingerprint → why it may stand."""
    note: str = ""
    """What a person should know of the file: that it can't be used, or that entries have ended."""
    is_usable: bool = True

    def source(self) -> SourceReport | None:
        """The note as a source of a report; None where there is nothing to say."""
        if not self.note:
            return None
        state = SourceState.OK if self.is_usable else SourceState.NOT_RUN
        return SourceReport(name="baseline", kind="unread", state=state, required=False, note=self.note)


def read_baseline(content: bytes | None, today: date) -> Baseline:
    """The baseline of a file's content, None where there is no file. A file that can't be used accepts nothing."""
    try:
        entries = parse_baseline(content)
    except BaselineInvalid as error:
        return Baseline(note=f"{str(error).rstrip('.')}; it is left out", is_usable=False)
    ended = len(entries) - sum(entry.counts(today) for entry in entries)
    note = f"{ended} of {len(entries)} entries of `{BASELINE_FILE}` have ended (`until`)" if ended else ""
    return Baseline(accepted=accepted(entries, today), note=note)


def parse_baseline(content: str | bytes | None) -> tuple[Accepted, ...]:
    """The entries of a file's content; none of an absent or empty one. Raises BaselineInvalid."""
    if not content or not content.strip():
        return ()
    if len(content) > LARGEST_BASELINE:
        raise BaselineInvalid(f"`{BASELINE_FILE}` can't be used: it has more than {LARGEST_BASELINE} bytes.")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        loaded = json.loads(text)
    except UnicodeDecodeError:
        raise BaselineInvalid(f"`{BASELINE_FILE}` can't be used: it is not UTF-8; save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise BaselineInvalid(f"`{BASELINE_FILE}` can't be used: it is not JSON ({place}).") from None
    except (RecursionError, ValueError):
        raise BaselineInvalid(f"`{BASELINE_FILE}` can't be used: it is no list of findings.") from None
    try:
        return _File.model_validate(loaded).accepted
    except ValidationError as error:
        raise BaselineInvalid(f"`{BASELINE_FILE}` can't be used: {_first(error)}.") from None


def accepted(entries: Iterable[Accepted], today: date) -> dict[str, str]:
    """Fingerprint → reason of the entries that count on that day."""
    return {entry.fingerprint: entry.reason for entry in entries if entry.counts(today)}


def written(
    existing: str | bytes | None,
    findings: Iterable[Finding],
    reason: str,
    by: str = "",
    *,
    until: date | None = None,
    today: date | None = None,
) -> str:
    """The file's text with the findings accepted as well, in an order that keeps its diffs small.

    What the file says of a finding already stays, unless that ended before `today`. Raises BaselineInvalid for a
    file that can't be read, which is not written over, for an empty reason, and for more than `MOST_ENTRIES`.
    """
    before = parse_baseline(existing)
    kept = {entry.fingerprint: entry for entry in before if today is None or entry.counts(today)}
    ended = {entry.fingerprint: entry for entry in before if entry.fingerprint not in kept}
    try:
        new = {
            finding.fingerprint: Accepted(
                fingerprint=finding.fingerprint,
                rule=_shown(finding.rule, _LONGEST_RULE),
                file=_shown(finding.file, _LONGEST_PATH),
                reason=" ".join(reason.split()),
                by=by,
                until=until,
            )
            for finding in findings
        }
    except ValidationError as error:
        raise BaselineInvalid(f"That can't be accepted: {_first(error)}.") from None
    entries = sorted({**ended, **new, **kept}.values(), key=lambda entry: (entry.file, entry.rule, entry.fingerprint))
    if len(entries) > MOST_ENTRIES:
        raise BaselineInvalid(f"`{BASELINE_FILE}` takes no more than {MOST_ENTRIES} entries; mend some findings first.")
    document: dict[str, Any] = {
        "version": 1,
        "accepted": [entry.model_dump(mode="json", exclude_defaults=True) for entry in entries],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _shown(text: str, longest: int) -> str:
    """What only people read: anything that can be kept as a text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:longest]


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    # Names of entries come from the file and may be anything.
    place = visible_text(".".join(str(part) for part in first["loc"]))[0][:100]
    if first["type"] == "extra_forbidden":
        return f"there is no entry `{place}`"
    said = first["msg"].removeprefix("Value error, ")
    said = f"{said[:1].lower()}{said[1:]}"
    return f"`{place}`: {said}" if place else said
