"""What prompts of lenses and of their second look have in common."""

from __future__ import annotations

from collections.abc import Sequence

from sdlc.domain import Ticket
from sdlc.untrusted import quoted

LONGEST_TICKET = 8_000
"""Characters of the description."""
LONGEST_LINE = 400
"""Characters shown of one line of code."""


def ticket_text(ticket: Ticket) -> str:
    """The ticket as a prompt shows it: quoted, without what a person would not see, and cut where it is very long."""
    description = ticket.description
    if len(description) > LONGEST_TICKET:
        description = f"{description[:LONGEST_TICKET]}\n[{len(description) - LONGEST_TICKET} more characters]"
    criteria = "\n".join(f"- {criterion}" for criterion in ticket.acceptance_criteria)
    text = "\n\n".join(filter(None, [ticket.title, description, criteria and f"Acceptance criteria:\n{criteria}"]))
    return quoted(text, f"ticket {ticket.key}" if ticket.key else "what the change is for")


def numbered(lines: Sequence[str], first: int, last: int) -> str:
    """Lines `first` to `last` (from 1), each with its number; what lies outside the file is left out."""
    first, last = max(first, 1), min(last, len(lines))
    width = len(str(last))
    return "\n".join(f"{number:>{width}}  {lines[number - 1][:LONGEST_LINE]}" for number in range(first, last + 1))
