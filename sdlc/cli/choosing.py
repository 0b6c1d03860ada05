"""Which ticket a command means: the next one that is offered, or an issue by its number."""

from __future__ import annotations

import typer

from sdlc.cli.busy import busy
from sdlc.cli.context import connected_runs, say
from sdlc.cli.output import print_json
from sdlc.cli.view import cut
from sdlc.config import Settings
from sdlc.domain import Ticket
from sdlc.errors import SdlcError, UsageError
from sdlc.integrations.github.issue_reading import key_of
from sdlc.runtime.services import build_tracker

_MOST_RUNS = 1_000
_DESCRIPTION = 300


async def next_of(settings: Settings) -> Ticket | None:
    """The ticket that would be taken next, besides those that a run is open for; None if there is none."""
    try:
        open_runs = await (await connected_runs(settings)).list(include_closed=False, limit=_MOST_RUNS)
    except SdlcError as error:  # a tracker can be asked without
        say(f"Which runs are open is not known: {error}")
        open_runs = []
    tracker = build_tracker(settings)
    async with busy(f"Asking the tracker ({settings.tracker.kind})"):
        key = await tracker.next_key(besides={row.ticket_key for row in open_runs})
        return await tracker.ticket(key) if key else None


def show_ticket(ticket: Ticket, *, as_json: bool) -> None:
    if as_json:
        print_json(ticket)
        return
    typer.echo(f"{ticket.key}  {cut(ticket.title, _DESCRIPTION)}")
    if ticket.description:
        typer.echo(cut(ticket.description, _DESCRIPTION))
    typer.echo(f"`sdlc next --start`, or `sdlc start {ticket.key}`, starts its run.")


def key_of_issue(settings: Settings, number: str, repo: str) -> str:
    """The key of an issue of GitHub. UsageError where it can't be told which repository's it is."""
    if not number.lstrip("#").isdigit() or int(number.lstrip("#")) < 1:
        raise UsageError(f"{number!r} is no number of an issue; write `sdlc start issue 12`.")
    if settings.tracker.kind != "github":
        raise UsageError(
            f"Tickets are in {settings.tracker.kind} here, not in GitHub's issues; set tracker.kind: github and "
            "github.issues (`sdlc setup` asks for them), or start a ticket by its key."
        )
    known = settings.github.issues
    named = [one for one in known if repo.casefold() in (one.casefold(), one.rpartition("/")[2].casefold())]
    if repo and not named:
        raise UsageError(f"{repo} is not in github.issues ({', '.join(known) or 'which is empty'}); add it there.")
    if not repo and len(known) != 1:
        raise UsageError(
            f"Say whose issue {number} is with --repo; github.issues has {', '.join(known) or 'no repository'}."
        )
    return key_of((named or known)[0], int(number.lstrip("#")))
