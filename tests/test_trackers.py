"""What every tracker promises: the same tests for a folder of files, both flavours of Jira, and GitHub Issues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sdlc.config.github import GitHubSettings
from sdlc.config.jira import JiraSettings
from sdlc.domain import RunIdentity, TicketStatus
from sdlc.errors import TicketNotFound, TicketTaken
from sdlc.integrations import ticket_file
from sdlc.integrations.github.issues import GitHubIssues
from sdlc.integrations.jira import JiraTracker, adf
from sdlc.integrations.local_tracker import LocalTracker
from sdlc.integrations.ports import Intake, Tracker
from tests.fakes import openapi
from tests.fakes.github_server import GitHubServer
from tests.fakes.jira_server import JiraServer

TEXT = "Half a cent is lost.\n\n## Acceptance criteria\n\n- 0.125 becomes 0.13\n- nothing else changes"


@dataclass
class World:
    """One tracker with three tickets (the third without the label), and what people can do there."""

    tracker: Tracker
    other: Tracker
    """Another worker's."""
    keys: tuple[str, str, str]
    claimant: str
    edit: Callable[[str, str], None]
    """Give a ticket another title."""
    assign: Callable[[str, str], None]
    """To a person, whose name is among `person`; to nobody by an empty one."""
    person: str
    finish: Callable[[str], None]
    """Bring it to Done by hand."""
    words: Callable[[str], list[str]]
    """Comments as people see them."""

    @property
    def key(self) -> str:
        return self.keys[0]

    def run(self, name: str = "one", attempt: int = 1) -> RunIdentity:
        return RunIdentity(
            workflow_id=f"sdlc-{name}", run_id=f"{name}-{attempt}", ticket_key=self.key, link="http://localhost:8233/x"
        )


def _local(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "tickets"
    folder.mkdir()
    for number, label in ((1, "ai-ready"), (2, "ai-ready"), (3, "later")):
        (folder / f"ACME-{number}.md").write_text(f"---\ntitle: Ticket {number}\nlabels: [{label}]\n---\n\n{TEXT}\n")

    def change(key: str, **values: str | None) -> None:
        path = folder / f"{key}.md"
        path.write_text(ticket_file.edited(path.read_text(), dict(values), path))

    def words(key: str) -> list[str]:
        file = folder / f"{key}.comments.md"
        from sdlc.integrations import comment_file

        return [one.body for one in comment_file.every(file.read_text())] if file.exists() else []

    yield World(
        LocalTracker(folder),
        LocalTracker(folder),
        ("ACME-1", "ACME-2", "ACME-3"),
        "sdlc-bot",
        lambda key, title: change(key, title=title),
        lambda key, name: change(key, assignee=name or None),
        "alice",
        lambda key: change(key, status="Done"),
        words,
    )


def _jira(flavour: Any) -> Iterator[World]:
    with JiraServer(flavour) as jira:
        cloud = flavour == "cloud"
        text = adf.from_markdown(TEXT) if cloud else TEXT.replace("## ", "h2. ").replace("\n- ", "\n* ")
        for number, label in ((1, "ai-ready"), (2, "ai-ready"), (3, "later")):
            jira.add_issue(f"ACME-{number}", f"Ticket {number}", labels=[label], description=text)
        email, token = jira.login() if cloud else ("", jira.users["bot"].bearer)

        def tracker() -> JiraTracker:
            return JiraTracker(JiraSettings(url=jira.url, email=email, token=token))  # type: ignore[arg-type]

        def words(key: str) -> list[str]:
            from sdlc.integrations.jira.ticket_of import rich_text

            return [rich_text(one.body, is_cloud=cloud) for one in jira.comments(key)]

        yield World(
            tracker(),
            tracker(),
            ("ACME-1", "ACME-2", "ACME-3"),
            "SDLC Bot",
            lambda key, title: jira.edit_as("alice", key, summary=title),
            lambda key, name: jira.edit_as("alice", key, assignee="alice" if name else None),
            "Alice Archer",
            lambda key: jira.move_as("alice", key, "Done"),
            words,
        )


def _github(tmp_path: Path) -> Iterator[World]:
    with GitHubServer(tmp_path / "github") as github:
        people = {"bot": "write", "alice": "write"}
        there = github.add_repository("acme/parcel", files={"a.py": "x = 1\n"}, collaborators=people)
        for number, label in ((1, "ai-ready"), (2, "ai-ready"), (3, "later")):
            there.add_issue(f"Ticket {number}", TEXT, by="alice", labels=[label])
        settings = GitHubSettings(
            base_url=github.url,
            token=github.add_token("bot"),  # type: ignore[arg-type]
            issues=("acme/parcel",),
            seconds_between_writes=0.0,
        )

        def number(key: str) -> int:
            return int(key.rpartition("-")[2])

        yield World(
            GitHubIssues(settings),
            GitHubIssues(settings),
            ("parcel-1", "parcel-2", "parcel-3"),
            "bot",
            lambda key, title: there.edit(number(key), by="alice", title=title),
            lambda key, name: there.assign(number(key), *([name] if name else []), by="alice"),
            "alice",
            lambda key: there.close(number(key), by="alice"),
            lambda key: [one.body.partition("\n\n<!-- ")[0] for one in there.comments(number(key))],
        )
    openapi.check(github.exchanges)


KINDS = ("local", "jira-cloud", "jira-datacenter", "github")


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    kind = request.param
    if kind == "local":
        yield from _local(tmp_path)
    elif kind == "github":
        yield from _github(tmp_path)
    else:
        yield from _jira(kind.removeprefix("jira-"))


async def test_a_ticket_is_read_with_its_criteria(world: World) -> None:
    ticket = await world.tracker.ticket(world.key)

    assert (ticket.key, ticket.title, ticket.status, ticket.assignee) == (world.key, "Ticket 1", "To Do", "")
    assert ticket.acceptance_criteria == ("0.125 becomes 0.13", "nothing else changes")
    assert ticket.description == "Half a cent is lost."
    assert "ai-ready" in ticket.labels
    assert ticket.url


async def test_the_revision_changes_with_the_text_and_not_with_the_work(world: World) -> None:
    first = (await world.tracker.ticket(world.key)).revision
    await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())
    same = (await world.tracker.ticket(world.key)).revision
    world.edit(world.key, "Another title")

    assert first == same != (await world.tracker.ticket(world.key)).revision


async def test_the_next_ticket_is_the_first_that_is_labelled_and_free(world: World) -> None:
    first, second, _ = world.keys
    assert await world.tracker.next_key() == first
    world.assign(first, "alice")
    assert await world.tracker.next_key() == second
    await world.tracker.claim(second, claimant=world.claimant, run=world.run())
    assert await world.other.next_key() is None
    world.assign(first, "")
    assert await world.other.next_key() == first
    world.finish(first)
    assert await world.other.next_key() is None


async def test_a_claim_is_seen_by_everybody(world: World) -> None:
    ticket = await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())

    assert (ticket.status, ticket.assignee) == ("In Progress", world.claimant)
    assert (await world.other.ticket(world.key)).status == "In Progress"
    assert world.words(world.key) == ["Taken up by the run [sdlc-one](http://localhost:8233/x)."]


async def test_a_claim_again_by_the_same_run_is_no_harm(world: World) -> None:
    await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())
    await world.tracker.move(world.key, TicketStatus.IN_REVIEW, run=world.run())
    ticket = await world.other.claim(world.key, claimant=world.claimant, run=world.run())

    assert ticket.status == "In Review"
    assert len(world.words(world.key)) == 1


async def test_a_later_run_of_the_same_workflow_takes_the_claim_over(world: World) -> None:
    await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())
    await world.other.claim(world.key, claimant=world.claimant, run=world.run(attempt=2))
    await world.tracker.release(world.key, run=world.run(), reason="not ours any more")

    assert (await world.tracker.ticket(world.key)).status == "In Progress"
    await world.tracker.release(world.key, run=world.run(attempt=2), reason="done with it")
    assert (await world.tracker.ticket(world.key)).status == "To Do"


async def test_of_two_that_claim_at_once_exactly_one_wins(world: World) -> None:
    results = await asyncio.gather(
        world.tracker.claim(world.key, claimant=world.claimant, run=world.run("one")),
        world.other.claim(world.key, claimant=world.claimant, run=world.run("two")),
        return_exceptions=True,
    )

    losers = [result for result in results if isinstance(result, BaseException)]
    assert [type(loser) for loser in losers] == [TicketTaken]
    winner = "sdlc-two" if isinstance(results[0], TicketTaken) else "sdlc-one"
    assert winner in str(losers[0])
    assert [winner in said for said in world.words(world.key)] == [True]
    assert (await world.tracker.ticket(world.key)).status == "In Progress"


async def test_what_a_person_has_is_not_taken(world: World) -> None:
    world.assign(world.key, "alice")
    with pytest.raises(TicketTaken, match=world.person):
        await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())

    assert world.words(world.key) == []
    assert (await world.tracker.ticket(world.key)).assignee == world.person


async def test_what_is_done_is_not_taken(world: World) -> None:
    world.finish(world.key)
    with pytest.raises(TicketTaken):
        await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())
    assert (await world.tracker.ticket(world.key)).status == "Done"


async def test_what_another_run_has_is_left_alone(world: World) -> None:
    await world.tracker.claim(world.key, claimant=world.claimant, run=world.run("two"))
    with pytest.raises(TicketTaken, match="sdlc-two"):
        await world.other.claim(world.key, claimant=world.claimant, run=world.run())
    with pytest.raises(TicketTaken, match="sdlc-two"):
        await world.other.move(world.key, TicketStatus.DONE, run=world.run())
    await world.other.release(world.key, run=world.run(), reason="not mine")

    assert (await world.tracker.ticket(world.key)).status == "In Progress"
    assert len(world.words(world.key)) == 1


async def test_a_release_gives_back_once(world: World) -> None:
    await world.tracker.claim(world.key, claimant=world.claimant, run=world.run())
    for tracker in (world.tracker, world.other):
        await tracker.release(world.key, run=world.run(), reason="the budget is spent")

    ticket = await world.tracker.ticket(world.key)
    assert (ticket.status, ticket.assignee) == ("To Do", "")
    assert [said for said in world.words(world.key) if "budget" in said] == ["Given back: the budget is spent"]
    assert await world.tracker.next_key() == world.key
    assert (await world.other.claim(world.key, claimant=world.claimant, run=world.run("two"))).status == "In Progress"


async def test_a_ticket_goes_through_all_statuses_and_done_ends_the_claim(world: World) -> None:
    run = world.run()
    await world.tracker.claim(world.key, claimant=world.claimant, run=run)
    for status in (TicketStatus.IN_REVIEW, TicketStatus.IN_PROGRESS, TicketStatus.IN_REVIEW, TicketStatus.DONE):
        for _ in range(2):
            await world.tracker.move(world.key, status, run=run)
            assert (await world.other.ticket(world.key)).status == status

    await world.tracker.release(world.key, run=run, reason="too late")
    assert (await world.tracker.ticket(world.key)).status == "Done"
    assert len(world.words(world.key)) == 1
    await world.other.move(world.key, TicketStatus.DONE, run=world.run("two"))


async def test_a_comment_on_a_topic_is_edited_and_another_is_added(world: World) -> None:
    run = world.run()
    for body in ("first", "second", "second"):
        await world.tracker.comment(world.key, body, run=run, topic="progress")
    await world.other.comment(world.key, "else", run=run, topic="plan")
    await world.other.comment(world.key, "theirs", run=world.run("two"), topic="progress")

    assert world.words(world.key) == ["second", "else", "theirs"]
    assert [one.body.strip().partition("\n")[0] for one in (await world.tracker.ticket(world.key)).comments] == [
        "second",
        "else",
        "theirs",
    ]


async def test_a_link_is_shown_without_noise(world: World) -> None:
    for _ in range(2):
        await world.tracker.link(world.key, "https://forge.example/pull/1", "fix: it", run=world.run())
    assert world.words(world.key) == []


@pytest.mark.parametrize("key", ["ACME-999", "parcel-999", "../x", "", "x", "other-1", "parcel-1/comments", "A-1?x=y"])
async def test_an_unknown_key_is_not_found(world: World, key: str) -> None:
    run = world.run()
    for work in (
        lambda: world.tracker.ticket(key),
        lambda: world.tracker.claim(key, claimant=world.claimant, run=run),
        lambda: world.tracker.release(key, run=run, reason="x"),
        lambda: world.tracker.move(key, TicketStatus.DONE, run=run),
        lambda: world.tracker.comment(key, "x", run=run, topic="x"),
    ):
        with pytest.raises(TicketNotFound):
            await work()


async def test_nothing_is_found_missing_where_nothing_is(world: World) -> None:
    assert await world.tracker.check() == ()


async def test_a_wanted_ticket_is_labelled_and_free(world: World) -> None:
    tracker = world.tracker
    if isinstance(tracker, LocalTracker):
        pytest.skip("files tell nothing unasked")
    intake: Intake = tracker  # type: ignore[assignment]
    first, second, third = world.keys

    assert [await intake.is_wanted(key) for key in (first, second, third, "parcel-999", "ACME-999", "x")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    world.assign(first, "alice")
    await world.tracker.claim(second, claimant=world.claimant, run=world.run())
    assert [await intake.is_wanted(key) for key in (first, second)] == [False, False]
    await world.tracker.release(second, run=world.run(), reason="x")
    assert await intake.is_wanted(second)
    world.finish(second)
    assert not await intake.is_wanted(second)
