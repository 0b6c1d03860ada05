"""Jira as a tracker, Cloud and Data Center alike: the real client against a server that keeps state."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from jira import JIRAError
from pydantic import SecretStr

from sdlc.domain import RunIdentity, TicketStatus
from sdlc.errors import (
    ConfigurationError,
    FinalError,
    PermissionDenied,
    SdlcError,
    ServiceUnavailable,
    TicketNotFound,
    TicketTaken,
)
from sdlc.integrations import criteria
from sdlc.integrations.jira import (
    JiraSettings,
    JiraTracker,
    adf,
    failures,
    jql,
    marks,
    ticket_of,
    transitions,
)
from sdlc.integrations.jira.marks import Mark
from sdlc.integrations.jira.transitions import Wanted
from tests.fakes.faults import Fault, on
from tests.fakes.jira_server import JiraServer
from tests.fakes.jira_state import CRITERIA, Comment, Status, Transition, strict_workflow

KEY = "ACME-1"
RUN = RunIdentity(workflow_id="sdlc-ACME-1", run_id="run-1", ticket_key=KEY, link="http://localhost:8233/run")
LATER = RUN.model_copy(update={"run_id": "run-2"})
OTHER = RunIdentity(workflow_id="sdlc-other", run_id="run-9", ticket_key=KEY)


@pytest.fixture(params=["cloud", "datacenter"])
def jira(request: pytest.FixtureRequest) -> Iterator[JiraServer]:
    with JiraServer(request.param) as server:
        server.add_issue(KEY, "Rounds half a cent down", labels=["ai-ready"])
        yield server


@pytest.fixture
def tracker(jira: JiraServer) -> JiraTracker:
    return tracker_of(jira)


def settings_of(jira: JiraServer, **more: Any) -> JiraSettings:
    if jira.flavour == "cloud":
        email, token = jira.login()
        more = {"email": email, "token": SecretStr(token), **more}
    return JiraSettings(**{"url": jira.url, "token": SecretStr(jira.users["bot"].bearer), **more})


def tracker_of(jira: JiraServer, **more: Any) -> JiraTracker:
    return JiraTracker(settings_of(jira, **more))


def rich(jira: JiraServer, markdown: str) -> Any:
    """A text as a person's editor would save it on this server."""
    from sdlc.integrations.jira import wiki

    return adf.from_markdown(markdown) if jira.flavour == "cloud" else wiki.from_markdown(markdown)


def shown(jira: JiraServer, comment: Comment) -> str:
    return ticket_of.rich_text(comment.body, is_cloud=jira.flavour == "cloud")


def said(jira: JiraServer, key: str = KEY) -> list[str]:
    return [shown(jira, comment) for comment in jira.comments(key)]


async def again(work: Callable[[], Awaitable[Any]]) -> Any:
    """Once more after what is worth a retry, as Temporal does."""
    for _ in range(5):
        try:
            return await work()
        except ServiceUnavailable:
            continue
    raise AssertionError("it never came to an end")


# --- reading ---------------------------------------------------------------------------------


async def test_a_ticket_is_read_with_criteria_comments_links_and_attachments(
    jira: JiraServer, tracker: JiraTracker
) -> None:
    issue = jira.issues[KEY]
    issue.description = rich(
        jira, "`round_half_up(0.125)` gives 0.12.\n\n## Acceptance criteria\n\n- 0.125 becomes 0.13\n- **mirrored**"
    )
    jira.add_issue("ACME-2", "The ledger", status="Done")
    jira.add_link("ACME-2", KEY)
    jira.add_attachment(KEY, "shot [1].png")
    jira.comment_as("alice", KEY, rich(jira, "Mind the *ledger*."))

    ticket = await tracker.ticket(KEY)

    assert ticket.title == "Rounds half a cent down"
    assert ticket.acceptance_criteria == ("0.125 becomes 0.13", "**mirrored**")
    assert "`round_half_up(0.125)` gives 0.12." in ticket.description
    assert "Acceptance" not in ticket.description
    assert "- is blocked by ACME-2: The ledger (Done)" in ticket.description
    assert "- shot \\[1\\].png (1 bytes)" in ticket.description
    assert [(comment.author, comment.body) for comment in ticket.comments] == [("Alice Archer", "Mind the *ledger*.")]
    assert ticket.comments[0].created
    assert ticket.labels == ("ai-ready", "Task")
    assert (ticket.status, ticket.assignee) == ("To Do", "")
    assert ticket.url == f"{jira.url}/browse/{KEY}"


async def test_a_ticket_without_a_description_is_read(jira: JiraServer, tracker: JiraTracker) -> None:
    ticket = await tracker.ticket(KEY)

    assert (ticket.description, ticket.acceptance_criteria, ticket.truncated) == ("", (), False)


async def test_a_description_of_a_megabyte_is_capped_and_said_to_be(jira: JiraServer, tracker: JiraTracker) -> None:
    words = "word " * 200_000
    jira.issues[KEY].description = adf.plain_document(words) if jira.flavour == "cloud" else words
    jira.add_attachment(KEY, "log.txt")

    ticket = await tracker.ticket(KEY)

    assert ticket.truncated
    assert 31_000 < len(ticket.description) < 33_000
    assert "log.txt" in ticket.description


async def test_a_subtask_is_read_with_its_parent(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.issues[KEY].description = rich(jira, "# All of it\n\nIn cents.")
    jira.add_issue("ACME-2", "A part", issuetype="Sub-task", parent=KEY)

    part, whole = await tracker.ticket("ACME-2"), await tracker.ticket(KEY)

    assert "## Part of ACME-1 Rounds half a cent down\n\n### All of it\n\nIn cents." in part.description
    assert "has the subtask ACME-2: A part" in whole.description


@pytest.mark.parametrize("field", [CRITERIA, "Acceptance Criteria"])
async def test_criteria_are_read_from_a_field_of_their_own(jira: JiraServer, field: str) -> None:
    jira.issues[KEY].custom[CRITERIA] = rich(jira, "1. one\n2. two")

    assert (await tracker_of(jira, criteria_field=field).ticket(KEY)).acceptance_criteria == ("one", "two")


async def test_a_criteria_field_that_is_not_there_is_named(jira: JiraServer) -> None:
    with pytest.raises(ConfigurationError, match=r"jira\.criteria_field"):
        await tracker_of(jira, criteria_field="Nonsense").ticket(KEY)


async def test_the_revision_changes_with_the_text_and_with_nothing_else(jira: JiraServer, tracker: JiraTracker) -> None:
    first = (await tracker.ticket(KEY)).revision
    await tracker.claim(KEY, claimant="x", run=RUN)
    jira.comment_as("alice", KEY, rich(jira, "hello"))
    jira.edit_as("alice", KEY, labels=["other"])
    same = (await tracker.ticket(KEY)).revision
    jira.edit_as("alice", KEY, description=rich(jira, "More."))

    assert first == same != (await tracker.ticket(KEY)).revision


@pytest.mark.parametrize("key", ["ACME-99", "../x", "", "ACME", "ACME-1/comment", "ACME-1?x=y"])
async def test_an_unknown_key_is_not_found(tracker: JiraTracker, key: str) -> None:
    with pytest.raises(TicketNotFound):
        await tracker.ticket(key)


async def test_a_ticket_that_moved_to_another_project_is_found_by_its_old_key(
    jira: JiraServer, tracker: JiraTracker
) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    new = jira.rekey_as("alice", KEY, "OTHER")

    assert (await tracker.ticket(KEY)).key == new
    await tracker.move(KEY, TicketStatus.IN_REVIEW, run=RUN)
    assert jira.issues[new].status == "In Review"


# --- the next one ----------------------------------------------------------------------------


async def test_the_next_ticket_is_free_ready_and_the_first_by_sprint_and_rank(
    jira: JiraServer, tracker: JiraTracker
) -> None:
    ready: dict[str, Any] = {"labels": ["ai-ready"]}
    jira.add_issue("ACME-2", "other label", sprints=[1])
    jira.add_issue("ACME-3", "a person's", sprints=[1], assignee="alice", **ready)
    jira.add_issue("ACME-4", "done", sprints=[1], status="Done", resolution="Done", **ready)
    jira.add_issue("ACME-5", "blocked", sprints=[1], **ready)
    jira.add_issue("ACME-6", "in the sprint", sprints=[1], **ready)
    jira.add_link("ACME-2", "ACME-5")

    assert await tracker.next_key() == "ACME-6"
    await tracker.claim("ACME-6", claimant="x", run=OTHER)
    assert await tracker.next_key() == KEY
    jira.move_as("alice", "ACME-2", "Done")
    assert await tracker.next_key() == "ACME-5"
    await tracker.claim("ACME-5", claimant="x", run=OTHER)
    await tracker.claim(KEY, claimant="x", run=RUN)
    assert await tracker.next_key() is None


async def test_a_claim_that_is_not_through_yet_is_respected(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.fail(Fault("status", 500, where=on("PUT", "/assignee")))
    with pytest.raises(ServiceUnavailable):
        await tracker.claim(KEY, claimant="x", run=RUN)

    assert await tracker.next_key() is None


async def test_a_selection_of_ones_own_reads_all_pages(jira: JiraServer) -> None:
    for number in range(2, 120):
        jira.add_issue(f"ACME-{number}", "a person's", assignee="alice", labels=["mine"])
    jira.add_issue("ACME-500", "free", labels=["mine"])

    assert await tracker_of(jira, jql="labels = mine ORDER BY Rank").next_key() == "ACME-500"


@pytest.mark.parametrize("query", ["labels = ", 'project = "NOPE"', "nonsense ~ 1"])
async def test_a_bad_selection_is_refused_before_anything_is_written(jira: JiraServer, query: str) -> None:
    with pytest.raises(ConfigurationError, match=r"jira\.jql"):
        await tracker_of(jira, jql=query).next_key()
    assert not jira.changes()


async def test_a_server_without_boards_is_asked_without_sprints_and_ranks(jira: JiraServer) -> None:
    from tests.fakes.jira_state import RANK, SPRINT

    for field in (RANK, SPRINT):
        del jira.state.fields[field]

    assert await tracker_of(jira, projects=("ACME",)).next_key() == KEY


@pytest.mark.parametrize("label", ['a"b', "a\\", 'x" OR project != "y'])
async def test_what_is_configured_is_a_value_and_no_query(jira: JiraServer, label: str) -> None:
    assert await tracker_of(jira, label=label).next_key() is None


# --- claims ----------------------------------------------------------------------------------


async def test_a_claim_assigns_moves_and_comments(jira: JiraServer, tracker: JiraTracker) -> None:
    ticket = await tracker.claim(KEY, claimant="x", run=RUN)

    assert (ticket.status, ticket.assignee) == ("In Progress", "SDLC Bot")
    assert (jira.issues[KEY].assignee, jira.issues[KEY].status) == ("bot", "In Progress")
    assert said(jira) == [f"Taken up by the run [sdlc-ACME-1]({RUN.link})."]


async def test_a_claim_repeated_by_the_same_run_changes_nothing_more(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    jira.move_as("alice", KEY, "In Review")
    before = len(jira.changes())
    await tracker_of(jira).claim(KEY, claimant="x", run=RUN)

    assert len(jira.changes()) == before


async def test_a_later_run_of_the_same_workflow_takes_the_claim_over(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    await tracker.claim(KEY, claimant="x", run=LATER)
    await tracker.release(KEY, run=RUN, reason="not ours any more")

    assert len(said(jira)) == 1
    assert jira.issues[KEY].assignee == "bot"


async def test_a_ticket_of_another_run_or_person_is_not_taken(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.add_issue("ACME-2", "a person's", assignee="alice")
    jira.add_issue("ACME-3", "done", status="Done")
    await tracker.claim(KEY, claimant="x", run=OTHER)
    before = len(jira.changes())

    for key, who in ((KEY, "sdlc-other"), ("ACME-2", "Alice Archer"), ("ACME-3", "Done")):
        with pytest.raises(TicketTaken, match=who):
            await tracker.claim(key, claimant="x", run=RUN)
    with pytest.raises(TicketTaken, match="sdlc-other"):
        await tracker.move(KEY, TicketStatus.DONE, run=RUN)
    assert len(jira.changes()) == before


async def test_of_many_that_claim_at_once_one_has_it(jira: JiraServer) -> None:
    runs = [RUN.model_copy(update={"workflow_id": f"sdlc-{number}"}) for number in range(6)]
    results = await asyncio.gather(
        *(tracker_of(jira).claim(KEY, claimant="x", run=run) for run in runs), return_exceptions=True
    )

    winners = [run for run, result in zip(runs, results, strict=True) if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(result, TicketTaken) for result in results if isinstance(result, BaseException))
    assert len(said(jira)) == 1
    assert winners[0].workflow_id in said(jira)[0]
    assert (jira.issues[KEY].assignee, jira.issues[KEY].status) == ("bot", "In Progress")


async def test_a_person_who_takes_it_meanwhile_keeps_it(jira: JiraServer, tracker: JiraTracker) -> None:
    original = tracker._take

    def taken_meanwhile(key: str, issue: Any, *, is_new: bool) -> None:
        original(key, issue, is_new=is_new)
        jira.edit_as("alice", KEY, assignee="alice")

    tracker._take = taken_meanwhile  # type: ignore[method-assign]
    with pytest.raises(TicketTaken, match="Alice Archer"):
        await tracker.claim(KEY, claimant="x", run=RUN)
    assert (jira.issues[KEY].assignee, said(jira)) == ("alice", [])


async def test_a_claim_that_the_workflow_refuses_leaves_nothing_that_blocks(jira: JiraServer) -> None:
    jira.state.workflow = strict_workflow()
    with pytest.raises(PermissionDenied, match='"Start work" to "In Progress"'):
        await tracker_of(jira, transitions={"in_progress": "Begin"}).claim(KEY, claimant="x", run=RUN)

    assert said(jira) == []
    assert await tracker_of(jira).next_key() == KEY
    await tracker_of(jira).claim(KEY, claimant="x", run=OTHER)


async def test_a_mark_that_somebody_else_wrote_is_no_claim(jira: JiraServer, tracker: JiraTracker) -> None:
    mark = Mark.of(OTHER, "claim", live=True)
    comment = jira.comment_as("alice", KEY, rich(jira, "Mine"))
    if jira.flavour == "cloud":
        comment.properties[marks.PROPERTY] = mark.value
    else:
        comment.body = f"Mine {mark.anchor}"

    await tracker.claim(KEY, claimant="x", run=RUN)
    assert said(jira)[0] == "Mine"


async def test_a_release_gives_back_what_is_ours_once_and_nothing_else(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    await tracker.release(KEY, run=OTHER, reason="not mine")
    assert jira.issues[KEY].assignee == "bot"

    await tracker.release(KEY, run=RUN, reason="cancelled by @alice")
    after = len(jira.changes())
    await tracker.release(KEY, run=RUN, reason="cancelled")

    assert (jira.issues[KEY].status, jira.issues[KEY].assignee) == ("To Do", None)
    assert said(jira)[1:] == ["Given back: cancelled by `@alice`"]
    assert len(jira.changes()) == after
    await tracker.claim(KEY, claimant="x", run=OTHER)
    assert len(said(jira)) == 3


async def test_a_release_leaves_what_a_person_set(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.workflow.statuses.append(Status("10009", "Blocked", "indeterminate"))
    await tracker.claim(KEY, claimant="x", run=RUN)
    jira.move_as("alice", KEY, "Blocked")
    jira.edit_as("alice", KEY, assignee="alice")
    await tracker.release(KEY, run=RUN, reason="cancelled")

    assert (jira.issues[KEY].status, jira.issues[KEY].assignee) == ("Blocked", "alice")


async def test_a_release_is_not_held_up_by_the_workflow(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    jira.workflow.transitions = [way for way in jira.workflow.transitions if way.to != "To Do"]
    await tracker.release(KEY, run=RUN, reason="cancelled")

    assert jira.issues[KEY].assignee is None
    assert "can't be brought" in said(jira)[1]


# --- transitions -----------------------------------------------------------------------------


async def test_a_ticket_goes_all_the_way_and_done_ends_the_claim(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    for status in (TicketStatus.IN_REVIEW, TicketStatus.IN_PROGRESS, TicketStatus.IN_REVIEW):
        await tracker.move(KEY, status, run=RUN)
        assert jira.issues[KEY].status == status
    await tracker.close(KEY, "All **done**.", run=RUN)
    after = len(jira.changes())
    await tracker.close(KEY, "All **done**.", run=RUN)

    assert len(jira.changes()) == after
    assert (jira.issues[KEY].status, jira.issues[KEY].resolution) == ("Done", "Done")
    assert said(jira)[-1] == "All **done**."
    jira.move_as("alice", KEY, "To Do")
    jira.edit_as("alice", KEY, assignee=None)
    await tracker.claim(KEY, claimant="x", run=OTHER)


async def test_a_transition_with_required_fields_is_filled_from_the_configuration(jira: JiraServer) -> None:
    jira.state.workflow = strict_workflow()
    finish = next(way for way in jira.workflow.transitions if way.name == "Finish")
    finish.required, finish.resolution = ("resolution", CRITERIA), None
    await tracker_of(jira).claim(KEY, claimant="x", run=RUN)

    with pytest.raises(PermissionDenied, match=r"Acceptance Criteria.*transition_fields\.done"):
        await tracker_of(jira).move(KEY, TicketStatus.DONE, run=RUN)
    value = adf.plain_document("met") if jira.flavour == "cloud" else "met"
    filled = tracker_of(jira, transition_fields={"done": {"Acceptance Criteria": value}})
    await filled.move(KEY, TicketStatus.DONE, run=RUN)

    assert (jira.issues[KEY].status, jira.issues[KEY].resolution) == ("Done", "Done")


async def test_a_workflow_with_names_of_its_own_goes_by_category(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.workflow.statuses[:] = [
        Status("1", "Offen", "new"),
        Status("2", "In Arbeit", "indeterminate"),
        Status("3", "Fertig", "done"),
        Status("4", "Won't Do", "done"),
    ]
    jira.workflow.transitions[:] = [
        Transition("1", "Los", "In Arbeit", ("Offen",)),
        Transition("2", "Lassen", "Won't Do"),
        Transition("3", "Ende", "Fertig", ("In Arbeit",)),
    ]
    jira.issues[KEY].status = "Offen"

    await tracker.claim(KEY, claimant="x", run=RUN)
    await tracker.move(KEY, TicketStatus.IN_REVIEW, run=RUN)
    assert jira.issues[KEY].status == "In Arbeit"
    await tracker.move(KEY, TicketStatus.DONE, run=RUN)
    assert jira.issues[KEY].status == "Fertig"
    assert (await tracker.ticket(KEY)).status == "Done"


def status(name: str, category: str) -> dict[str, Any]:
    return {"name": name, "statusCategory": {"key": category}}


def way(number: str, name: str, to: str, category: str, **fields: Any) -> dict[str, Any]:
    return {"id": number, "name": name, "to": status(to, category), "fields": fields}


def test_among_several_of_a_category_none_is_guessed() -> None:
    ways = [way("1", "A", "Shipped", "done"), way("2", "B", "Archived", "done"), way("3", "C", "Rejected", "done")]

    with pytest.raises(PermissionDenied) as raised:
        transitions.choose("X-1", status("Doing", "indeterminate"), ways, Wanted(TicketStatus.DONE))
    assert '"A" to "Shipped"; "B" to "Archived"; "C" to "Rejected"' in str(raised.value)
    assert "jira.statuses.done" in str(raised.value)
    chosen = transitions.choose(
        "X-1", status("Doing", "indeterminate"), ways, Wanted(TicketStatus.DONE, status_name="shipped")
    )
    assert chosen
    assert chosen.id == "1"


def test_a_rejected_ticket_is_never_taken_for_done_by_choice() -> None:
    with pytest.raises(PermissionDenied):
        transitions.choose(
            "X-1", status("Doing", "indeterminate"), [way("3", "C", "Won't do", "done")], Wanted(TicketStatus.DONE)
        )


def test_values_are_sent_as_the_field_takes_them() -> None:
    option = {"required": True, "name": "Team", "schema": {"type": "option"}, "allowedValues": [{"value": "Core"}]}
    versions = {
        "required": True,
        "name": "Fix versions",
        "schema": {"type": "array", "items": "version"},
        "allowedValues": [{"name": "1.0"}],
    }
    taken = way("1", "Finish", "Done", "done", customfield_1=option, fixVersions=versions)
    wanted = Wanted(TicketStatus.DONE, fields={"team": "core", "fixVersions": "1.0"})
    chosen = transitions.choose("X-1", status("Doing", "indeterminate"), [taken], wanted)

    assert chosen
    assert chosen.fields == {"customfield_1": {"value": "Core"}, "fixVersions": [{"name": "1.0"}]}


# --- comments and links ----------------------------------------------------------------------


async def test_a_comment_on_a_topic_is_edited_in_place_among_those_of_people(
    jira: JiraServer, tracker: JiraTracker
) -> None:
    await tracker.comment(KEY, "first", run=RUN, topic="status")
    jira.comment_as("alice", KEY, rich(jira, "Mind the ledger."))
    await tracker.comment(KEY, "second", run=RUN, topic="status")
    await tracker.comment(KEY, "theirs", run=OTHER, topic="status")
    before = len(jira.changes())
    await tracker.comment(KEY, "second", run=RUN, topic="status")

    assert said(jira) == ["second", "Mind the ledger.", "theirs"]
    assert len(jira.changes()) == before
    assert RUN.marker not in json.dumps(said(jira))


async def test_ours_is_found_among_many(jira: JiraServer, tracker: JiraTracker) -> None:
    for number in range(230):
        jira.comment_as("alice", KEY, rich(jira, f"word {number}"))
    await tracker.comment(KEY, "first", run=RUN, topic="status")
    jira.comment_as("alice", KEY, rich(jira, "the last"))
    await tracker.comment(KEY, "second", run=RUN, topic="status")

    assert said(jira)[229:] == ["word 229", "second", "the last"]
    assert len((await tracker.ticket(KEY)).comments) == 232


@pytest.mark.parametrize(
    "body", ["", "x" * 65_537, "*[{" * 20_000, "🎉" * 40_000, "\ud800 half", "[~alice] @bob {code} !x.png!", "\0"]
)
async def test_any_comment_is_taken(jira: JiraServer, tracker: JiraTracker, body: str) -> None:
    await tracker.comment(KEY, body, run=RUN, topic="status")
    await tracker.comment(KEY, body, run=RUN, topic="status")

    assert len(jira.comments(KEY)) == 1
    sent = json.dumps(jira.comments(KEY)[0].body)
    assert '"mention"' not in sent
    assert "[~alice]" not in sent.replace("\\\\", "\\") or jira.flavour == "cloud"


async def test_the_pull_request_is_linked_once_and_kept_up_to_date(jira: JiraServer, tracker: JiraTracker) -> None:
    for title in ("Draft", "Draft", "Ready"):
        await tracker.link(KEY, "https://github.example/acme/parcel/pull/7", title, run=RUN)
    await tracker.link(KEY, "https://github.example/acme/parcel/pull/8", "Other", run=OTHER)

    links = jira.issues[KEY].remote_links
    assert [link.object["title"] for link in links] == ["Ready", "Other"]
    assert len(jira.changes("/remotelink")) == 3


# --- what goes wrong -------------------------------------------------------------------------

EFFECTS: dict[str, Callable[[JiraTracker], Awaitable[Any]]] = {
    "claim": lambda tracker: tracker.claim(KEY, claimant="x", run=RUN),
    "comment": lambda tracker: tracker.comment(KEY, "said", run=RUN, topic="status"),
    "link": lambda tracker: tracker.link(KEY, "https://x.example/7", "PR", run=RUN),
    "review": lambda tracker: tracker.move(KEY, TicketStatus.IN_REVIEW, run=RUN),
    "close": lambda tracker: tracker.close(KEY, "done", run=RUN),
}
WAYS = [
    ("POST", "/comment"),
    ("PUT", "/comment"),
    ("PUT", "/assignee"),
    ("POST", "/transitions"),
    ("POST", "/remotelink"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["500", "502", "409", "429", "reset"])
@pytest.mark.parametrize(("method", "part"), WAYS, ids=[f"{method}{part}" for method, part in WAYS])
async def test_each_effect_happens_once_whatever_breaks_off(
    jira: JiraServer, kind: str, method: str, part: str, after: bool
) -> None:
    where = on(method, part)
    jira.fail(
        Fault("reset", where=where, after=after)
        if kind == "reset"
        else Fault("status", int(kind), where=where, after=after)
    )
    for effect in EFFECTS.values():
        await again(lambda effect=effect: effect(tracker_of(jira)))  # type: ignore[misc]

    assert jira.faults.waiting == 0
    assert said(jira) == [f"Taken up by the run [sdlc-ACME-1]({RUN.link}).", "said", "done"]
    assert len(jira.issues[KEY].remote_links) == 1
    assert (jira.issues[KEY].status, jira.issues[KEY].assignee) == ("Done", "bot")
    changed = [
        item["toString"] for change in jira.issues[KEY].history for item in change.items if item["field"] == "status"
    ]
    assert changed == ["In Progress", "In Review", "Done"]


async def test_a_stale_look_makes_no_second_comment(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.comment(KEY, "first", run=RUN, topic="status")
    jira.fail(Fault("stale", where=on("GET", "/comment")))
    await tracker.comment(KEY, "second", run=RUN, topic="status")

    assert said(jira) == ["second"]


async def test_a_comment_whose_answer_was_lost_is_not_doubled_by_a_stale_look(
    jira: JiraServer, tracker: JiraTracker
) -> None:
    jira.fail(Fault("reset", where=on("POST", "/comment"), after=True))
    with pytest.raises(ServiceUnavailable):
        await tracker.comment(KEY, "said", run=RUN, topic="status")
    jira.fail(Fault("stale", where=on("GET", "/comment")))
    await tracker.comment(KEY, "said", run=RUN, topic="status")

    assert jira.faults.waiting == 0
    assert said(jira) == ["said"]


async def test_an_answer_nested_beyond_reading_is_final(jira: JiraServer, tracker: JiraTracker) -> None:
    problem = failures.translated(RecursionError(), failures.Asked(jira.url, "read it", is_known=True))

    assert type(problem) is FinalError


async def test_a_server_that_hangs_ends_in_a_time_out(jira: JiraServer) -> None:
    tracker = tracker_of(jira, read_seconds=0.3)
    jira.fail(Fault("hang", where=on("POST", "/comment"), after=True))
    with pytest.raises(ServiceUnavailable, match="in time"):
        await tracker.comment(KEY, "said", run=RUN, topic="status")
    await tracker.comment(KEY, "said", run=RUN, topic="status")

    assert said(jira) == ["said"]


async def test_a_limit_says_when_to_come_back(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.ticket(KEY)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    for given, low, high in (("7", 7, 7), (date, 90, 100), ("nonsense", None, None)):
        jira.fail(Fault("status", 429, headers={"Retry-After": given}))
        with pytest.raises(ServiceUnavailable) as raised:
            await tracker.ticket(KEY)
        delay = raised.value.retry_after
        assert delay is None if low is None else delay is not None and low <= delay <= (high or 0)


DENIED = [
    ("ADD_COMMENTS", "comment", "Add Comments"),
    ("ASSIGN_ISSUES", "claim", "Assign Issues"),
    ("ASSIGNABLE_USER", "claim", "Assignable User"),
    ("TRANSITION_ISSUES", "claim", "Transition Issues"),
]


@pytest.mark.parametrize(("permission", "effect", "named"), DENIED)
async def test_a_missing_permission_is_named(
    jira: JiraServer, tracker: JiraTracker, permission: str, effect: str, named: str
) -> None:
    jira.revoke("bot", permission)
    with pytest.raises(PermissionDenied, match=named):
        await EFFECTS[effect](tracker)

    assert said(jira) == []
    assert any(named in missing for missing in await tracker.check())


@pytest.mark.parametrize("after", [False, True])
async def test_403_and_404_are_final(jira: JiraServer, tracker: JiraTracker, after: bool) -> None:
    jira.fail(Fault("status", 403, where=on("GET", f"/issue/{KEY}"), after=after))
    with pytest.raises(PermissionDenied, match="Browse Projects"):
        await tracker.ticket(KEY)
    jira.delete_as("root", KEY)
    with pytest.raises(TicketNotFound):
        await tracker.comment(KEY, "x", run=RUN, topic="t")


async def test_a_wrong_token_is_told_from_a_wrong_address(jira: JiraServer) -> None:
    token = SecretStr("secret-of-nobody")
    with pytest.raises(ConfigurationError, match=r"jira\.token") as raised:
        await tracker_of(jira, token=token).ticket(KEY)
    assert "secret-of-nobody" not in "".join(traceback.format_exception(raised.value))
    for url in (f"{jira.url}/wiki", "ftp://x.example", "http://", "nonsense", "http://x y"):
        with pytest.raises(ConfigurationError, match=r"jira\.url"):
            await tracker_of(jira, url=url).ticket(KEY)
    with pytest.raises(ConfigurationError, match=r"jira\.url"):
        await JiraTracker(JiraSettings()).ticket(KEY)


async def test_a_server_that_is_away_is_worth_a_retry(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.stop()
    with pytest.raises(ServiceUnavailable):
        await tracker.ticket(KEY)
    jira.start()
    assert (await tracker.ticket(KEY)).key == KEY


async def test_no_failure_carries_what_the_server_sent_into_the_history(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.ticket(KEY)
    jira.fail(Fault("status", 403, headers={"Set-Cookie": "session=planted"}))
    with pytest.raises(PermissionDenied) as raised:
        await tracker.ticket(KEY)

    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert "planted" not in "".join(traceback.format_exception(raised.value))


async def test_a_token_that_expires_meanwhile_is_no_missing_ticket() -> None:
    with JiraServer("cloud") as jira:
        jira.add_issue(KEY, "x")
        tracker = tracker_of(jira)
        await tracker.ticket(KEY)
        jira.door.lenient = True
        jira.users["bot"].secret = "another"
        with pytest.raises(ConfigurationError, match=r"jira\.token"):
            await tracker.ticket(KEY)


async def test_oauth_works_and_a_missing_scope_is_named() -> None:
    with JiraServer("cloud") as jira:
        jira.add_issue(KEY, "x")
        tracker = tracker_of(jira, url=jira.oauth_url, email="", token=SecretStr(jira.users["bot"].bearer))
        await tracker.claim(KEY, claimant="x", run=RUN)
        jira.users["bot"].scopes = ("read:jira-work", "read:jira-user")
        with pytest.raises(PermissionDenied, match="write:jira-work"):
            await tracker.comment(KEY, "x", run=RUN, topic="t")


async def test_check_finds_nothing_wrong_and_names_a_project_that_is_not_there(
    jira: JiraServer, tracker: JiraTracker
) -> None:
    assert await tracker.check() == ()
    with pytest.raises(ConfigurationError, match=r"NOPE"):
        await tracker_of(jira, projects=("NOPE",)).check()
    assert not jira.changes()


# --- pure parts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\n\n## Acceptance Criteria:\n\n- one\n  - sub\n- two\n\n## Notes\n\nb", ["one sub", "two"]),
        ("a\n\n**Acceptance criteria**\n\n1. one\n2. two\n\n**Notes**\n\n- no", ["one", "two"]),
        ("Acceptance criteria:\n\n- one", ["one"]),
        ("**AC:**\n\n- one", ["one"]),
        ("# Acceptance criteria\n\nOne thing.\n\nAnother.", ["One thing.", "Another."]),
        ("text\n\n- [ ] one\n- [x] two\n- three", ["one", "two"]),
        ("```\n## Acceptance criteria\n- no\n- [ ] no\n```", []),
        ("- just a list", []),
        ("## Acceptance criteria\n\n## Next\n\n- no", []),
    ],
)
def test_criteria_are_found(text: str, found: list[str]) -> None:
    assert criteria.split(text)[1] == found


def test_a_section_that_holds_more_than_a_list_stays_in_the_description() -> None:
    description, found = criteria.split("a\n\n## Acceptance criteria\n\nMind the ledger.\n\n- one")

    assert found == ["one"]
    assert "Mind the ledger." in description


@pytest.mark.parametrize("junk", [None, [], {}, "x", 5, {"fields": {"description": 5, "issuetype": [], "status": "x"}}])
def test_an_answer_that_is_no_issue_breaks_nothing(junk: Any) -> None:
    issue = junk if isinstance(junk, dict) else {"fields": junk, "key": "X-1"}
    reading = ticket_of.Reading(True, "https://x.example", "customfield_1")

    assert ticket_of.ticket_of(issue, reading, comments=[{"body": junk}], parent=issue).description is not None


def test_a_check_list_of_an_app_is_read() -> None:
    fields = {"summary": "s", "customfield_1": [{"name": "one", "checked": True}, "two", {"x": 1}]}
    reading = ticket_of.Reading(True, "https://x.example", "customfield_1")

    assert ticket_of.ticket_of({"key": "X-1", "fields": fields}, reading).acceptance_criteria == ("one", "two")


def test_a_mark_survives_in_a_text_and_nothing_else_is_one() -> None:
    mark = Mark.of(RUN.model_copy(update={"workflow_id": "ü {}|" * 40}), "claim", live=True)

    assert marks.of_text(f"body\n\n{mark.anchor}") == mark
    assert marks.of_value(mark.value) == mark
    for text in (None, "", "{anchor:sdlc-}", "{anchor:sdlc-AAAA}", "{anchor:sdlc-W10}", "{anchor:other}"):
        assert marks.of_text(text) is None


@pytest.mark.parametrize(
    ("status", "text", "kind", "says"),
    [
        (400, "Field 'x' is wrong", FinalError, "Field 'x' is wrong"),
        (410, "gone", FinalError, "410"),
        (503, "<html><b>down</b></html>", ServiceUnavailable, "503"),
        (409, "", ServiceUnavailable, "409"),
    ],
)
def test_jiras_own_words_are_told_and_pages_are_not(status: int, text: str, kind: type[SdlcError], says: str) -> None:
    asked = failures.Asked("https://me:pw@x.example/jira", "do it", secret="s3cr3t-token")
    problem = failures.translated(JIRAError(f"{text} s3cr3t-token", status_code=status), asked)

    assert type(problem) is kind
    assert says in str(problem)
    for hidden in ("pw", "s3cr3t-token", "<b>"):
        assert hidden not in str(problem)


def test_a_reset_time_is_understood() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)

    assert failures.retry_after({"X-RateLimit-Reset": "2026-05-01T00:01Z"}, now=now) == 60
    assert failures.retry_after({"X-RateLimit-Reset": "soon"}, now=now) is None
    assert failures.retry_after({}, now=now) is None


def test_values_of_jql_are_quoted() -> None:
    assert jql.quoted('a"b\\c\nd') == '"a\\"b\\\\c d"'
