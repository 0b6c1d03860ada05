"""How the tickets of the fake Jira look in the web view."""

from __future__ import annotations

from datetime import datetime

from tests.fakes.jira_state import Comment, Issue
from tests.fakes.web_html import Html, badge, el, field, form, join, link, markdown, select
from tests.fakes.world import LABEL, PEOPLE, World

_KINDS = {"new": "", "indeterminate": "busy", "done": "good"}


def clock(moment: datetime | str | None) -> str:
    """The time of day here."""
    if not moment:
        return ""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.astimezone().strftime("%H:%M:%S")


def ticket_list(world: World) -> Html:
    """All tickets, and a form for one more."""
    rows = [
        el(
            "tr",
            el("td", link(f"/browse/{issue.key}", issue.key)),
            el("td", link(f"/browse/{issue.key}", issue.summary)),
            el("td", _status(world, issue)),
            el("td", [join(badge(label), " ") for label in issue.labels]),
            el("td", _who(world, issue.assignee)),
        )
        for issue in list(world.jira.issues.values())
    ]
    head = el("thead", el("tr", [el("th", name) for name in ("Key", "Ticket", "Status", "Labels", "Assigned to")]))
    new = form(
        "/tickets",
        select("by", "Who writes it", PEOPLE),
        field("title", "Title", needed=True),
        field("body", "What is wanted (Markdown; acceptance criteria under a heading of that name)", rows=6),
        select("label", "Label", {"": "none", LABEL: LABEL}),
        button="Create the ticket",
    )
    return join(
        el("h2", "Tickets"),
        el("div", el("table", head, el("tbody", rows), class_="rows"), class_="wide"),
        el("details", el("summary", "Write a ticket"), new),
    )


def ticket_page(world: World, issue: Issue) -> Html:
    """One ticket with all that people do to it."""
    facts = el(
        "dl",
        *_fact("Status", _status(world, issue)),
        *_fact("Labels", join(*[join(badge(label), " ") for label in issue.labels]) if issue.labels else "none"),
        *_fact("Assigned to", _who(world, issue.assignee)),
        *_fact("Reported by", _who(world, issue.reporter)),
        *_fact("Resolution", issue.resolution or "none"),
    )
    comments = [_comment(world, comment) for comment in list(issue.comments)]
    main = el(
        "div",
        el("div", el("h3", "Description"), el("div", markdown(world.read(issue.description))), class_="card"),
        el("h2", f"Comments ({len(comments)})"),
        comments,
        _comment_form(issue),
        _history(world, issue),
    )
    side = el(
        "aside",
        el("div", el("h3", "Facts"), el("div", facts), class_="card"),
        el("div", el("h3", "Links"), el("div", _links(world, issue)), class_="card"),
        el("div", el("h3", "Label"), _label_form(issue), class_="card"),
        el("div", el("h3", "Status"), _move_form(world, issue), class_="card"),
    )
    title = el("h1", el("span", issue.key, class_="number"), " ", issue.summary)
    return join(title, el("div", main, side, class_="columns"))


def _status(world: World, issue: Issue) -> Html:
    return badge(issue.status, _KINDS[world.jira.workflow.status(issue.status).category])


def _who(world: World, name: str | None) -> str:
    return world.jira.users[name].display_name if name else "nobody"


def _fact(name: str, value: str) -> tuple[Html, Html]:
    return el("dt", name), el("dd", value)


def _comment(world: World, comment: Comment) -> Html:
    edited = " (edited)" if comment.updated != comment.created else ""
    head = el("h3", _who(world, comment.author), el("span", f" {clock(comment.created)}{edited}", class_="soft"))
    return el("div", head, el("div", markdown(world.read(comment.body))), class_="card")


def _links(world: World, issue: Issue) -> Html:
    found = [el("li", link(one.object.get("url", ""), one.object.get("title", ""))) for one in issue.remote_links]
    for tie in list(world.jira.links):
        if issue.key in (tie.source, tie.target):
            other, word = (tie.target, "to") if tie.source == issue.key else (tie.source, "from")
            found.append(el("li", f"{tie.type} {word} ", link(f"/browse/{other}", other)))
    return el("ul", found, class_="plain") if found else el("span", "none", class_="soft")


def _comment_form(issue: Issue) -> Html:
    return form(
        f"/browse/{issue.key}/comment",
        select("by", "Who", PEOPLE),
        field("text", "Comment (Markdown). A first line such as /sdlc status is a command.", rows=3, needed=True),
        button="Comment",
    )


def _label_form(issue: Issue) -> Html:
    there = LABEL in issue.labels
    return form(
        f"/browse/{issue.key}/label",
        select("by", "Who", PEOPLE),
        button=f"Take {LABEL} away" if there else f"Put {LABEL} on it",
        kind="quiet" if there else "",
    )


def _move_form(world: World, issue: Issue) -> Html:
    others = {status.name: status.name for status in world.jira.workflow.statuses if status.name != issue.status}
    return form(
        f"/browse/{issue.key}/move",
        select("by", "Who", PEOPLE),
        select("status", "Bring it to", others),
        button="Move",
        kind="quiet",
    )


def _history(world: World, issue: Issue) -> Html:
    rows = [
        el("li", f"{clock(change.created)} {_who(world, change.author)}: {_changed(item)}")
        for change in list(issue.history)
        for item in change.items
    ]
    return el("details", el("summary", f"History ({len(rows)})"), el("ul", rows))


def _changed(item: dict[str, str | None]) -> str:
    if item["field"] == "description":
        return "description was edited"
    return f"{item['field']}: {item['fromString'] or 'none'} → {item['toString'] or 'none'}"
