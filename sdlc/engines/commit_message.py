"""The message of the one commit that a round leaves, in the form of Conventional Commits 1.0. Pure."""

from __future__ import annotations

import re
import textwrap

from sdlc.untrusted import visible_text, without_orders

MAX_TITLE = 72
_TYPES = "feat|fix|docs|test|refactor|perf|chore|build|style|revert"
_CONVENTIONAL = re.compile(rf"(?P<type>{_TYPES})(?:\([^)]*\))?!?:\s*(?P<rest>\S.*)", re.IGNORECASE)
_BY_VERB = (
    ("feat", re.compile(r"(?:add|implement|introduce|support|allow|provide|offer)(?:s|ed|ing)?\b", re.IGNORECASE)),
    ("docs", re.compile(r"(?:document|describe|explain)(?:s|ed|ing)?\b", re.IGNORECASE)),
    ("refactor", re.compile(r"(?:refactor|rename|simplif|restructur|extract)\w*", re.IGNORECASE)),
)
_TRAILER = re.compile(r"^[A-Za-z][A-Za-z-]*(?:-by|-authored-by|-reviewed-by):", re.IGNORECASE)


def commit_message(ticket_key: str, summary: str, ended: str = "submitted", *, coauthor: str = "") -> str:
    """Title, body and a `Ticket:` line, of what the engine says it did; `coauthor` is `Name <e-mail>`.

    Lines that look like a sign-off or a co-author are indented: nobody but people signs. What a forge would obey,
    such as `[skip ci]`, is made plain words.
    """
    scope = re.sub(r"[^A-Za-z0-9._-]+", "-", ticket_key).strip("-") or "ticket"
    lines = without_orders(visible_text(summary)[0]).strip().splitlines()
    first = " ".join(lines[0].split()).strip("#* ") if lines else ""
    if not first:
        return f"chore({scope}): unfinished work\n\nEnded by: {ended}.\n\n{_trailers(ticket_key, coauthor)}\n"
    kind, subject = _kind_and_subject(first)
    prefix = f"{kind}({scope}): "
    title = textwrap.shorten(prefix + subject, max(MAX_TITLE, len(prefix) + 20), placeholder="…")
    body = _body(lines[1:])
    if title.endswith("…"):
        body = "\n\n".join(part for part in (textwrap.fill(first, MAX_TITLE), body) if part)
    parts = [title, body, _trailers(ticket_key, coauthor)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _trailers(ticket_key: str, coauthor: str) -> str:
    lines = [f"Ticket: {' '.join(ticket_key.split())}"]
    return "\n".join([*lines, f"Co-authored-by: {coauthor}"] if coauthor else lines)


def _kind_and_subject(first: str) -> tuple[str, str]:
    if match := _CONVENTIONAL.fullmatch(first):
        return match["type"].lower(), match["rest"].rstrip(".")
    kind = next((kind for kind, verb in _BY_VERB if verb.match(first)), "fix")
    words = first.rstrip(".").split(" ", 1)
    # Only a plain word loses its capital: `README` and `Quote.notes` keep theirs.
    head = words[0].lower() if re.fullmatch(r"[A-Z][a-z]*", words[0]) else words[0]
    return kind, " ".join([head, *words[1:]])


def _body(lines: list[str]) -> str:
    paragraphs = "\n".join(lines).strip().split("\n\n")
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs if paragraph.strip())


def _paragraph(text: str) -> str:
    lines = [f"  {line}" if _TRAILER.match(line) else line.rstrip() for line in text.strip("\n").splitlines()]
    is_list = any(re.match(r"\s*(?:[-*+]|\d+[.)])\s", line) or line.startswith("  ") for line in lines)
    if is_list:
        return "\n".join(lines)
    return textwrap.fill(" ".join(lines), MAX_TITLE, break_long_words=False, break_on_hyphens=False)
