"""A ticket in parts, pure: which of a planner's parts hold, when each begins, in what order they are merged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from sdlc.budget import Spent, left
from sdlc.domain import Budget, Record, SubIssue, Ticket, Usage
from sdlc.naming import MAX_BRANCH, MAX_TITLE, slug
from sdlc.untrusted import visible_text

MAX_KEY = 24
MAX_DESCRIPTION = 8_000
"""Characters of a part's description, and of what it shows of the whole ticket's."""
MAX_CRITERIA = 20
MAX_SAID = 1_000


class Split(Record):
    """What is left of a planner's parts."""

    parts: tuple[SubIssue, ...] = ()
    """In the order in which they are merged; empty: the ticket is done in one piece."""
    note: str = ""
    """What was left out, and why."""


def checked(parts: Sequence[SubIssue], *, max_parts: int) -> Split:
    """The parts as they can be worked on: short unique keys, visible text, needs that exist, in merge order.

    Never fewer parts than were planned, for that would lose work: what can't be put right (too many, a key twice, no
    title, needs in a circle) is no split, with a note that says why.
    """
    if len(parts) < 2:
        return Split()
    if len(parts) > max_parts:
        return _whole(f"the planner made {len(parts)} parts, and {max_parts} are allowed (plan.max_parts)")
    clean = [_clean(part, number) for number, part in enumerate(parts, 1)]
    keys = {part.key for part in clean}
    if len(keys) < len(clean):
        return _whole("two of the planner's parts have the same key")
    if untitled := next((part.key for part in clean if not part.title), ""):
        return _whole(f"the planner's part {untitled} has no title")
    unknown = sorted({need for part in clean for need in part.needs} - keys)
    needed = [
        part.model_copy(update={"needs": tuple(need for need in part.needs if need in keys and need != part.key)})
        for part in clean
    ]
    ordered = merge_order(needed)
    if len(ordered) < len(needed):
        circle = ", ".join(part.key for part in needed if part not in ordered)
        return _whole(f"the planner's parts need each other in a circle ({circle})")
    note = f"Needs that name no part were left out: {', '.join(unknown)}." if unknown else ""
    return Split(parts=ordered, note=note)


def worth_splitting(parts: Sequence[SubIssue], split: Literal["auto", "always", "never"]) -> bool:
    """Are the parts to be done one by one? With `auto` the planner gives parts only where it finds them worth it."""
    return split != "never" and len(parts) > 1


def merge_order(parts: Sequence[SubIssue]) -> tuple[SubIssue, ...]:
    """The planner's order, each part after those it needs. Parts that need each other in a circle are not in it."""
    ordered: list[SubIssue] = []
    waiting = list(parts)
    while chosen := next((part for part in waiting if {one.key for one in ordered}.issuperset(part.needs)), None):
        ordered.append(chosen)
        waiting.remove(chosen)
    return tuple(ordered)


def ready(
    parts: Sequence[SubIssue],
    *,
    merged: Collection[str],
    running: Collection[str],
    ended: Collection[str],
    at_once: int,
) -> tuple[SubIssue, ...]:
    """Parts that begin now: all they need is merged, and fewer than `at_once` are at work. Keys say which are where."""
    waiting = [part for part in parts if part.key not in {*merged, *running, *ended}]
    free = [part for part in waiting if set(merged).issuperset(part.needs)]
    return tuple(free[: max(0, at_once - len(running))])


def next_to_merge(
    parts: Sequence[SubIssue], *, merged: Collection[str], finished: Collection[str], failed: Collection[str]
) -> SubIssue | None:
    """The finished part whose turn it is; None while an earlier one is not done. Those that failed, and those that need
    one of them, are passed over."""
    lost = set(failed)
    for part in parts:
        if part.key in merged:
            continue
        if part.key in lost or lost.intersection(part.needs):
            lost.add(part.key)
        else:
            return part if part.key in finished else None
    return None


# --- what a part's engine is given --------------------------------------------------------------


def part_branch(branch: str, key: str) -> str:
    """`<branch>--<key>`, at most as long as branches may be."""
    suffix = f"--{key}"
    return branch[: MAX_BRANCH - len(suffix)].rstrip("-/") + suffix


def part_ticket(ticket: Ticket, part: SubIssue, parts: Sequence[SubIssue]) -> Ticket:
    """The ticket that a part's engine solves; its key `<key>-<part>` is good for a branch and a file."""
    others = [
        f"- {other.key}: {other.title}" + (" (done already)" if other.key in part.needs else "")
        for other in parts
        if other.key != part.key
    ]
    whole = ticket.description.strip()
    if len(whole) > MAX_DESCRIPTION:
        whole = f"{whole[:MAX_DESCRIPTION]}\n[{len(whole) - MAX_DESCRIPTION} more characters]"
    said = [
        part.description,
        f"This is part {part.key} of {ticket.key}, “{_line(ticket.title)}”. Do this part alone. "
        "The other parts are done by others, so leave them alone:\n" + "\n".join(others),
        f"The whole ticket, to know what the part is for:\n\n{whole}" if whole else "",
    ]
    return ticket.model_copy(
        update={
            "key": f"{ticket.key}-{part.key}",
            "title": part.title,
            "description": "\n\n".join(text for text in said if text),
            "acceptance_criteria": part.acceptance_criteria,
        }
    )


def conflict_words(part: SubIssue, conflicts: Sequence[str]) -> str:
    """What the engine is told that resolves conflicts; files as `PartMerged.conflicts` names them."""
    files = "\n".join(f"- {_line(file)}" for file in conflicts)
    return (
        f"Part {part.key} ({part.title}) was merged with the parts before it, and both changed the same places. "
        "This is your only task: resolve the conflicts, so that what both sides mean is kept, and the tests of both "
        "pass. Between `<<<<<<<` and `=======` stands what was merged before, after it what this part says. Remove "
        "all conflict markers. A file with a kind of conflict behind its name has no markers: decide how it should "
        f"be, and change it or what uses it.\n\n{files}"
    )


def with_share(spent: Spent, budget: Budget, *, portions: int, sharers: int) -> Spent:
    """What one of `sharers` at work must take for spent, so that together they don't go beyond the budget."""
    open_ = left(spent, budget, portions=portions)
    others = 1 - 1 / max(1, sharers)
    held = Usage(input_tokens=int((open_.tokens or 0) * others), usd=round((open_.usd or 0.0) * others, 6))
    return spent.model_copy(
        update={"usage": spent.usage + held, "turns": spent.turns + int((open_.turns or 0) * others)}
    )


def _clean(part: SubIssue, number: int) -> SubIssue:
    return SubIssue(
        key=slug(part.key, MAX_KEY) or f"p{number}",
        title=_line(part.title)[:MAX_TITLE].strip(),
        description=visible_text(part.description)[0].strip()[:MAX_DESCRIPTION],
        acceptance_criteria=tuple(filter(None, (_line(item)[:MAX_SAID] for item in part.acceptance_criteria)))[
            :MAX_CRITERIA
        ],
        needs=tuple(dict.fromkeys(filter(None, (slug(need, MAX_KEY) for need in part.needs)))),
    )


def _whole(why: str) -> Split:
    return Split(note=f"The ticket is done in one piece: {why}.")


def _line(text: str) -> str:
    return " ".join(visible_text(text)[0].split())
