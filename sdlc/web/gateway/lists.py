"""Lists of runs: the inbox and the page of all runs. Pure, but for asking for the next page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sdlc.domain import RunState
from sdlc.errors import UsageError
from sdlc.people import same
from sdlc.runtime.runs import RunRow
from sdlc.web.gateway.asking import Asking, where
from sdlc.web.sign_in.sealing import Sealer
from sdlc.web.views import Inbox, RunFilter, RunLine, RunsPage

MOST_WAITING = 2_000
_SEARCHED = 1_000
"""Runs that are looked at for one page of a search."""
_SEARCH_PAGE = 200


def line_of(row: RunRow, names: Sequence[str] = ()) -> RunLine:
    """`names`: all of the one who looks."""
    card = row.card
    if card is None:
        return RunLine(
            key=row.ticket_key,
            repository=row.repository,
            state=row.state,
            step=row.step,
            waits_for="people" if row.waits_for == "person" else "",
            starter=row.starter,
            started=row.started,
            ended=row.closed,
        )
    waits = row.waits_for == "person" or (row.status == "running" and card.waiting_since is not None)
    return RunLine(
        key=row.ticket_key,
        title=card.title,
        repository=card.repository or row.repository,
        state=row.state if row.state != "running" else card.state.value,
        step=row.step or card.step,
        waits_for=waits_for(card.waits_for or "people", card.pull_request_url) if waits else "",
        waiting_since=card.waiting_since if waits else None,
        starter=card.starter,
        approvers=card.approvers,
        required=card.required,
        approved_by=card.approved_by,
        for_me=waits and concerns(card.approvers, names),
        risk=card.risk,
        pull_request_url=safe_url(card.pull_request_url),
        head_sha=card.head_sha,
        usd=card.usd,
        tokens=card.tokens,
        fix_rounds=card.fix_rounds,
        revisions=card.revisions,
        asked=card.asked,
        started=card.started or row.started,
        ended=card.ended or row.closed,
    )


def waits_for(text: str, pull_request_url: str) -> str:
    """What a run waits for, in words; the link to its pull request stands beside them."""
    return text.replace(pull_request_url, "the pull request") if pull_request_url else text


def concerns(approvers: Sequence[str], names: Sequence[str]) -> bool:
    """May somebody of these names decide? Where nobody is named, anybody may."""
    return bool(names) and (not approvers or same(names, approvers))


def safe_url(url: str) -> str:
    """`url` if a browser may follow it: http or https, to a host. Else empty."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        return ""
    return url if good and not parts.username and not parts.password else ""


def inbox_of(rows: Sequence[RunRow], names: Sequence[str], *, everything: bool, offset: int, limit: int) -> Inbox:
    """Those for me first, then the longest first."""
    lines = [line_of(row, names) for row in rows]
    lines.sort(key=lambda line: (not line.for_me, line.waiting_since or line.started, line.key))
    shown = lines if everything else [line for line in lines if line.for_me]
    return Inbox(
        items=tuple(shown[offset : offset + limit]),
        offset=offset,
        limit=limit,
        total=len(shown),
        mine=sum(line.for_me for line in lines),
        waiting=len(lines),
        cut=len(rows) >= MOST_WAITING,
    )


async def runs_page(
    asking: Asking, wanted: RunFilter, cursor: str, limit: int, names: Sequence[str], sealer: Sealer
) -> RunsPage:
    """Runs that fit, the newest first. Text and person are no part of Temporal's index: for these it is searched."""
    searches = bool(wanted.text.strip() or wanted.person.strip())
    place = Cursor.of(cursor, sealer) if cursor else Cursor(size=_SEARCH_PAGE if searches else limit)
    query = _query(wanted)
    found: list[RunLine] = []
    searched = 0
    while True:
        rows, token = await asking.page(query, place.token, place.size)
        for number, row in enumerate(rows[place.skip :], place.skip + 1):
            searched += 1
            if _fits(row, wanted):
                found.append(line_of(row, names))
            if len(found) >= limit:
                at = Cursor(place.token, place.size, number) if number < len(rows) else Cursor(token, place.size)
                more = number < len(rows) or bool(token)
                return RunsPage(items=tuple(found), next=at.text(sealer) if more else "", searched=searched)
        if not token:
            return RunsPage(items=tuple(found), searched=searched)
        place = Cursor(token, place.size)
        if searched >= _SEARCHED:
            return RunsPage(items=tuple(found), next=place.text(sealer), searched=searched)


def _query(wanted: RunFilter) -> str:
    state = RunState(wanted.state) if wanted.state else None
    query = where(repository=wanted.repository, state=state.value if state else "")
    # One that was ended from outside has in the index the state in which it was.
    return query if state is None or state.is_over else f"{query} AND ExecutionStatus = 'Running'"


def _fits(row: RunRow, wanted: RunFilter) -> bool:
    text, person = wanted.text.strip().casefold(), wanted.person.strip()
    title = row.card.title if row.card else ""
    if text and text not in row.ticket_key.casefold() and text not in title.casefold():
        return False
    people = (row.starter, *((row.card.starter, *row.card.approvers) if row.card else ()))
    return not person or same([person], people)


@dataclass(frozen=True)
class Cursor:
    """A place in a list: a page of Temporal's, by its token and size, and how many of its rows are behind us.

    It goes to the browser and back, sealed: at a token that it has not made itself, Temporal tries for seconds.
    """

    token: bytes = b""
    size: int = 50
    skip: int = 0

    def text(self, sealer: Sealer) -> str:
        return sealer.seal(
            {"token": base64.b64encode(self.token).decode("ascii"), "size": self.size, "skip": self.skip}
        )

    @classmethod
    def of(cls, text: str, sealer: Sealer) -> Cursor:
        """UsageError for what `text` has not made."""
        kept = sealer.open(text)
        if kept is None:
            raise UsageError("That cursor is none of this list; begin without one.")
        return cls(base64.b64decode(kept["token"]), kept["size"], kept["skip"])
