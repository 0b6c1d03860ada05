"""How a review looks in a terminal: what is open, panel by panel, what did not run, and on request all the rest.

At a terminal a finding is a small paragraph beside its severity, which fits 80 columns; in a file or a pipe it is a
line, so that it can be searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sdlc.cli.view import SEVERITY_STYLE, plain
from sdlc.domain import Severity, SourceState
from sdlc.finding_comment import MAX_SUGGESTION_LINES
from sdlc.naming import counted
from sdlc.review_graphs.reviewed import (
    ASIDE,
    NOT_YET,
    SURE,
    Entry,
    Reviewed,
    Silence,
    Standing,
    by_severity,
    named,
    remarks,
    silences,
    verdict_of,
    worst_first,
)
from sdlc.untrusted import escaped_text

_NAMES = 6
"""Sources that are named one by one where there are many."""
_INDENT = (0, 0, 0, 2)


def findings_view(reviews: Iterable[Reviewed], *, everything: bool = False) -> RenderableType:
    """What the panels say of a change; with `everything` also what became of the findings that are not open."""
    every = worst_first(reviews)
    if not every:
        return Text(NOT_YET)
    parts: list[RenderableType] = [_headline(every)]
    for review in every:
        parts += [Text(), *_panel(review)] if review.open else []
    quiet = [review for review in every if not review.open]
    parts += [Text(), *(line for review in quiet for line in _panel(review))] if quiet else []
    if everything:
        for standing in ASIDE:
            parts += _aside(standing, [entry for review in every for entry in review.standing(standing)])
    parts += _sources(every, everything=everything)
    return Group(*parts)


def what_next(reviews: Sequence[Reviewed], key: str, *, everything: bool = False) -> Text:
    """What can be done about the findings of a run; empty if there is nothing to do."""
    counts = {standing: sum(len(review.standing(standing)) for review in reviews) for standing in ASIDE}
    said = [f"{count} {standing.heading.lower()}" for standing, count in counts.items() if count]
    hints = (
        [f"`sdlc findings {key} --all` lists what is not open: {', '.join(said)}."] if said and not everything else []
    )
    if any(review.open for review in reviews):
        hints.append(f"`sdlc waive {key} --finding FINGERPRINT -m WHY` lets a finding stand.")
    return Text("\n".join(hints))


def _headline(reviews: Sequence[Reviewed]) -> Text:
    found = [entry for review in reviews for entry in review.open]
    said = f"{counted(len(found), 'open finding')}: {by_severity(found)}." if found else "No open findings."
    text = Text(said, "bold")
    missing = [review.panel.value for review in reviews if not review.is_complete]
    if missing:
        text.append(f" Not complete: {', '.join(missing)}.", "bold red")
    return text


def _panel(review: Reviewed) -> Iterator[RenderableType]:
    title = f"{review.panel.value.capitalize()} panel: "
    yield Text.assemble((title, "bold"), (verdict_of(review), "" if review.is_complete else "red"))
    if review.trouble:
        yield Padding(Text(f"Without evidence and what was left out: {plain(review.trouble)}", "yellow"), _INDENT)
    if review.open:
        yield EntryTable(review.open)


def _aside(standing: Standing, entries: Sequence[Entry]) -> list[RenderableType]:
    if not entries:
        return []
    title = Text.assemble((f"{standing.heading} ({len(entries)}). ", "bold"), (standing.meaning, "dim"))
    return [Text(), title, EntryTable(sorted(entries, key=lambda entry: entry.rank))]


class EntryTable:
    """Findings: a paragraph each at a terminal, a line each elsewhere."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._paragraphs() if console.is_terminal else self._lines()

    def _paragraphs(self) -> Table:
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=1)
        table.add_column(width=max(len(severity.value) for severity in Severity))
        table.add_column(overflow="fold")
        for number, entry in enumerate(self._entries):
            if number:
                table.add_row()
            table.add_row("", _severity(entry), _paragraph(entry))
        return table

    def _lines(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for entry in self._entries:
            table.add_row(
                "",
                _severity(entry),
                Text(plain(entry.place)),
                Text(plain(_found_by(entry))),
                Text(plain(entry.fingerprint)),
                Text(" ".join(filter(None, [plain(entry.message), *_marks(entry)]))),
            )
        return table


def _severity(entry: Entry) -> Text:
    if entry.severity is None:
        return Text("finding", "dim")
    return Text(entry.severity.value, SEVERITY_STYLE[entry.severity])


def _paragraph(entry: Entry) -> Text:
    place = Text(plain(entry.place) or "no place given", "bold" if entry.standing is Standing.OPEN else "")
    lines = [place, Text(plain(entry.message) or "no words")]
    lines += [Text(mark, "yellow") for mark in _marks(entry)]
    if entry.standing is Standing.OPEN and entry.suggestion.strip():
        lines.append(Text("Suggestion:", "dim"))
        shown = entry.suggestion.strip("\n").splitlines()[:MAX_SUGGESTION_LINES]
        lines += [Text(f"  {escaped_text(line)}", "green") for line in shown]
    lines.append(Text("  ".join(filter(None, [plain(_found_by(entry)), plain(entry.fingerprint)])), "dim"))
    return Text("\n").join(lines)


def _found_by(entry: Entry) -> str:
    """The rule; of what was left out before it had one, what said it."""
    found_by = entry.rule if ":" in entry.rule else ":".join(filter(None, [entry.source, entry.rule]))
    return found_by if entry.standing is Standing.OPEN else f"{found_by} ({entry.panel.value})"


def _marks(entry: Entry) -> list[str]:
    """What one should know before one believes it."""
    marks = [f"Why: {plain(entry.why)}"] if entry.why else []
    if entry.standing is not Standing.OPEN:
        return marks
    marks += [f"Only {entry.confidence:.0%} sure."] if entry.confidence < SURE else []
    if entry.carried:
        marks.append("From an earlier round; nobody has looked again.")
    elif entry.status == "open":
        marks.append("Still open since an earlier round.")
    return marks


def _sources(reviews: Sequence[Reviewed], *, everything: bool) -> list[RenderableType]:
    silent = [_silence(silence, everything) for silence in silences(reviews)]
    noted = [
        Text(f"{plain(source.name)} ({review.panel.value}): {plain(source.note)}", "dim")
        for review in reviews
        for source in remarks(review)
    ]
    parts: list[RenderableType] = []
    for title, lines in (("What did not run, and why:", silent), ("Of what did run:", noted if everything else [])):
        if lines:
            parts += [Text(), Text(title, "bold"), *(Padding(line, _INDENT) for line in lines)]
    return parts


def _silence(silence: Silence, everything: bool) -> Text:
    names = named([plain(name) for name in silence.names], len(silence.names) if everything else _NAMES)
    panels = ", ".join(panel.value for panel in silence.panels)
    state = "failed" if silence.state is SourceState.FAILED else "not run"
    text = f"{names} ({panels}): {state}: {plain(silence.note) or 'no reason given'}"
    return Text(text, "red" if silence.required else "dim")
