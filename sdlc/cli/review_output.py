"""What `sdlc review` prints: lines that editors understand, a table at a terminal, JSON, SARIF, Markdown."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import typer

from sdlc.domain import ChangeSet, Severity, SourceState, Usage
from sdlc.integrations.git.comparison import Comparison
from sdlc.naming import counted
from sdlc.repeats import MINIMUM_CONFIDENCE
from sdlc.review_graphs import report_json, sarif
from sdlc.review_graphs.report_text import review_text
from sdlc.review_graphs.reviewed import ASIDE, Entry, Reviewed, Silence, Standing, by_severity, named, silences
from sdlc.untrusted import visible_text

_NAMES = 6


@dataclass(frozen=True)
class Result:
    """What came of a review."""

    reviews: Sequence[Reviewed]
    comparison: Comparison
    change: ChangeSet
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Has everything that has to look looked?"""
        return all(review.is_complete for review in self.reviews)

    @property
    def found(self) -> list[Entry]:
        """What is open, the worst first."""
        return self._standing(Standing.OPEN)

    def at_or_above(self, severity: Severity) -> list[Entry]:
        """What is open, sure enough, and at least as severe."""
        return [
            entry
            for entry in self.found
            if entry.confidence >= MINIMUM_CONFIDENCE and (entry.severity or Severity.INFO).rank <= severity.rank
        ]

    def show(self, how: str, *, everything: bool) -> None:
        """Print it to standard output."""
        if how == "text" and self._is_for_a_terminal:
            self._show_tables(everything=everything)
        else:
            typer.echo(self.text(how, everything=everything), nl=False)

    def text(self, how: str, *, everything: bool) -> str:
        """The whole in that format, with a newline at its end; a lone surrogate, which no output takes, is escaped."""
        return self._text(how, everything=everything).encode("utf-8", "backslashreplace").decode("utf-8")

    def _text(self, how: str, *, everything: bool) -> str:
        if how == "json":
            return json.dumps(self._json(everything=everything), ensure_ascii=False, indent=2) + "\n"
        if how == "sarif":
            return json.dumps(sarif.merged(self.reviews), ensure_ascii=False, indent=2) + "\n"
        if how == "markdown":
            text = review_text(self.reviews, everything=everything) if self.reviews else self._headline()
            return text.rstrip("\n") + "\n"
        lines = [self._line(entry) for entry in self.found] or [self._headline()]
        for standing in ASIDE if everything else ():
            lines += [self._line(entry) for entry in self._standing(standing)]
        lines += [_silence(silence) for silence in silences(self.reviews) if everything]
        return "".join(f"{line}\n" for line in lines)

    @property
    def _is_for_a_terminal(self) -> bool:
        return sys.stdout.isatty() and bool(self.reviews)

    def remarks(self) -> Iterator[str]:
        """What a person has to know beside the findings."""
        found = self.found
        if found:
            panels = counted(len(self.reviews), "panel")
            yield f"{counted(len(found), 'finding')} ({by_severity(found)}); {panels}, {self.seconds:.1f} s."
        yield from (_silence(silence) for silence in silences(self.reviews) if silence.required)
        for review in self.reviews:
            if review.trouble:
                yield f"The {review.panel.value} panel's document can't be shown: {_line(review.trouble)}"
        if not self.is_complete:
            missing = ", ".join(review.panel.value for review in self.reviews if not review.is_complete)
            yield f"Not complete ({missing}), so this is no pass."

    def _standing(self, standing: Standing) -> list[Entry]:
        found = (entry for review in self.reviews for entry in review.standing(standing))
        return sorted(found, key=lambda entry: entry.rank)

    def _headline(self) -> str:
        if not self.reviews:
            return f"Nothing to review: {self.comparison.told}, and nothing differs."
        said = "nothing to say" if self.is_complete else "nothing found so far"
        return f"{counted(len(self.reviews), 'panel')}, {counted(self.change.files_changed, 'file')}: {said}."

    def _json(self, *, everything: bool) -> dict[str, object]:
        panels = report_json.whole(self.reviews)["panels"]
        return {
            "compared": self.comparison.told,
            "base": self.comparison.base or None,
            "head": self.comparison.head or None,
            "complete": self.is_complete,
            "left_out": list(self.comparison.left_out),
            "panels": [{key: value for key, value in panel.items() if key != "findings"} for panel in panels],
            "findings": report_json.listed(self.reviews, everything=everything),
            "usage": Usage.total(review.report.usage for review in self.reviews).model_dump(mode="json"),
            "seconds": self.seconds,
        }

    def _line(self, entry: Entry) -> str:
        """`path:line: severity rule message`, as compilers write it."""
        words = [entry.severity.value if entry.severity else "finding"]
        if entry.standing is not Standing.OPEN:
            words.insert(0, f"[{entry.standing.value}]")
        elif entry.confidence < MINIMUM_CONFIDENCE:
            words.append("(unsure)")
        words += [_line(entry.rule), _line(entry.message)]
        if entry.why:
            words.append(f"({_line(entry.why)})")
        return f"{self._path(entry.file)}:{entry.line}: {' '.join(filter(None, words))}"

    def _path(self, file: str) -> str:
        """As an editor finds it from here; names that can't be printed stay as git quotes them."""
        top = self.comparison.place.top
        if top is None or not file or file.startswith('"'):
            return file or "?"
        return os.path.relpath(top / file)

    def _show_tables(self, *, everything: bool) -> None:
        from sdlc.cli.findings_view import EntryTable, findings_view
        from sdlc.cli.view import show

        if everything:
            show(findings_view(self.reviews, everything=True))
        elif self.found:
            show(EntryTable(self.found))
        else:
            typer.echo(self._headline())


def _silence(silence: Silence) -> str:
    state = "failed" if silence.state is SourceState.FAILED else "not run"
    names = named([_line(name) for name in silence.names], _NAMES)
    panels = ", ".join(panel.value for panel in silence.panels)
    return f"{names} ({panels}): {state}: {_line(silence.note) or 'no reason given'}"


def _line(text: str) -> str:
    """In one line, without anything that a terminal would obey or a reader would not see."""
    return " ".join(visible_text(text)[0].split())
