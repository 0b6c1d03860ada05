"""A review as Markdown: what the panels say of a change, for a pull request, a comment or a file.

Everything that comes from outside (messages, paths, code, what tools say of themselves) goes through
`sdlc.markdown` and `sdlc.untrusted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sdlc import untrusted
from sdlc.finding_comment import MAX_SUGGESTION_LINES
from sdlc.markdown import code, inline
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

LONGEST = 60_000
"""Characters; GitHub takes 65,536."""
_MESSAGE = 1_000
_EVIDENCE = 2_000
_SUGGESTION = 1_000
_NOTE = 300
_NAMES = 6
"""Sources that are named one by one."""
_ALWAYS = (Standing.RESOLVED,)
"""What is told beside the open findings without being asked for: what came of the last round."""


@dataclass(frozen=True)
class _Part:
    text: str
    findings: int = 0
    apart: bool = True
    """With an empty line before it."""


def review_text(reviews: Iterable[Reviewed], *, everything: bool = False, limit: int = LONGEST) -> str:
    """The review as a whole, at most `limit` characters; what does not fit is counted and said.

    With `everything` also the findings that are not open, by what became of them, and how the sources fared.
    """
    every = worst_first(reviews)
    if not every:
        return f"{NOT_YET}\n"
    found = sorted((entry for review in every for entry in review.open), key=lambda entry: entry.rank)
    parts = [_Part(_headline(every, found)), *(_Part(_panel(review), apart=not n) for n, review in enumerate(every))]
    parts += [_Part(_finding(entry), 1) for entry in found]
    for standing in ASIDE if everything else _ALWAYS:
        same = [entry for review in every for entry in review.standing(standing)]
        if same:
            parts.append(_Part(f"**{standing.heading}** ({len(same)}): {standing.meaning}"))
            parts += [_Part(_row(entry), 1, apart=not number) for number, entry in enumerate(same)]
    if sources := _sources(every, everything=everything):
        parts.append(_Part(sources))
    return _within(parts, limit) + "\n"


def _headline(reviews: Sequence[Reviewed], found: Sequence[Entry]) -> str:
    heads = dict.fromkeys(review.report.head_sha[:10] for review in reviews if review.report.head_sha)
    about = f" of {', '.join(code(head) for head in heads)}" if heads else ""
    said = f"{counted(len(found), 'open finding')} ({by_severity(found)})" if found else "no open findings"
    missing = [review.panel.value for review in reviews if not review.is_complete]
    not_complete = f" Not complete: {', '.join(missing)}; a person has to decide." if missing else ""
    return f"**Review{about}:** {said}.{not_complete}"


def _panel(review: Reviewed) -> str:
    """One line: what is open, what had to look and could not, and what did not run beside that."""
    must = [source for source in review.silent if source.required]
    rest = [source.name for source in review.silent if not source.required]
    told = [f"{code(s.name, 60)} {_state(s.state)} ({inline(s.note or 'no reason given', _NOTE)})" for s in must]
    said = [verdict_of(review) + (f": {named(told, _NAMES)}" if told else "")]
    said += [f"Not run: {_codes(rest)}"] if rest else []
    said += [f"Without evidence and what was left out: {inline(review.trouble, _NOTE)}"] if review.trouble else []
    return f"- **{review.panel.value}**: {'. '.join(said)}."


def _finding(entry: Entry) -> str:
    marks = [entry.panel.value, code(entry.rule, 100), *_doubt(entry)]
    parts = [
        f"**{_severity(entry)}** {code(entry.place, 300)} ({', '.join(filter(None, marks))}): "
        f"{inline(entry.message, _MESSAGE)}"
    ]
    if entry.suggestion.strip():
        lines = entry.suggestion.strip("\n").splitlines()[:MAX_SUGGESTION_LINES]
        parts.append(f"Suggestion:\n\n{_fenced(chr(10).join(lines), _SUGGESTION)}")
    inside = [_fenced(entry.evidence, _EVIDENCE)] if entry.evidence.strip() else []
    inside += [f"Fingerprint: {code(entry.fingerprint, 64)}"] if entry.fingerprint else []
    if inside:
        what = "Evidence" if entry.evidence.strip() else "Fingerprint"
        parts.append("\n\n".join([f"<details><summary>{what}</summary>", *inside, "</details>"]))
    return "\n\n".join(parts)


def _doubt(entry: Entry) -> list[str]:
    marks = [] if entry.confidence >= SURE else [f"confidence {entry.confidence:.0%}"]
    if entry.carried:
        return [*marks, "from an earlier round, not looked at again"]
    return [*marks, "still open"] if entry.status == "open" else marks


def _row(entry: Entry) -> str:
    """One line of a list, for what is not open."""
    place = f" {code(entry.place, 300)}" if entry.place else ""
    rule = code(entry.rule, 100) or code(entry.source, 100)
    why = f" *Why:* {inline(entry.why, _MESSAGE)}" if entry.why else ""
    about = f" ({', '.join(filter(None, [entry.panel.value, rule]))})"
    return f"- {_severity(entry)}{place}{about}: {inline(entry.message, _MESSAGE) or 'no words'}{why}"


def _severity(entry: Entry) -> str:
    return entry.severity.value if entry.severity else "finding"


def _sources(reviews: Sequence[Reviewed], *, everything: bool) -> str:
    """What did not run and why, folded: most of it had nothing to look at."""
    rows = [_silence(silence, everything) for silence in silences(reviews) if everything or not silence.required]
    if everything:
        rows += [
            f"- {code(source.name, 60)} ({review.panel.value}): {inline(source.note, _NOTE)}"
            for review in reviews
            for source in remarks(review)
        ]
    if not rows:
        return ""
    return "\n".join(["<details><summary>What did not run, and why</summary>", "", *rows, "", "</details>"])


def _silence(silence: Silence, everything: bool) -> str:
    names = _codes(silence.names, len(silence.names) if everything else _NAMES)
    panels = ", ".join(panel.value for panel in silence.panels)
    return f"- {names} ({panels}) {_state(silence.state)}: {inline(silence.note or 'no reason given', _NOTE)}"


def _codes(names: Sequence[str], most: int = _NAMES) -> str:
    return named([code(name, 60) for name in names], most)


def _state(state: str) -> str:
    return state.replace("_", " ")


def _fenced(text: str, limit: int) -> str:
    """Code as it is, with what can't be seen made visible, in a fence that it can't end."""
    shown = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    cut = len(shown) - limit
    block, _ = untrusted.fenced(shown[:limit], code=True)
    return f"{block}\n\n*… {cut:,} more characters are left out here.*" if cut > 0 else block


def _within(parts: Sequence[_Part], limit: int) -> str:
    room = limit - 100
    text = ""
    for number, part in enumerate(parts):
        joined = ("\n\n" if part.apart else "\n") + part.text if text else part.text
        if len(text) + len(joined) > room:
            left = sum(other.findings for other in parts[number:])
            what = counted(left, "more finding") if left else "what follows"
            return f"{text}\n\n*… {what} left out here.*"
        text += joined
    return text
