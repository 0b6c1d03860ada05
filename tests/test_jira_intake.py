"""What Jira tells unasked, Cloud and Data Center alike: wanted tickets, who asked for them, commands in comments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from sdlc.domain import Person, RunIdentity, TicketStatus
from sdlc.errors import ConfigurationError, PermissionDenied, ServiceUnavailable, TicketNotFound
from sdlc.integrations.jira import JiraSettings, JiraTracker, adf, jql
from sdlc.integrations.jira.people import person_of
from tests.fakes.faults import Fault, on
from tests.fakes.jira_server import JiraServer
from tests.fakes.jira_state import Issue

KEY = "ACME-1"
RUN = RunIdentity(workflow_id="sdlc-ACME-1", run_id="run-1", ticket_key=KEY, link="http://localhost:8233/run")
LONG_AGO = datetime.now(UTC) - timedelta(days=30)


@pytest.fixture(params=["cloud", "datacenter"])
def jira(request: pytest.FixtureRequest) -> Iterator[JiraServer]:
    with JiraServer(request.param) as server:
        server.add_issue(KEY, "Rounds half a cent down", labels=["ai-ready"])
        yield server


@pytest.fixture
def tracker(jira: JiraServer) -> JiraTracker:
    return tracker_of(jira)


def tracker_of(jira: JiraServer, *, groups: tuple[str, ...] = (), **more: Any) -> JiraTracker:
    if jira.flavour == "cloud":
        email, token = jira.login()
        more = {"email": email, "token": SecretStr(token), **more}
    settings = JiraSettings(**{"url": jira.url, "token": SecretStr(jira.users["bot"].bearer), **more})
    return JiraTracker(settings, commander_groups=groups)


def rich(jira: JiraServer, text: str) -> Any:
    return adf.from_markdown(text) if jira.flavour == "cloud" else text


def said(jira: JiraServer, key: str = KEY) -> list[str]:
    from sdlc.integrations.jira.ticket_of import rich_text

    return [rich_text(one.body, is_cloud=jira.flavour == "cloud") for one in jira.comments(key)]


def person(jira: JiraServer, name: str) -> Person:
    """As the tracker names a user."""
    user = jira.users[name]
    if jira.flavour == "cloud":
        return Person(name=user.display_name, aliases=(user.account_id,))
    return Person(name=user.display_name, aliases=(name,), email=user.email)


def age(issue: Issue, **ago: float) -> None:
    issue.updated = datetime.now(UTC) - timedelta(**ago)


# --- what is wanted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "labels = ai-ready ORDER BY Rank",
        "labels = ai-ready OR labels = other order  by Rank ASC, priority DESC",
        'labels = "ai-ready" AND summary !~ "x order by y"',
        "ORDER BY created",
    ],
)
async def test_a_wanted_ticket_is_of_the_selection_whatever_its_order(jira: JiraServer, query: str) -> None:
    jira.add_issue("ACME-2", "blocked", labels=["ai-ready"])
    jira.add_link(KEY, "ACME-2")
    jira.add_issue("ACME-3", "a person's", labels=["ai-ready"], assignee="alice")
    jira.add_issue("ACME-4", "not labelled")
    jira.add_issue("ACME-5", "done", labels=["ai-ready"], status="Done", resolution="Done")
    tracker = tracker_of(jira, jql=query)

    assert await tracker.is_wanted(KEY)
    wanted = [
        key
        for key in ("ACME-2", "ACME-3", "ACME-4", "ACME-5", "ACME-99", "NOPE-1", "x")
        if await tracker.is_wanted(key)
    ]
    assert wanted == (["ACME-4"] if query.startswith("ORDER") else [])
    await tracker.claim(KEY, claimant="x", run=RUN)
    assert not await tracker.is_wanted(KEY)


async def test_a_ticket_that_moved_is_wanted_under_both_keys(jira: JiraServer, tracker: JiraTracker) -> None:
    new = jira.rekey_as("alice", KEY, "OTHER")
    assert await tracker.is_wanted(KEY)
    assert await tracker.is_wanted(new)
    assert not await tracker_of(jira, projects=("ACME",)).is_wanted(new)


async def test_what_the_index_of_the_search_has_not_heard_of_is_wanted_on_cloud() -> None:
    with JiraServer("cloud") as jira:
        jira.add_issue(KEY, "late")
        jira.search_lag = 60
        jira.edit_as("alice", KEY, labels=["ai-ready"])
        assert await tracker_of(jira).next_key() is None
        assert await tracker_of(jira).is_wanted(KEY)


async def test_a_selection_that_is_no_query_is_told(jira: JiraServer) -> None:
    tracker = tracker_of(jira, jql="labels = ")
    for work in (tracker.is_wanted(KEY), tracker.comments_since(LONG_AGO)):
        with pytest.raises(ConfigurationError, match=r"jira\.jql"):
            await work


# --- who asked ---------------------------------------------------------------------------------


async def test_who_put_the_label_on_last_asked_for_it(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.add_issue("ACME-2", "a wish", by="carol")
    assert await tracker.asked_by("ACME-2") == person(jira, "carol")
    jira.edit_as("alice", "ACME-2", labels=["ai-ready"])
    jira.edit_as("root", "ACME-2", labels=[])
    assert await tracker.asked_by("ACME-2") == person(jira, "carol")
    jira.edit_as("bob", "ACME-2", labels=["ai-ready-not", "AI-ready"])
    for number in range(230):
        jira.edit_as("root", "ACME-2", summary=f"a wish {number}")
    jira.edit_as("root", "ACME-2", labels=["ai-ready", "more"])

    assert await tracker.asked_by("ACME-2") == person(jira, "bob")
    jira.edit_as("root", "ACME-2", labels=["more"])
    jira.edit_as("alice", "ACME-2", labels=["more", "ai-ready"])
    assert await tracker.asked_by("ACME-2") == person(jira, "alice")
    assert await tracker.asked_by(KEY) == person(jira, "alice")
    with pytest.raises(TicketNotFound):
        await tracker.asked_by("ACME-99")


async def test_a_ticket_of_nobody_was_asked_for_by_somebody(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.issues[KEY].reporter = None
    assert await tracker.asked_by(KEY) == Person(name="somebody")


@pytest.mark.parametrize(
    ("user", "cloud", "name"),
    [
        ({"accountId": "557058:a", "displayName": "Ann"}, True, "Ann"),
        ({"accountId": "557058:a", "displayName": "557058:boss"}, True, "557058:a"),
        ({"accountId": "557058:a", "displayName": "boss@acme.example"}, True, "557058:a"),
        ({"name": "ann", "displayName": "root"}, False, "ann"),
        ({"name": "ann", "displayName": "Ann Archer"}, False, "Ann Archer"),
        ({"name": "ann"}, False, "ann"),
        (None, True, "somebody"),
    ],
)
def test_nobody_is_called_like_the_id_of_another(user: Any, cloud: bool, name: str) -> None:
    assert person_of(user, is_cloud=cloud).name == name


# --- who may -----------------------------------------------------------------------------------


async def test_members_of_the_groups_may_command(jira: JiraServer) -> None:
    tracker = tracker_of(jira, groups=("nobody", "DEVELOPERS"))
    may = {name: await tracker.may_command(person(jira, name), KEY) for name in ("alice", "bob", "carol", "root")}
    assert may == {"alice": True, "bob": True, "carol": False, "root": False}


async def test_without_groups_nobody_may(jira: JiraServer, tracker: JiraTracker) -> None:
    assert not await tracker.may_command(person(jira, "alice"), KEY)
    assert not [request for request in jira.requests if "user" in request.path]


async def test_a_name_that_somebody_gave_himself_gives_no_rights(jira: JiraServer) -> None:
    tracker = tracker_of(jira, groups=("developers",))
    alice = jira.users["alice"]
    unique = alice.account_id if jira.flavour == "cloud" else alice.name
    for who in (
        Person(name=unique),
        Person(name="Alice Archer"),
        Person(name="Alice Archer", aliases=("nobody-known",)),
        Person(name="somebody"),
    ):
        assert not await tracker.may_command(who, KEY)
    jira.users["carol"].display_name = unique
    jira.comment_as("carol", KEY, rich(jira, "/sdlc start"))
    (heard,) = await tracker.comments_since(LONG_AGO)
    assert not await tracker.may_command(heard.author, KEY)


async def test_an_alias_from_elsewhere_is_not_the_user_of_that_name() -> None:
    with JiraServer("datacenter") as jira:
        jira.add_issue(KEY, "x")
        carol = Person(name="Carol", aliases=("alice", "carol", "Carol Cook"))
        assert not await tracker_of(jira, groups=("developers",)).may_command(carol, KEY)


async def test_the_right_to_see_groups_is_asked_for() -> None:
    with JiraServer("cloud") as jira:
        jira.add_issue(KEY, "x", labels=["ai-ready"])
        jira.revoke("bot", "USER_PICKER")
        tracker = tracker_of(jira, groups=("developers",))
        with pytest.raises(PermissionDenied, match="Browse users and groups"):
            await tracker.may_command(person(jira, "alice"), KEY)
        assert "Browse users and groups" in (await tracker.check())[0]
        assert await tracker_of(jira).check() == ()


# --- commands ----------------------------------------------------------------------------------


async def test_a_command_is_heard_answered_once_and_then_known_to_be(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.comment_as("alice", KEY, rich(jira, "/sdlc retry with the ledger in mind"))
    jira.comment_as("alice", KEY, rich(jira, "nothing of that"))
    await tracker.comment(KEY, "Say /sdlc help.", run=RUN, topic="progress")

    (heard,) = await tracker.comments_since(LONG_AGO)
    assert (heard.ticket_key, heard.body) == (KEY, "/sdlc retry with the ledger in mind")
    assert heard.author == person(jira, "alice")
    assert (heard.ours, heard.answered) == (False, False)
    assert await tracker.comment_on(KEY, heard.comment_id) == heard
    for body in ("first", "It runs: /sdlc pause"):
        await tracker.reply(heard, body)

    assert said(jira)[-2:] == ["Say /sdlc help.", "It runs: /sdlc pause"]
    (heard,) = await tracker.comments_since(LONG_AGO)
    assert heard.answered
    again = await tracker.comment_on(KEY, heard.comment_id)
    reply = await tracker.comment_on(KEY, jira.comments(KEY)[-1].id)
    assert again
    assert reply
    assert (again.answered, reply.ours) == (True, True)


async def test_a_reply_whose_answer_was_lost_is_not_doubled(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.comment_as("alice", KEY, rich(jira, "/sdlc status"))
    (heard,) = await tracker.comments_since(LONG_AGO)
    jira.fail(Fault("reset", after=True, where=on("POST", "/comment")))
    with pytest.raises(ServiceUnavailable):
        await tracker.reply(heard, "It runs.")
    await tracker.reply(heard, "It runs.")
    assert said(jira) == ["/sdlc status", "It runs."]


async def test_our_own_person_who_writes_without_a_mark_is_heard(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.comment_as("bot", KEY, rich(jira, "/sdlc start"))
    (heard,) = await tracker.comments_since(LONG_AGO)
    assert not heard.ours


async def test_a_comment_that_is_gone_or_elsewhere_is_none(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.add_issue("ACME-2", "another")
    comment = jira.comment_as("alice", "ACME-2", rich(jira, "/sdlc status"))
    assert await tracker.comment_on("ACME-2", comment.id)
    for key, number in ((KEY, comment.id), (KEY, "1"), ("ACME-99", comment.id), ("../x", comment.id)):
        assert await tracker.comment_on(key, number) is None
    jira.delete_as("root", "ACME-2")
    assert await tracker.comment_on("ACME-2", comment.id) is None


async def test_only_new_commands_in_tickets_of_ours_are_listed_the_oldest_first(jira: JiraServer) -> None:
    jira.add_issue("ACME-2", "assigned to us", assignee="bot")
    jira.add_issue("ACME-3", "selected", labels=["mine"])
    jira.add_issue("ACME-4", "nothing to us")
    jira.add_issue("HOME-1", "another project", labels=["ai-ready"])
    jira.add_issue("ACME-5", "quiet for a day", labels=["ai-ready"])
    for key in ("ACME-3", "ACME-2", KEY, "ACME-4", "HOME-1", "ACME-5"):
        jira.comment_as("alice", key, rich(jira, f"/sdlc {key}"))
    old = jira.comment_as("alice", KEY, rich(jira, "/sdlc old"))
    old.created = datetime.now(UTC) - timedelta(days=2)
    age(jira.issues["ACME-5"], days=1)
    since = datetime.now(UTC) - timedelta(hours=1)

    async def heard(**more: Any) -> list[str]:
        return [one.ticket_key for one in await tracker_of(jira, **more).comments_since(since)]

    assert await heard() == ["ACME-2", KEY, "HOME-1"]
    assert await heard(projects=("ACME",)) == ["ACME-3", "ACME-2", KEY, "ACME-4"]
    assert await heard(jql="labels = mine ORDER BY Rank") == ["ACME-3", "ACME-2", KEY, "HOME-1"]


async def test_a_ticket_that_did_not_change_is_not_read_again(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.comment_as("alice", KEY, rich(jira, "/sdlc status"))
    age(jira.issues[KEY], minutes=10)

    async def look() -> int:
        before = len(jira.requests)
        assert [one.body for one in await tracker.comments_since(LONG_AGO)][:1] == ["/sdlc status"]
        return len([one for one in jira.requests[before:] if one.path.endswith("/comment")])

    assert [await look(), await look()] == [1, 0]
    jira.comment_as("bob", KEY, rich(jira, "/sdlc pause"))
    # As long as it is fresh a replica may lag, so it is read each time.
    assert [await look(), await look()] == [1, 1]
    assert [one.body for one in await tracker.comments_since(LONG_AGO)] == ["/sdlc status", "/sdlc pause"]


async def test_a_look_has_its_bounds(jira: JiraServer, tracker: JiraTracker) -> None:
    for number in range(2, 260):
        jira.add_issue(f"ACME-{number}", "x", labels=["ai-ready"])
    await tracker.comments_since(LONG_AGO)
    read = [one for one in jira.requests if one.path.endswith("/comment")]
    assert len(read) == 200


async def test_we_are_known_by_all_our_names(jira: JiraServer, tracker: JiraTracker) -> None:
    bot = jira.users["bot"]
    unique = bot.account_id if jira.flavour == "cloud" else bot.name
    assert set(await tracker.login()) == {unique, bot.email, "SDLC Bot"}


# --- tickets that change under our hands -------------------------------------------------------


async def test_all_goes_on_under_the_old_key_of_a_ticket_that_moved(jira: JiraServer, tracker: JiraTracker) -> None:
    new = jira.rekey_as("alice", KEY, "OTHER")
    assert (await tracker.claim(KEY, claimant="x", run=RUN)).key == new
    comment = jira.comment_as("alice", new, rich(jira, "/sdlc status"))
    heard = await tracker.comment_on(KEY, comment.id)
    assert heard
    await tracker.reply(heard, "It runs.")
    await tracker.comment(KEY, "Planned.", run=RUN, topic="plan")
    await tracker.link(KEY, "https://forge.example/1", "fix: it", run=RUN)
    await tracker.move(KEY, TicketStatus.IN_REVIEW, run=RUN)
    assert said(jira, new)[1:] == ["/sdlc status", "It runs.", "Planned."]
    await tracker.release(KEY, run=RUN, reason="enough")
    assert jira.issues[new].status == "To Do"


async def test_a_ticket_that_is_deleted_meanwhile_is_not_found(jira: JiraServer, tracker: JiraTracker) -> None:
    await tracker.claim(KEY, claimant="x", run=RUN)
    jira.delete_as("root", KEY)
    for work in (
        tracker.ticket(KEY),
        tracker.claim(KEY, claimant="x", run=RUN),
        tracker.move(KEY, TicketStatus.DONE, run=RUN),
        tracker.comment(KEY, "x", run=RUN, topic="x"),
        tracker.link(KEY, "https://forge.example/1", "x", run=RUN),
        tracker.release(KEY, run=RUN, reason="x"),
        tracker.asked_by(KEY),
    ):
        with pytest.raises(TicketNotFound):
            await work
    assert not await tracker.is_wanted(KEY)


async def test_what_the_workflow_allows_is_listed_where_we_may_not_move(jira: JiraServer, tracker: JiraTracker) -> None:
    jira.revoke("bot", "TRANSITION_ISSUES")
    with pytest.raises(PermissionDenied, match="In Progress"):
        await tracker.claim(KEY, claimant="x", run=RUN)
    assert said(jira) == []


@pytest.mark.parametrize("components", [[], ["money", "ledger"]])
def test_components_are_kept_for_the_choice_of_a_repository(components: list[str]) -> None:
    from sdlc.integrations.jira.ticket_of import Reading, ticket_of

    issue = {"key": KEY, "fields": {"summary": "x", "components": [{"name": name} for name in components]}}
    assert ticket_of(issue, Reading(is_cloud=True, base_url="")).components == tuple(components)


# --- pure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("labels = a ORDER BY Rank", "labels = a"),
        ("labels = a\norder\tby Rank, key DESC", "labels = a"),
        ('summary ~ \'order by x\' AND a = "\\" order by "', 'summary ~ \'order by x\' AND a = "\\" order by "'),
        ("ORDER BY Rank", ""),
        ("reorder = by", "reorder = by"),
        (" ", ""),
    ],
)
def test_the_order_of_a_query_is_told_from_its_conditions(query: str, where: str) -> None:
    assert jql.without_order(query) == where


async def test_words_that_somebody_else_has_edited_are_nobodys_command(jira: JiraServer, tracker: JiraTracker) -> None:
    comment = jira.comment_as("alice", KEY, rich(jira, "I think so."))
    jira.edit_comment_as("root", comment, rich(jira, "/sdlc cancel"))
    assert await tracker.comments_since(LONG_AGO) == ()
    heard = await tracker.comment_on(KEY, str(comment.id))
    assert heard is not None
    assert heard.body == ""
    jira.edit_comment_as("alice", comment, rich(jira, "/sdlc pause"))
    assert [one.body for one in await tracker.comments_since(LONG_AGO)] == ["/sdlc pause"]
