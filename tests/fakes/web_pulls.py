"""How the pull requests of the fake GitHub look in the web view."""

from __future__ import annotations

from collections import defaultdict

from sdlc.naming import counted
from tests.fakes.github_bare import FileChange
from tests.fakes.github_people import FakeRepository
from tests.fakes.github_state import Comment, Issue, Pull, Review, ReviewComment
from tests.fakes.web_html import Html, badge, el, field, form, join, link, markdown, select
from tests.fakes.web_tickets import clock
from tests.fakes.world import BOT, CHECK, PEOPLE, World

_STATE = {"success": "good", "failure": "bad", "error": "bad", "pending": "busy"}
_REVIEW = {"APPROVED": "good", "CHANGES_REQUESTED": "bad", "DISMISSED": ""}
_WORDS = {"APPROVED": "approved", "CHANGES_REQUESTED": "asked for changes", "DISMISSED": "was dismissed"}
GITHUB_PEOPLE = {"maria": PEOPLE["maria"], **PEOPLE}
_LONG = 400
"""Lines of one file's diff beyond which it is folded up."""


def pull_list(world: World) -> Html:
    """All pull requests of the repository."""
    repository = world.repository
    rows = []
    for number, pull in sorted(repository.pulls.items(), reverse=True):
        issue = repository.issues[number]
        address = pull_path(repository, number)
        said = world.github.hub.opinions(repository.state, pull)
        rows.append(
            el(
                "tr",
                el("td", link(address, f"#{number}")),
                el("td", link(address, issue.title), el("div", f"{pull.head} by {issue.login}", class_="soft")),
                el("td", state_of(issue, pull)),
                el("td", [join(badge(label), " ") for label in issue.labels]),
                el("td", _tally(world.github.hub.contexts(repository.state, pull.head_sha))),
                el("td", [badge(f"{login} {_WORDS[word]}", _REVIEW[word]) for login, word in said.items()] or "none"),
            )
        )
    names = ("No.", "Pull request", "State", "Labels", "Checks", "Reviews")
    head = el("thead", el("tr", [el("th", name) for name in names]))
    table = el("div", el("table", head, el("tbody", rows), class_="rows"), class_="wide")
    none = el("p", "None yet. Put the label on a ticket, and a run makes one.", class_="soft")
    return join(el("h2", f"Pull requests of {repository.state.full_name}"), table if rows else none)


def pull_path(repository: FakeRepository, number: int) -> str:
    return f"/{repository.state.full_name}/pull/{number}"


def state_of(issue: Issue, pull: Pull) -> Html:
    if pull.merged:
        return badge("Merged", "done")
    if issue.state != "open":
        return badge("Closed", "bad")
    return badge("Draft") if pull.draft else badge("Open", "good")


def _tally(contexts: dict[str, str]) -> Html:
    bad = [state for state in contexts.values() if state in ("failure", "error")]
    good = sum(state == "success" for state in contexts.values())
    kind = "bad" if bad else "good" if good and good == len(contexts) else "busy" if contexts else ""
    return badge(f"{good} of {len(contexts)} green" if contexts else "none", kind)


def pull_page(world: World, number: int) -> Html:
    """One pull request with all that people do to it. KeyError where there is none."""
    repository = world.repository
    pull, issue = repository.pull(number), repository.issues[number]
    sides = join(el("code", pull.base), " ← ", el("code", pull.head), " at ", el("code", pull.head_sha[:10]))
    files = world.github.hub.diff(repository.state, pull)
    main = el(
        "div",
        el("div", el("h3", issue.login, _at(issue.created)), el("div", markdown(issue.body)), class_="card"),
        _timeline(repository, pull, issue),
    )
    side = el(
        "aside",
        el("div", el("h3", "Checks and statuses"), el("div", _checks(repository, pull)), class_="card"),
        el("div", el("h3", "Reviews"), el("div", _reviews(world, repository, pull)), class_="card"),
        _forms(repository, pull, issue, files),
    )
    title = el("h1", issue.title, " ", el("span", f"#{number}", class_="number"))
    labels = [join(" ", badge(label)) for label in issue.labels]
    return join(
        title,
        el("p", state_of(issue, pull), labels, " ", sides),
        el("div", main, side, class_="columns"),
        el("h2", f"Files changed ({len(files)})"),
        [_file(change, pull) for change in files],
    )


def _at(moment: str | None) -> Html:
    return el("span", f" {clock(moment)}", class_="soft")


def _timeline(repository: FakeRepository, pull: Pull, issue: Issue) -> list[Html]:
    events: list[tuple[str, int, Html]] = []
    for comment in issue.comments:
        events.append((comment.created, comment.id, _comment(comment)))
    for review in pull.reviews:
        if review.submitted:
            events.append((review.submitted, review.id, _review(review, pull)))
    return [shown for _, _, shown in sorted(events, key=lambda event: event[:2])]


def _comment(comment: Comment) -> Html:
    edited = " (edited)" if comment.updated != comment.created else ""
    head = el("h3", comment.login, _at(comment.created), el("span", edited, class_="soft"))
    return el("div", head, el("div", markdown(comment.body)), class_="card")


def _review(review: Review, pull: Pull) -> Html:
    lines = sum(comment.review_id == review.id for comment in pull.comments)
    word = badge(_WORDS.get(review.state, "reviewed"), _REVIEW.get(review.state, ""))
    of = f" {review.commit_id[:10]}{'' if review.commit_id == pull.head_sha else ', an earlier head'}"
    on_lines = f", {counted(lines, 'comment')} on lines below" if lines else ""
    head = join(review.login, " ", word, el("span", of + on_lines, class_="soft"), _at(review.submitted))
    if not review.body.strip():
        return el("p", head, class_="event")
    return el("div", el("h3", head), el("div", markdown(review.body)), class_="card")


def _checks(repository: FakeRepository, pull: Pull) -> Html:
    rows = []
    for run in repository.state.check_runs.values():
        if run.head_sha == pull.head_sha:
            good = run.conclusion in ("success", "neutral", "skipped")
            kind = "busy" if run.status != "completed" else "good" if good else "bad"
            log = repository.state.logs.get(run.id, "")
            shown = el("details", el("summary", "log"), el("pre", log)) if log else None
            by = el("span", " scripted CI", class_="soft") if run.name == CHECK else None
            rows.append(el("li", badge(run.conclusion or "running", kind), " ", run.name, by, shown))
    for status in repository.statuses(pull.head_sha).values():
        name = link(status.target_url, status.context) if status.target_url else status.context
        said = el("div", status.description or "", class_="soft")
        rows.append(el("li", badge(status.state, _STATE.get(status.state, "")), " ", name, said))
    return el("ul", rows, class_="plain") if rows else el("span", "none for this head", class_="soft")


def _reviews(world: World, repository: FakeRepository, pull: Pull) -> Html:
    said = world.github.hub.opinions(repository.state, pull)
    rows = [el("li", login, " ", badge(_WORDS[word], _REVIEW[word])) for login, word in said.items()]
    rows += [el("li", login, " ", badge("asked", "busy")) for login in pull.reviewers]
    missing = "" if pull.merged else world.github.hub.missing(repository.state, pull)
    protection = el("p", f"Branch protection: {missing}", class_="soft") if missing else None
    return join(el("ul", rows, class_="plain") if rows else el("span", "none", class_="soft"), protection)


def _forms(repository: FakeRepository, pull: Pull, issue: Issue, files: list[FileChange]) -> Html:
    path = pull_path(repository, pull.number)
    who = select("by", "Who", GITHUB_PEOPLE)
    body = field("text", "Words (Markdown)", rows=3)
    verdicts = {"APPROVE": "Approve", "REQUEST_CHANGES": "Request changes", "COMMENT": "Comment only"}
    verdict = select("event", "Verdict", verdicts)
    word = field("text", "Comment (Markdown). /sdlc status and so on are commands.", rows=3, needed=True)
    commit = form(
        f"{path}/commit",
        who,
        field("file", "File", files[0].path if files else "README.md", needed=True),
        field("text", "Text to put at its end", rows=2, needed=True),
        field("message", "Message", "A change by hand"),
        button="Push a commit",
        kind="quiet",
    )
    is_open = issue.state == "open"
    ends = [_small(f"{path}/merge", who, "Merge"), _small(f"{path}/close", who, "Close without merging")]
    again = [] if pull.merged else [_small(f"{path}/reopen", who, "Reopen")]
    result = select("conclusion", "The scripted CI ends with", {"success": "success", "failure": "failure"})
    return join(
        _card("Review", form(f"{path}/review", who, verdict, body, button="Send the review")) if is_open else None,
        _card("Comment", form(f"{path}/comment", who, word, button="Comment")),
        el("div", el("details", el("summary", "Push a commit by hand"), commit), class_="card") if is_open else None,
        el("div", el("details", el("summary", "Merge, close, reopen"), *(ends if is_open else again)), class_="card"),
        el(
            "div",
            el("details", el("summary", "Check"), form(f"{path}/check", result, button="End it so", kind="quiet")),
            class_="card",
        ),
    )


def _card(title: str, content: Html) -> Html:
    return el("div", el("h3", title), content, class_="card")


def _small(action: str, who: Html, button: str) -> Html:
    return form(action, who, button=button, kind="quiet")


# --- the diff -------------------------------------------------------------------------------------


def _file(change: FileChange, pull: Pull) -> Html:
    said: dict[int, list[Html]] = defaultdict(list)
    outdated: list[Html] = []
    for comment in pull.comments:
        if comment.path == change.path:
            place = outdated if comment.position is None else said[comment.position]
            place.append(_line_comment(comment, pull))
    moved = f" (was {change.old_path})" if change.old_path != change.path else ""
    counts = join(badge(f"+{change.additions}", "good"), " ", badge(f"−{change.deletions}", "bad"))
    head = el("h3", el("code", change.path), moved, " ", counts)
    if change.patch is None:
        return el("div", head, el("div", "Binary, or too large to show.", class_="soft"), class_="card")
    rows = _rows(change.patch, said)
    table = el("div", outdated, el("table", rows), class_="diff")
    if len(rows) > _LONG:
        table = el("details", el("summary", f"{len(rows)} lines"), table)
    return el("div", head, table, class_="card")


def _rows(patch: str, said: dict[int, list[Html]]) -> list[Html]:
    rows: list[Html] = []
    old = new = 0
    for position, line in enumerate(patch.split("\n")):
        sign = line[:1]
        if sign == "@":
            old, new = (int(part.partition(",")[0][1:]) for part in line.split(" ")[1:3])
            rows.append(_row("hunk", "", "", line))
        elif sign in ("+", "-", " "):
            kind = {"+": "plus", "-": "minus", " ": "same"}[sign]
            rows.append(_row(kind, "" if sign == "+" else old, "" if sign == "-" else new, line))
            old, new = old + (sign != "+"), new + (sign != "-")
        if position in said:
            rows.append(el("tr", el("td", said[position], class_="said", colspan="3")))
    return rows


def _row(kind: str, old: str | int, new: str | int, line: str) -> Html:
    return el("tr", el("td", old, class_="n"), el("td", new, class_="n"), el("td", line), class_=kind)


def _line_comment(comment: ReviewComment, pull: Pull) -> Html:
    by_us = badge("of the run") if comment.login == BOT else None
    notes = [badge("resolved", "good")] if comment.thread in pull.resolved else []
    notes += [badge("outdated")] if comment.position is None else []
    head = el("h3", comment.login, " ", by_us, notes, _at(comment.created))
    return el("div", head, el("div", markdown(comment.body)), class_="card")
