"""GitHub Issues as a tracker: PyGithub over real HTTP to a fake that keeps state, held against GitHub's description."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sdlc.config.github import GitHubSettings
from sdlc.domain import Person, RunIdentity, TicketStatus
from sdlc.errors import (
    ConfigurationError,
    PermissionDenied,
    SdlcError,
    ServiceUnavailable,
    TicketNotFound,
    TicketTaken,
)
from sdlc.integrations.github import issue_reading as reading
from sdlc.integrations.github.issues import GitHubIssues
from tests.fakes import openapi
from tests.fakes.faults import Fault, on
from tests.fakes.github_people import FakeRepository
from tests.fakes.github_routes_issues import add_team, block, delete_issue, transfer_issue
from tests.fakes.github_server import PERMISSIONS, GitHubServer

NAME = "acme/parcel"
KEY = "parcel-1"
RUN = RunIdentity(workflow_id="sdlc-parcel-1", run_id="run-1", ticket_key=KEY, link="http://localhost:8233/run")
OTHER = RunIdentity(workflow_id="sdlc-other", run_id="run-9", ticket_key=KEY)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHubServer]:
    """A server whose whole traffic must be as GitHub describes it, in every test."""
    with GitHubServer(tmp_path / "github") as server:
        yield server
    openapi.check(server.exchanges)


@pytest.fixture
def there(server: GitHubServer) -> FakeRepository:
    people = {"bot": "write", "alice": "write", "maria": "maintain", "eve": "read", "tom": "triage"}
    there = server.add_repository(NAME, files={"a.py": "x = 1\n"}, collaborators=people)
    there.add_issue("Rounds half a cent down", "It does.", by="eve", labels=["ai-ready"])
    return there


@pytest.fixture
def issues(server: GitHubServer, there: FakeRepository) -> GitHubIssues:
    return issues_of(server)


def issues_of(server: GitHubServer, *, groups: tuple[str, ...] = (), **more: Any) -> GitHubIssues:
    usual: dict[str, Any] = {"base_url": server.url, "issues": (NAME,), "seconds_between_writes": 0.0}
    if "app_id" not in more and "token" not in more:
        usual["token"] = server.add_token("bot", scopes=("repo", "read:org"))
    return GitHubIssues(GitHubSettings(**(usual | more)), commander_groups=groups)


def said(there: FakeRepository, number: int = 1) -> list[str]:
    return [one.body.partition("\n\n<!-- ")[0] for one in there.comments(number)]


async def again(work: Callable[[], Awaitable[Any]]) -> Any:
    """Once more after what is worth a retry, as Temporal does."""
    for _ in range(5):
        try:
            return await work()
        except ServiceUnavailable:
            continue
    raise AssertionError("it never came to an end")


# --- reading -----------------------------------------------------------------------------------


async def test_an_issue_is_read_as_a_ticket(there: FakeRepository, issues: GitHubIssues) -> None:
    body = "Half a cent is lost.\r\n\r\n### Acceptance criteria\r\n\r\n- [ ] 0.125 becomes 0.13\r\n- [x] **mirrored**"
    number = there.add_issue("Rounds  down", body, by="eve", labels=["bug", "ai-ready"])
    there.comment(number, "Mind the *ledger*.", by="alice")

    ticket = await issues.ticket(f"PARCEL-{number}")

    assert (ticket.key, ticket.title, ticket.repository) == ("parcel-2", "Rounds down", NAME)
    assert ticket.acceptance_criteria == ("0.125 becomes 0.13", "**mirrored**")
    assert ticket.description == "Half a cent is lost."
    assert ticket.labels == ("bug", "ai-ready")
    assert [(one.author, one.body) for one in ticket.comments] == [("alice", "Mind the *ledger*.")]
    assert ticket.comments[0].created
    assert ticket.url.endswith("/acme/parcel/issues/2")


async def test_an_issue_without_text_or_with_too_much_of_it_is_read(
    there: FakeRepository, issues: GitHubIssues
) -> None:
    there.issues[1].body = None
    assert ((await issues.ticket(KEY)).description, (await issues.ticket(KEY)).truncated) == ("", False)
    there.edit(1, by="eve", body="word " * 12_000)
    ticket = await issues.ticket(KEY)
    assert ticket.truncated
    assert len(ticket.description) <= 32_000


async def test_a_pull_request_is_no_ticket(there: FakeRepository, issues: GitHubIssues) -> None:
    there.commit("feature", {"a.py": "x = 2\n"}, by="alice")
    number = there.open_pull("feature", by="alice")
    there.label(number, "ai-ready", by="alice")
    there.close(1, by="alice")

    with pytest.raises(TicketNotFound, match="pull request"):
        await issues.ticket(f"parcel-{number}")
    assert await issues.next_key() is None
    assert not await issues.is_wanted(f"parcel-{number}")


async def test_a_deleted_issue_is_told_from_one_that_never_was(there: FakeRepository, issues: GitHubIssues) -> None:
    await issues.claim(KEY, claimant="x", run=RUN)
    (comment,) = there.comments(1)
    delete_issue(there, 1)

    for work in (
        issues.ticket(KEY),
        issues.comment(KEY, "x", run=RUN, topic="x"),
        issues.move(KEY, TicketStatus.DONE, run=RUN),
        issues.release(KEY, run=RUN, reason="x"),
    ):
        with pytest.raises(TicketNotFound, match="was deleted"):
            await work
    with pytest.raises(TicketNotFound, match="is not there"):
        await issues.ticket("parcel-77")
    assert await issues.comment_on(KEY, str(comment.id)) is None
    assert not await issues.is_wanted(KEY)


async def test_a_transferred_issue_is_told_and_nothing_is_written_where_it_is_now(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    await issues.claim(KEY, claimant="x", run=RUN)
    elsewhere = server.add_repository("acme/other", files={}, collaborators={"bot": "write", "eve": "read"})
    elsewhere.add_issue("first", by="eve")
    transfer_issue(there, 1, elsewhere)
    before = [one.body for one in elsewhere.comments(2)]

    for work in (
        issues.ticket(KEY),
        issues.comment(KEY, "x", run=RUN, topic="x"),
        issues.move(KEY, TicketStatus.DONE, run=RUN),
        issues.release(KEY, run=RUN, reason="x"),
    ):
        with pytest.raises(TicketNotFound, match=r"transferred and is issue 2 of acme/other"):
            await work
    assert [one.body for one in elsewhere.comments(2)] == before
    assert elsewhere.issues[2].state == "open"


# --- the next one ------------------------------------------------------------------------------


async def test_the_next_issue_is_the_most_urgent_and_oldest_that_waits_for_none(
    there: FakeRepository, issues: GitHubIssues
) -> None:
    ready = ["ai-ready"]
    there.add_issue("blocked by the list", by="eve", labels=[*ready, "priority: high"])  # 2
    there.add_issue("other label", by="eve")  # 3
    there.add_issue("by its text", "Blocked by: #3 and acme/parcel#1.", by="eve", labels=[*ready, "P0"])  # 4
    there.add_issue("a person's", by="eve", labels=[*ready, "urgent"], assignees=["alice"])  # 5
    there.add_issue("urgent", by="eve", labels=[*ready, "priority/high"])  # 6
    there.add_issue("nothing of that", "Depends on #99.", by="eve", labels=[*ready, "low"])  # 7
    block(there, 2, 3)

    taken = []
    for _ in range(3):
        key = await issues.next_key()
        assert key
        taken.append(key)
        await issues.claim(key, claimant="x", run=OTHER)
    assert taken == ["parcel-6", KEY, "parcel-7"]
    assert await issues.next_key() is None
    assert not await issues.is_wanted("parcel-4")

    there.close(3, by="alice")
    assert await issues.next_key() == "parcel-2"
    assert not await issues.is_wanted("parcel-4")
    there.close(1, by="alice")
    assert await issues.next_key() == "parcel-4"
    assert await issues.is_wanted("parcel-4")


async def test_a_server_without_dependencies_is_asked_for_none(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    server.fail(Fault("status", 404, where=on("GET", "/dependencies/")))
    assert await issues.next_key() == KEY
    assert not server.faults.waiting


async def test_without_repositories_nothing_is_looked_for(server: GitHubServer, there: FakeRepository) -> None:
    with pytest.raises(ConfigurationError, match=r"github\.issues"):
        await issues_of(server, issues=()).next_key()
    assert "github.issues" in (await issues_of(server, issues=()).check())[0]


async def test_a_claim_that_is_not_through_yet_is_respected(server: GitHubServer, issues: GitHubIssues) -> None:
    server.fail(Fault("status", 502, where=on("POST", "/labels")))
    with pytest.raises(ServiceUnavailable):
        await issues.claim(KEY, claimant="x", run=RUN)
    assert await issues.next_key() is None
    assert not await issues.is_wanted(KEY)


# --- claims ------------------------------------------------------------------------------------


async def test_a_claim_assigns_labels_and_comments(there: FakeRepository, issues: GitHubIssues) -> None:
    await issues.claim(KEY, claimant="x", run=RUN)

    assert there.issues[1].assignees == ["bot"]
    assert there.issues[1].labels == ["ai-ready", "sdlc: in progress"]
    assert said(there) == [f"Taken up by the run [sdlc-parcel-1]({RUN.link})."]


async def test_an_app_claims_by_its_label_as_it_cant_be_an_assignee(
    server: GitHubServer, there: FakeRepository
) -> None:
    app = server.add_app("sdlc", "acme")
    issues = issues_of(server, app_id=str(app.id), private_key=app.private_key)

    ticket = await issues.claim(KEY, claimant="x", run=RUN)
    assert (ticket.status, ticket.assignee) == ("In Progress", "")
    assert await issues.login() == ("sdlc[bot]",)
    with pytest.raises(TicketTaken, match="sdlc-parcel-1"):
        await issues.claim(KEY, claimant="x", run=OTHER)
    await issues.move(KEY, TicketStatus.DONE, run=RUN)
    assert (there.issues[1].state, there.issues[1].labels) == ("closed", ["ai-ready"])
    assert not [request for request in server.requests if request[1].endswith("/assignees")]


async def test_of_many_that_claim_at_once_one_has_it(server: GitHubServer, there: FakeRepository) -> None:
    runs = [RUN.model_copy(update={"workflow_id": f"sdlc-{number}"}) for number in range(5)]
    results = await asyncio.gather(
        *(issues_of(server).claim(KEY, claimant="x", run=run) for run in runs), return_exceptions=True
    )

    winners = [run for run, result in zip(runs, results, strict=True) if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(result, TicketTaken) for result in results if isinstance(result, BaseException))
    assert len(said(there)) == 1
    assert winners[0].workflow_id in said(there)[0]
    assert there.issues[1].labels == ["ai-ready", "sdlc: in progress"]


async def test_a_claim_left_by_one_that_lost_and_broke_off_does_not_stay(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    await issues.claim(KEY, claimant="x", run=OTHER)
    there.comment(1, f"Taken up.\n\n<!-- {RUN.marker} claim -->", by="bot")
    with pytest.raises(TicketTaken, match="sdlc-other"):
        await issues.claim(KEY, claimant="x", run=RUN)
    assert len(said(there)) == 1


async def test_a_person_who_takes_it_meanwhile_keeps_it(there: FakeRepository, issues: GitHubIssues) -> None:
    original = issues.claims._assign

    async def taken_meanwhile(place: Any) -> None:
        await original(place)
        there.assign(1, "alice", "bot", by="alice")

    issues.claims._assign = taken_meanwhile  # type: ignore[method-assign]
    with pytest.raises(TicketTaken, match="alice"):
        await issues.claim(KEY, claimant="x", run=RUN)
    assert (there.issues[1].assignees, there.issues[1].labels, said(there)) == (["alice"], ["ai-ready"], [])


async def test_a_claim_that_is_refused_leaves_nothing_that_blocks(server: GitHubServer, there: FakeRepository) -> None:
    with pytest.raises(PermissionDenied):
        await issues_of(server, token=server.add_token("eve")).claim(KEY, claimant="x", run=RUN)
    assert said(there) == []
    assert await issues_of(server).next_key() == KEY


async def test_a_mark_that_somebody_else_wrote_is_no_claim(there: FakeRepository, issues: GitHubIssues) -> None:
    there.comment(1, f"Taken up.\n\n<!-- {OTHER.marker} claim -->", by="alice")
    there.comment(1, f"> Taken up.\n>\n> <!-- {OTHER.marker} claim -->\n\nWhat is that?", by="bot")

    assert await issues.is_wanted(KEY)
    await issues.claim(KEY, claimant="x", run=RUN)
    assert len(there.comments(1)) == 3


async def test_a_release_leaves_closed_what_a_person_closed(there: FakeRepository, issues: GitHubIssues) -> None:
    await issues.claim(KEY, claimant="x", run=RUN)
    there.close(1, by="alice")
    await issues.release(KEY, run=RUN, reason="somebody closed it")

    assert (there.issues[1].state, there.issues[1].assignees) == ("closed", [])
    assert said(there)[-1] == "Given back: somebody closed it"


async def test_done_is_closed_as_completed(there: FakeRepository, issues: GitHubIssues) -> None:
    await issues.claim(KEY, claimant="x", run=RUN)
    await issues.move(KEY, TicketStatus.IN_REVIEW, run=RUN)
    assert there.issues[1].labels == ["ai-ready", "sdlc: in review"]
    await issues.move(KEY, TicketStatus.DONE, run=RUN)

    issue = there.issues[1]
    assert (issue.state, issue.state_reason, issue.closed_by, issue.labels) == (
        "closed",
        "completed",
        "bot",
        ["ai-ready"],
    )
    there.reopen(1, by="alice")
    there.assign(1, by="alice")
    assert await issues.next_key() == KEY


# --- each effect once --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset", "status"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("method", "nth"),
    [*(("POST", nth) for nth in range(1, 6)), *(("PATCH", nth) for nth in (1, 2, 3)), ("DELETE", 1), ("DELETE", 2)],
)
async def test_each_effect_happens_once_whatever_breaks_off(
    server: GitHubServer, there: FakeRepository, kind: Any, after: bool, method: str, nth: int
) -> None:
    issues = issues_of(server)
    seen = 0

    def the_nth(got: str, path: str) -> bool:
        nonlocal seen
        seen += got == method and "/issues/" in path
        return got == method and "/issues/" in path and seen == nth

    server.fail(Fault(kind, 502, after=after, where=the_nth))
    await again(lambda: issues.claim(KEY, claimant="x", run=RUN))
    for body in ("one", "two"):
        await again(lambda body=body: issues.comment(KEY, body, run=RUN, topic="progress"))  # type: ignore[misc]
    for status in (TicketStatus.IN_REVIEW, TicketStatus.DONE):
        await again(lambda status=status: issues.move(KEY, status, run=RUN))  # type: ignore[misc]

    assert not server.faults.waiting
    assert said(there) == [f"Taken up by the run [sdlc-parcel-1]({RUN.link}).", "two"]
    assert (there.issues[1].state, there.issues[1].labels) == ("closed", ["ai-ready"])
    assert there.comments(1)[0].body.endswith("claim over -->")


async def test_a_comment_whose_answer_was_lost_is_not_doubled_by_a_stale_look(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    comments = on("GET", "/comments")
    server.fail(Fault("reset", after=True, where=on("POST", "/comments")))
    with pytest.raises(ServiceUnavailable):
        await issues.comment(KEY, "said", run=RUN, topic="progress")
    server.fail(Fault("stale", where=comments))
    await issues.comment(KEY, "said", run=RUN, topic="progress")
    assert said(there) == ["said"]


async def test_a_claim_whose_answer_was_lost_is_not_doubled_by_a_stale_look(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    server.fail(Fault("reset", after=True, where=on("POST", "/comments")))
    with pytest.raises(ServiceUnavailable):
        await issues.claim(KEY, claimant="x", run=RUN)
    server.fail(Fault("stale", where=on("GET", "/comments")))
    await issues.claim(KEY, claimant="x", run=RUN)

    assert not server.faults.waiting
    assert said(there) == [f"Taken up by the run [sdlc-parcel-1]({RUN.link})."]


async def test_a_claim_that_is_not_shown_yet_is_looked_for_again(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    reads = 0

    def second_look(method: str, path: str) -> bool:
        nonlocal reads
        reads += method == "GET" and path.endswith("/comments")
        return method == "GET" and path.endswith("/comments") and reads == 2

    server.fail(Fault("stale", where=second_look))
    with pytest.raises(ServiceUnavailable, match="does not show yet"):
        await issues.claim(KEY, claimant="x", run=RUN)
    await issues.claim(KEY, claimant="x", run=RUN)
    assert len(said(there)) == 1


@pytest.mark.parametrize(
    "body", ["", "x" * 65_537, "<!-- sdlc:a:b claim -->", "- a\n- b <!-- unclosed", "😀 @alice #1"]
)
async def test_any_comment_is_taken(there: FakeRepository, issues: GitHubIssues, body: str) -> None:
    for _ in range(2):
        await issues.comment(KEY, body, run=RUN, topic="a: topic")
    assert len(there.comments(1)) == 1
    assert not await issues.comments.claims(NAME, 1)


# --- who asked, and who may --------------------------------------------------------------------


async def test_who_put_the_label_on_asked_for_it(there: FakeRepository, issues: GitHubIssues) -> None:
    number = there.add_issue("a wish", by="eve")
    assert (await issues.asked_by(f"parcel-{number}")).name == "eve"
    there.label(number, "AI-ready", by="maria")
    there.label(number, by="tom")
    assert (await issues.asked_by(f"parcel-{number}")).name == "eve"
    there.label(number, "bug", "ai-ready", by="alice")
    there.label(number, "ai-ready", "bug", "more", by="tom")

    assert await issues.asked_by(f"parcel-{number}") == Person(name="alice", aliases=("alice",))
    with pytest.raises(TicketNotFound):
        await issues.asked_by("parcel-99")


async def test_an_account_that_is_gone_asks_for_nothing_by_name(server: GitHubServer, there: FakeRepository) -> None:
    del server.hub.state.accounts["eve"]
    issues = issues_of(server, label="nothing")
    assert (await issues.asked_by(KEY)).name == "ghost"


def test_on_github_itself_everybody_has_an_address_for_commits() -> None:
    user = {"login": "eve", "id": 7, "type": "User"}
    assert reading.person_of(user, mail_host="users.noreply.github.com").email == "7+eve@users.noreply.github.com"
    assert reading.person_of({**user, "type": "Bot"}, mail_host="users.noreply.github.com").email == ""
    assert reading.person_of(None).aliases == ()


@pytest.mark.parametrize(
    ("login", "may"),
    [("alice", True), ("maria", True), ("tom", False), ("eve", False), ("nobody", False), ("../../x", False)],
)
async def test_without_groups_those_may_command_who_may_write(issues: GitHubIssues, login: str, may: bool) -> None:
    assert await issues.may_command(Person(name="alice", aliases=(login,)), KEY) is may


async def test_members_of_a_team_may_command_and_those_who_may_write_may_not(
    server: GitHubServer, there: FakeRepository
) -> None:
    add_team(server.hub.state, "acme", "core", eve="active", tom="pending")
    issues = issues_of(server, groups=("acme/none", "acme/core"))
    may = {
        login: await issues.may_command(Person(name=login, aliases=(login,)), KEY) for login in ("eve", "tom", "alice")
    }
    assert may == {"eve": True, "tom": False, "alice": False}

    app = server.add_app("sdlc", "acme", permissions={**PERMISSIONS, "members": "read"})
    issues = issues_of(server, groups=("acme/core",), app_id=str(app.id), private_key=app.private_key)
    assert await issues.may_command(Person(name="eve", aliases=("eve",)), KEY)
    assert await issues.check() == ()


async def test_a_token_that_sees_no_teams_and_a_team_that_is_none_are_told(
    server: GitHubServer, there: FakeRepository
) -> None:
    eve = Person(name="eve", aliases=("eve",))
    with pytest.raises(PermissionDenied, match="read:org"):
        await issues_of(server, groups=("acme/core",), token=server.add_token("bot")).may_command(eve, KEY)
    (scope,) = await issues_of(server, groups=("acme/core",), token=server.add_token("bot")).check()
    assert "read:org" in scope
    app = server.add_app("sdlc", "acme", permissions={"metadata": "read", "issues": "read"})
    apps = issues_of(server, groups=("acme/core",), app_id=str(app.id), private_key=app.private_key)
    assert [sentence.split()[5] for sentence in await apps.check()] == ["issues", "members"]
    with pytest.raises(ConfigurationError, match="org/team"):
        await issues_of(server, groups=("core",)).may_command(eve, KEY)
    assert "org/team" in (await issues_of(server, groups=("core",)).check())[0]


# --- commands ----------------------------------------------------------------------------------


async def test_a_command_is_heard_answered_once_and_then_known_to_be(
    there: FakeRepository, issues: GitHubIssues
) -> None:
    there.comment(1, "/SDLC status", by="alice")
    there.comment(1, "nothing of that", by="alice")
    await issues.comment(KEY, "Say /sdlc help.", run=RUN, topic="progress")

    (heard,) = await issues.comments_since(LONG_AGO)
    assert (heard.ticket_key, heard.body, heard.author.name) == (KEY, "/SDLC status", "alice")
    assert (heard.ours, heard.answered) == (False, False)
    assert await issues.comment_on("PARCEL-1", heard.comment_id) == heard
    for body in ("first", "It runs: /sdlc pause"):
        await issues.reply(heard, body)

    assert said(there) == ["/SDLC status", "nothing of that", "Say /sdlc help.", "It runs: /sdlc pause"]
    (heard,) = await issues.comments_since(LONG_AGO)
    assert heard.answered
    again_heard = await issues.comment_on(KEY, heard.comment_id)
    assert again_heard
    assert again_heard.answered
    reply = await issues.comment_on(KEY, str(there.comments(1)[-1].id))
    assert reply
    assert reply.ours


async def test_a_reply_that_somebody_else_marked_answers_nothing(there: FakeRepository, issues: GitHubIssues) -> None:
    command = there.comment(1, "/sdlc cancel", by="alice")
    there.comment(1, f"Done.\n\n<!-- sdlc:reply command:{command.id} -->", by="eve")
    (heard,) = await issues.comments_since(LONG_AGO)
    assert not heard.answered


async def test_our_own_person_who_writes_without_a_mark_is_heard(there: FakeRepository, issues: GitHubIssues) -> None:
    there.comment(1, "/sdlc start", by="bot")
    (heard,) = await issues.comments_since(LONG_AGO)
    assert not heard.ours


async def test_only_new_commands_on_issues_are_listed_the_oldest_first(
    server: GitHubServer, there: FakeRepository
) -> None:
    other = server.add_repository("acme/money", files={"a.py": ""}, collaborators={"bot": "write", "alice": "write"})
    other.add_issue("Elsewhere", by="alice")
    there.commit("feature", {"a.py": "x = 2\n"}, by="alice")
    number = there.open_pull("feature", by="alice")
    there.comment(number, "/sdlc status", by="alice")
    old = there.comment(1, "/sdlc old", by="alice")
    old.created = old.updated = "2024-01-01T00:00:00Z"
    edited = there.comment(1, "/sdlc edited", by="alice")
    edited.created = "2024-01-01T00:00:00Z"
    for repository, text in ((there, "/sdlc one"), (other, "/sdlc two"), (there, "/sdlc three")):
        repository.comment(1, text, by="alice")

    issues = issues_of(server, issues=(NAME, "acme/money"))
    heard = await issues.comments_since(datetime.now(UTC) - timedelta(hours=1))
    assert [(one.ticket_key, one.body) for one in heard] == [
        (KEY, "/sdlc one"),
        ("money-1", "/sdlc two"),
        (KEY, "/sdlc three"),
    ]


async def test_an_edited_comment_commands_only_where_whoever_may_edit_it_may_command(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    untouched = there.comment(1, "/sdlc status", by="alice")
    edited = there.comment(1, "/sdlc status", by="alice")
    for comment in (untouched, edited):
        comment.created = comment.updated = "2026-01-01T00:00:00Z"
    # A writer of the repository, who is in no team that may command.
    maria = issues_of(server, token=server.add_token("maria"))
    path = f"/repos/{NAME}/issues/comments/{edited.id}"
    answer = await maria.api.call("PATCH", path, body={"body": "/sdlc cancel"}, doing="editing")
    assert answer.data["user"]["login"] == "alice"
    assert answer.data["created_at"] != answer.data["updated_at"]

    guarded = issues_of(server, groups=("acme/leads",))
    assert [one.body for one in await guarded.comments_since(LONG_AGO)] == ["/sdlc status"]
    assert await guarded.comment_on(KEY, str(edited.id)) is None
    assert await guarded.comment_on(KEY, str(untouched.id))

    assert [one.body for one in await issues.comments_since(LONG_AGO)] == ["/sdlc status", "/sdlc cancel"]
    assert await issues.comment_on(KEY, str(edited.id))


async def test_a_comment_that_is_gone_or_elsewhere_is_none(there: FakeRepository, issues: GitHubIssues) -> None:
    there.add_issue("another", by="eve")
    comment = there.comment(2, "/sdlc status", by="alice")

    assert await issues.comment_on(KEY, str(comment.id)) is None
    assert await issues.comment_on("parcel-2", str(comment.id))
    for key, number in ((KEY, "99999"), (KEY, "x"), ("other-1", "1"), ("x", "1")):
        assert await issues.comment_on(key, number) is None


# --- what is missing ---------------------------------------------------------------------------


async def test_check_names_what_is_missing(server: GitHubServer, there: FakeRepository, issues: GitHubIssues) -> None:
    assert await issues.check() == ()
    assert "acme/none" in (await issues_of(server, issues=("acme/none",)).check())[0]
    (reader,) = await issues_of(server, token=server.add_token("eve")).check()
    assert "triage" in reader
    server.add_repository("acme/open", files={}, private=False, collaborators={"bot": "write"})
    (scope,) = await issues_of(server, issues=("acme/open",), token=server.add_token("bot", scopes=())).check()
    assert "public_repo" in scope
    limited = server.add_fine_grained_token("bot", permissions={"metadata": "read", "contents": "write"})
    (permission,) = await issues_of(server, token=limited).check()
    assert "issues" in permission
    there.state.has_issues = False
    assert "switched off" in (await issues.check())[0]
    there.archive()
    assert any("archived" in sentence for sentence in await issues.check())
    with pytest.raises(PermissionDenied, match=r"github\.token"):
        await issues_of(server, token="ghp_wrong").check()


@pytest.mark.parametrize("kind", ["secondary", "reset"])
async def test_a_limit_is_worth_a_retry(server: GitHubServer, issues: GitHubIssues, kind: Any) -> None:
    server.fail(Fault(kind, where=on("GET", "/issues/1")))
    with pytest.raises(ServiceUnavailable):
        await issues.ticket(KEY)
    assert (await issues.ticket(KEY)).key == KEY


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_what_will_not_get_better_is_final(server: GitHubServer, there: FakeRepository, status: int) -> None:
    server.fail(Fault("status", status, where=on("POST", "/comments")))
    with pytest.raises(SdlcError) as caught:
        await issues_of(server).comment(KEY, "x", run=RUN, topic="x")
    assert not isinstance(caught.value, ServiceUnavailable)
    assert said(there) == []


async def test_a_cancelled_write_is_over_before_its_caller_goes_on(
    server: GitHubServer, there: FakeRepository, issues: GitHubIssues
) -> None:
    server.fail(Fault("slow", seconds=0.5, where=on("POST", "/comments")))
    writing = asyncio.ensure_future(issues.comment(KEY, "said", run=RUN, topic="x"))
    async with asyncio.timeout(10):
        while not any(method == "POST" for method, _ in server.requests):
            await asyncio.sleep(0.01)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    count = len(server.requests)
    await asyncio.sleep(0.3)
    assert (said(there), len(server.requests)) == (["said"], count)


# --- pure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("parcel-12", (NAME, 12)),
        ("PARCEL-12", (NAME, 12)),
        ("my.repo-x-3", ("acme/My.Repo-x", 3)),
        ("parcel-", None),
        ("parcel-12a", None),
        ("acme/parcel-1", None),
        ("parcel-1234567890123", None),
    ],
)
def test_a_key_is_the_repository_and_the_number(key: str, place: tuple[str, int] | None) -> None:
    assert reading.place_of(key, (NAME, "acme/My.Repo-x")) == place


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Blocked by #12", [(NAME, 12)]),
        ("- blocked by: #1, #2 and acme/other#3", [(NAME, 1), (NAME, 2), ("acme/other", 3)]),
        ("depends on\n#4", [(NAME, 4)]),
        ("Nothing is blocked, see #5", []),
        ("blocked by " + "#1, " * 500, [(NAME, 1)]),
        ("blocked by " * 3_000, []),
        ("blocked by " + "a" * 30_000, []),
        ("blocked by " + "a" * 31_000 + "#7", [(NAME, 7)]),
        ("blocked by github.com/acme/other#3", [("acme/other", 3)]),
    ],
)
def test_what_an_issue_waits_for_is_read_from_its_text(text: str, found: list[tuple[str, int]]) -> None:
    place = reading.Place(KEY, NAME, 1, {"body": text})
    assert list(reading.named_blockers(place)) == found


@pytest.mark.parametrize(
    ("labels", "rank"),
    [([], 2), (["P0"], 0), (["Priority: High"], 1), (["priority/low", "bug"], 3), (["highly unlikely"], 2)],
)
def test_a_priority_is_read_from_labels(labels: list[str], rank: int) -> None:
    assert reading.rank_of({"labels": [{"name": name} for name in labels]}) == rank


@pytest.mark.parametrize("junk", [{}, {"labels": None, "assignees": None}, {"labels": ["a", 3, {}], "body": 7}])
def test_an_answer_that_is_no_issue_breaks_nothing(junk: dict[str, Any]) -> None:
    place = reading.Place(KEY, NAME, 1, junk)
    assert reading.ticket_of(place, [{}, {"user": None, "body": None}]).key == KEY
    assert reading.is_free(place, "bot")
