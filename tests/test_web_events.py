"""What webhooks say, read from what the fakes send, from the senders' own examples, and from anything else."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as at_most
from hypothesis import strategies as st

from sdlc.config import ForgeSettings, Settings, TrackerSettings
from sdlc.config.github import GitHubSettings
from sdlc.config.intake import IntakeSettings, RouteSettings
from sdlc.config.jira import JiraSettings
from sdlc.deliveries import Delivery
from sdlc.web.github_events import _READERS, GitHubScope, github_delivery
from sdlc.web.jira_events import JiraScope, jira_delivery
from sdlc.web.payload import Nonsense, NotOurs, Payload, parsed
from tests.fakes.github_server import GitHubServer
from tests.fakes.jira_server import JiraServer, Webhook

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
SHA = "a" * 40
BOTH = GitHubScope(tracker=True, forge=True)


def jira(payload: dict[str, Any], scope: JiraScope | None = None, identifier: str | None = "abc-1") -> Delivery | None:
    return jira_delivery(Payload(payload), identifier, json.dumps(payload).encode(), scope or JiraScope())


def github(event: str, payload: dict[str, Any], scope: GitHubScope = BOTH, guid: str | None = GUID) -> Delivery | None:
    return github_delivery(event, Payload(payload), guid, scope)


def about(**parts: Any) -> dict[str, Any]:
    """A payload of GitHub about acme/parcel, done by maria."""
    return {"repository": {"full_name": "acme/parcel"}, "sender": {"login": "maria"}, **parts}


def pull(branch: str = "sdlc/ACME-1-x", **parts: Any) -> dict[str, Any]:
    return about(pull_request={"number": 7, "head": {"ref": branch, "sha": SHA}}, **parts)


# --- Jira -------------------------------------------------------------------------------------


def sent_by(flavour: Any, act: Callable[[JiraServer], object]) -> list[dict[str, Any]]:
    """The payloads of what happened, without anybody to take them."""
    with JiraServer(flavour) as server:
        server.add_issue("ACME-1", "Parcels get lost")
        server.sender.retries = 0
        server.webhooks.append(Webhook("http://127.0.0.1:9/none", "s"))
        act(server)
        return [delivery.payload for delivery in server.deliveries]


@pytest.mark.parametrize("flavour", ["cloud", "server"])
def test_a_comment_in_jira_is_one_thing_to_look_at_however_often_it_is_told(flavour: str) -> None:
    sent = sent_by(flavour, lambda server: server.comment_as("alice", "ACME-1", "/sdlc start"))
    found = {jira(payload, identifier=f"id-{number}") for number, payload in enumerate(sent)} - {None}
    assert len(found) == 1  # Data Center's first telling does not name the issue, and is left to the second
    (delivery,) = found
    assert delivery is not None
    assert (delivery.kind, delivery.ticket_key) == ("comment", "ACME-1")
    assert delivery.identity == f"comment-{delivery.comment_id}"
    assert delivery.comment_id.isdigit()


def test_a_comment_that_data_center_tells_without_its_issue_is_left_to_the_second_telling() -> None:
    sent = sent_by("server", lambda server: server.comment_as("alice", "ACME-1", "/sdlc start"))
    told = {payload["webhookEvent"]: payload for payload in sent}
    told["comment_created"].pop("issue", None)  # as Jira 8.14 sends it: the number of the issue is in comment.self only
    assert jira(told["comment_created"]) is None
    second = jira(told["jira:issue_updated"])
    assert second is not None
    assert second.kind == "comment"


@pytest.mark.parametrize("flavour", ["cloud", "server"])
def test_an_edited_or_deleted_comment_is_no_new_command(flavour: str) -> None:
    def act(server: JiraServer) -> None:
        comment = server.comment_as("alice", "ACME-1", "/sdlc start")
        server.deliveries.clear()
        with server._as("alice") as user:
            server._changes.comment_edited(server.issues["ACME-1"], user, comment, "/sdlc cancel")
            server._changes.comment_deleted(server.issues["ACME-1"], user, comment)

    sent = sent_by(flavour, act)
    assert len(sent) >= 2
    assert [jira(payload) for payload in sent] == [None] * len(sent)


@pytest.mark.parametrize("flavour", ["cloud", "server"])
def test_a_change_or_the_end_of_an_issue_is_a_look_at_the_ticket(flavour: str) -> None:
    def act(server: JiraServer) -> None:
        server.edit_as("alice", "ACME-1", labels=["ai-ready"])
        server.move_as("alice", "ACME-1", "Done")
        server.delete_as("alice", "ACME-1")

    for payload in sent_by(flavour, act):
        assert jira(payload) == Delivery(source="jira", kind="ticket", identity="abc-1", ticket_key="ACME-1")


def test_a_moved_issue_is_looked_at_under_the_key_that_we_know() -> None:
    (payload,) = sent_by("cloud", lambda server: server.rekey_as("alice", "ACME-1", "OPS"))
    now = payload["issue"]["key"]
    assert now.startswith("OPS-")

    def key(*projects: str) -> str:
        delivery = jira(payload, JiraScope(frozenset(projects)))
        assert delivery is not None
        return delivery.ticket_key

    assert key("acme") == "ACME-1"
    assert key("acme", "ops") == "ACME-1"
    assert key("ops") == now


def test_jira_tells_much_that_nobody_needs_to_look_at() -> None:
    for event in ("sprint_started", "jira:worklog_updated", "issuelink_created", "comment_updated", "user_created", ""):
        assert jira({"webhookEvent": event, "issue": {"key": "ACME-1"}}) is None
    assert jira({}) is None


def test_a_server_that_names_no_delivery_is_told_apart_by_what_it_says() -> None:
    first = {"webhookEvent": "jira:issue_updated", "timestamp": 1, "issue": {"key": "ACME-1"}}
    names = [jira(payload, identifier=None) for payload in (first, dict(first), {**first, "timestamp": 2})]
    assert names[0] == names[1] != names[2]
    assert names[0] is not None
    assert re.fullmatch("body-[0-9a-f]{64}", names[0].identity)


@pytest.mark.parametrize(
    "identifier", ["", "comment-12", "Comment-12", "body-1", "a" * 129, "a/b", "é", "a\n", "-", " a"]
)
def test_a_header_of_jira_can_stand_for_nothing_but_a_delivery(identifier: str) -> None:
    with pytest.raises(Nonsense, match="X-Atlassian-Webhook-Identifier"):
        jira({"webhookEvent": "jira:issue_created", "issue": {"key": "ACME-1"}}, identifier=identifier)


@pytest.mark.parametrize(
    "payload",
    [
        {"webhookEvent": 7},
        {"webhookEvent": "jira:issue_created"},
        {"webhookEvent": "jira:issue_created", "issue": None},
        {"webhookEvent": "jira:issue_created", "issue": []},
        {"webhookEvent": "jira:issue_created", "issue": {"key": "ACME"}},
        {"webhookEvent": "jira:issue_created", "issue": {"key": "ACME-1/implement-1"}},
        {"webhookEvent": "jira:issue_created", "issue": {"key": "ACME-1\n"}},
        {"webhookEvent": "jira:issue_created", "issue": {"key": f"ACME-{'1' * 40}"}},
        {"webhookEvent": "jira:issue_updated", "issue": {"key": "ACME-1"}, "changelog": {"items": 3}},
        {"webhookEvent": "comment_created", "issue": {"key": "ACME-1"}},
        {"webhookEvent": "comment_created", "issue": {"key": "ACME-1"}, "comment": {"id": "12/../7"}},
        {"webhookEvent": "comment_created", "issue": {"key": "ACME-1"}, "comment": {"id": True}},
        {"webhookEvent": "comment_created", "issue": {"key": "ACME-1"}, "comment": {"id": "9" * 40}},
    ],
)
def test_what_jira_would_not_send_is_nonsense(payload: dict[str, Any]) -> None:
    with pytest.raises(Nonsense):
        jira(payload)


def scope_of(*routes: RouteSettings, projects: tuple[str, ...] = ()) -> JiraScope:
    return JiraScope.of(Settings(jira=JiraSettings(projects=projects), intake=IntakeSettings(repositories=routes)))


def test_projects_are_ours_that_the_configuration_names() -> None:
    anything = RouteSettings(repository="acme/parcel")
    ops = RouteSettings(repository="acme/ops", projects=("OPS",))
    assert scope_of().projects is None
    assert scope_of(anything, ops).projects is None
    assert scope_of(ops).projects == frozenset({"ops"})
    assert scope_of(anything, ops, projects=("Acme",)).projects == frozenset({"ops", "acme"})
    with pytest.raises(NotOurs):
        jira({"webhookEvent": "jira:issue_created", "issue": {"key": "ACME-1"}}, scope_of(ops))


# --- GitHub -----------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        server.add_repository(
            "acme/Parcel", files={"a.py": "x = 1\n"}, collaborators={"maria": "write", "bot": "write"}
        )
        yield server


def told(hub: GitHubServer, scope: GitHubScope = BOTH) -> list[tuple[str, Delivery]]:
    """Every event of the fake that is worth a look, read as it would come over the wire."""
    events, hub.webhooks.events[:] = list(hub.webhooks.events), []
    wired = [(name, parsed(json.dumps(payload).encode())) for name, payload in events]
    read = [(name, github_delivery(name, payload, GUID, scope)) for name, payload in wired]
    return [(name, delivery) for name, delivery in read if delivery is not None]


def test_issues_and_their_comments_are_tickets_and_commands(hub: GitHubServer) -> None:
    repository = hub.repository("acme/Parcel")
    number = repository.add_issue("Totals are wrong", by="maria", labels=["ai-ready"])
    assert [(name, one.kind, one.ticket_key) for name, one in told(hub)] == [("issues", "ticket", "Parcel-1")] * 2
    comment = repository.comment(number, "/sdlc start", by="maria")
    assert told(hub) == [
        (
            "issue_comment",
            Delivery(
                source="github",
                kind="comment",
                identity=f"comment-{comment.id}",
                ticket_key="Parcel-1",
                comment_id=str(comment.id),
            ),
        )
    ]
    repository.close(number, by="maria")
    assert [one.kind for _, one in told(hub)] == ["ticket"]
    repository.comment(number, "/sdlc start", by="maria")
    assert told(hub, GitHubScope(tracker=False)) == []


def test_a_ticket_has_the_spelling_of_its_repository_that_is_configured(hub: GitHubServer) -> None:
    hub.repository("acme/Parcel").add_issue("Totals", by="maria")
    ((_, delivery),) = told(hub, GitHubScope(tracker=True, issues=("ACME/parcel",)))
    assert delivery.ticket_key == "parcel-1"
    hub.repository("acme/Parcel").add_issue("Totals", by="maria")
    assert told(hub, GitHubScope(tracker=True, issues=("acme/other",))) == []


def test_what_happens_to_a_pull_request_of_ours_is_a_look_at_it(hub: GitHubServer) -> None:
    repository = hub.repository("acme/Parcel")
    sha = repository.commit("sdlc/ACME-1-x", {"a.py": "x = 2\n"}, by="maria")
    number = repository.open_pull("sdlc/ACME-1-x", by="bot")
    told(hub)
    repository.review(number, by="maria", comments=[{"path": "a.py", "line": 1, "side": "RIGHT", "body": "why?"}])
    repository.comment(number, "please", by="maria")
    repository.commit("sdlc/ACME-1-x", {"a.py": "x = 3\n"}, by="maria")
    repository.merge(number, by="maria")
    found = told(hub)
    assert {name for name, _ in found} == {
        "pull_request_review",
        "pull_request_review_comment",
        "issue_comment",
        "push",
        "pull_request",
    }
    for name, one in found:
        assert (one.kind, one.repository, one.identity) == ("pull_request", "acme/Parcel", GUID)
        assert one.branch == ("" if name == "issue_comment" else "sdlc/ACME-1-x")
        assert one.number == (0 if name == "push" else number)
    assert found[0][1].head_sha == sha


def test_pull_requests_and_pushes_of_others_are_not_our_business(hub: GitHubServer) -> None:
    repository = hub.repository("acme/Parcel")
    sha = repository.commit("feature", {"a.py": "x = 2\n"}, by="maria")
    number = repository.open_pull("feature", by="maria")
    repository.review(number, by="maria", event="COMMENT", body="hm")
    repository.status(sha, "ci", "success", by="maria")
    repository.actions(sha, by="maria", test=("failure", "log"))
    repository.merge(number, by="maria")
    repository.commit("main", {"b.py": "y = 1\n"}, by="maria")
    assert told(hub) == []


def test_results_of_ci_for_our_branch_are_a_look_at_the_checks(hub: GitHubServer) -> None:
    repository = hub.repository("acme/Parcel")
    sha = repository.commit("sdlc/ACME-1-x", {"a.py": "x = 2\n"}, by="maria")
    told(hub)
    repository.status(sha, "ci/old", "pending", by="maria")
    repository.status(sha, "sdlc/security", "failure", by="bot")
    assert told(hub) == []
    repository.status(sha, "ci/old", "failure", by="maria")
    repository.actions(sha, by="maria", test=("failure", "log"))
    found = told(hub)
    assert {name for name, _ in found} == {"status", "check_run", "check_suite"}
    for _, one in found:
        assert (one.kind, one.branch, one.head_sha, one.number) == ("checks", "sdlc/ACME-1-x", sha, 0)


def test_a_run_of_github_actions_counts_when_it_has_ended() -> None:
    run = {"head_branch": "sdlc/ACME-1-x", "head_sha": SHA, "conclusion": "success"}
    assert github("workflow_run", about(action="requested", workflow_run=run)) is None
    found = github("workflow_run", about(action="completed", workflow_run=run))
    assert found is not None
    assert (found.kind, found.branch, found.head_sha) == ("checks", "sdlc/ACME-1-x", SHA)
    assert github("workflow_run", about(action="completed", workflow_run={**run, "head_branch": "main"})) is None


def test_checks_that_name_no_branch_are_known_by_their_head() -> None:
    suite = about(action="completed", check_suite={"head_branch": None, "head_sha": SHA})
    found = github("check_suite", suite)
    assert found is not None
    assert (found.branch, found.head_sha) == ("", SHA)
    # A status names ten branches at most: ours may be the eleventh.
    status = about(state="success", context="ci", sha=SHA, branches=[{"name": f"b{n}"} for n in range(10)])
    assert github("status", status) is not None
    assert github("status", {**status, "branches": status["branches"][:9]}) is None
    assert github("status", {**status, "branches": []}) is not None


def test_a_branch_of_ours_that_is_gone_has_no_head() -> None:
    found = github("push", about(ref="refs/heads/sdlc/ACME-1-x", after="0" * 40))
    assert found is not None
    assert (found.branch, found.head_sha) == ("sdlc/ACME-1-x", "")
    assert github("push", about(ref="refs/tags/sdlc/ACME-1-x", after=SHA)) is None


def test_what_we_did_ourselves_is_not_looked_at_unless_it_ends_a_pull_request() -> None:
    bot = GitHubScope(tracker=True, bot="SDLC-bot")
    ours = {"sender": {"login": "sdlc-Bot"}}
    comment = {"action": "created", "issue": {"number": 1}, "comment": {"id": 5}}
    assert github("issue_comment", about(**comment) | ours, bot) is None
    assert github("issue_comment", about(**comment), bot) is not None
    assert github("pull_request", pull(action="synchronize") | ours, bot) is None
    assert github("pull_request", pull(action="closed") | ours, bot) is not None
    assert github("pull_request_review", pull(action="submitted") | ours, bot) is None
    assert github("issues", about(action="assigned", issue={"number": 1}) | ours, bot) is None
    assert github("issues", about(action="labeled", issue={"number": 1}) | ours, bot) is not None
    # Who pushed is the sender of what CI says of it.
    suite = {"head_branch": "sdlc/ACME-1-x", "head_sha": SHA}
    assert github("check_suite", about(action="completed", check_suite=suite) | ours, bot) is not None


def test_only_repositories_are_ours_that_the_configuration_names() -> None:
    def scope(*repositories: str, issues: tuple[str, ...] = ()) -> GitHubScope:
        routes = tuple(RouteSettings(repository=one) for one in repositories)
        return GitHubScope.of(
            Settings(
                forge=ForgeSettings(kind="github"),
                tracker=TrackerSettings(kind="github"),
                github=GitHubSettings(issues=issues),
                intake=IntakeSettings(repositories=routes),
            )
        )

    assert scope().repositories is None
    assert scope("acme/one", "https://github.com/Acme/Two.git").repositories == frozenset({"acme/one", "acme/two"})
    assert scope("acme/one", issues=("acme/three",)).repositories == frozenset({"acme/one", "acme/three"})
    assert scope("acme/one", "/srv/checkout").repositories is None
    with pytest.raises(NotOurs):
        github("push", about(ref="refs/heads/sdlc/x", after=SHA), scope("acme/one"))
    assert github("issues", about(action="opened", issue={"number": 1}), scope("ACME/parcel")) is not None
    with pytest.raises(NotOurs):
        github("issues", about(action="opened", issue={"number": 1}), scope(issues=("acme/three",)))


def test_a_forge_elsewhere_makes_no_looks_at_pull_requests() -> None:
    only_issues = GitHubScope(tracker=True, forge=False)
    assert github("pull_request", pull(action="closed"), only_issues) is None
    on_pull = about(action="created", issue={"number": 7, "pull_request": {}}, comment={"id": 5})
    assert github("issue_comment", on_pull, only_issues) is None
    assert github("issues", about(action="opened", issue={"number": 1}), only_issues) is not None


def test_events_that_nobody_needs_are_ignored_wherever_they_come_from() -> None:
    for event in ("ping", "star", "installation", "", "issues\n", "x" * 10_000):
        assert github(event, {}, GitHubScope(repositories=frozenset({"acme/other"}))) is None
    assert github("pull_request", pull(action="review_requested")) is None
    assert github("issues", about(action="pinned", issue={"number": 1})) is None


@pytest.mark.parametrize(
    "guid", [None, "", "comment-5", GUID + "0", GUID[:-1], f"{GUID}\n", "g" + GUID[1:], "x" * 9_999]
)
def test_an_id_that_github_does_not_give_is_nonsense(guid: str | None) -> None:
    with pytest.raises(Nonsense, match="X-GitHub-Delivery"):
        github("pull_request", pull(action="closed"), guid=guid)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("push", {}),
        ("push", {"repository": {"full_name": "acme"}}),
        ("push", {"repository": {"full_name": "acme/par/cel"}}),
        ("push", {"repository": {"full_name": "acme/par cel"}}),
        ("push", about(ref="refs/heads/sdlc/x", after="HEAD")),
        ("push", about(ref=["x"], after=SHA)),
        ("issues", about(action="opened", issue={"number": "1"})),
        ("issues", about(action="opened", issue={"number": -1})),
        ("issues", about(action="opened", issue={"number": True})),
        ("issues", about(action="opened", issue={"number": 2**80})),
        ("issues", about(action={"a": 1}, issue={"number": 1})),
        ("pull_request", about(action="closed", pull_request={"number": 7})),
        ("check_run", about(action="completed", check_run={"head_sha": None})),
        ("status", about(state="success", context="ci", sha=SHA, branches=["x"])),
        ("issue_comment", about(action="created", issue={"number": 1}, comment={"id": 1.5})),
    ],
)
def test_what_github_would_not_send_is_nonsense(event: str, payload: dict[str, Any]) -> None:
    with pytest.raises(Nonsense) as caught:
        github(event, payload)
    assert "cel" not in str(caught.value)  # nothing of what was sent is echoed


# --- anything -----------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    sorted(
        {"acme/parcel", "ACME-1", "sdlc/x", "refs/heads/sdlc/x", "jira:issue_updated", "comment_created", "Key"}
        | {"issue_commented", "created", "completed", "closed", "opened", "submitted", "success"}
    )
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _WORDS | st.just(SHA),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = sorted(
    {"action", "after", "branches", "changelog", "check_run", "check_suite", "comment", "context", "field", "id", "ref"}
    | {"fromString", "full_name", "head", "head_branch", "head_sha", "issue", "issue_event_type_name", "items", "key"}
    | {"login", "name", "number", "pull_request", "repository", "sender", "sha", "state", "webhookEvent"}
    | {"workflow_run"}
)
_OBJECTS = st.recursive(
    st.fixed_dictionaries({}, optional=dict.fromkeys(_NAMES, _ANY)),
    lambda inner: st.fixed_dictionaries(
        {}, optional={name: _ANY | inner | st.lists(inner, max_size=2) for name in _NAMES}
    ),
    max_leaves=3,
)
_FINITE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELD = re.compile(r"[A-Za-z0-9._:/-]{0,250}", re.ASCII)


def is_bounded(delivery: Delivery | None) -> None:
    if delivery is not None:
        assert len(delivery.workflow_id) < 200
        assert re.fullmatch("[A-Za-z0-9._:-]+", delivery.workflow_id, re.ASCII)
        for value in (
            delivery.ticket_key,
            delivery.comment_id,
            delivery.repository,
            delivery.branch,
            delivery.head_sha,
        ):
            assert _FIELD.fullmatch(value)
        assert 0 <= delivery.number < 2**63


@given(_OBJECTS, st.none() | st.text() | st.just("abc"))
@at_most(max_examples=300, deadline=None)
def test_whatever_is_signed_for_jira_is_a_bounded_delivery_or_refused(
    payload: dict[str, Any], identifier: str | None
) -> None:
    with contextlib.suppress(Nonsense, NotOurs):
        is_bounded(jira(payload, identifier=identifier))


@given(
    st.sampled_from(sorted(_READERS)) | st.text(),
    _OBJECTS,
    st.booleans(),
    st.none() | st.text() | st.just(GUID),
)
@at_most(max_examples=500, deadline=None)
def test_whatever_is_signed_for_github_is_a_bounded_delivery_or_refused(
    event: str, payload: dict[str, Any], known: bool, guid: str | None
) -> None:
    if known:
        payload = {**payload, "repository": {"full_name": "acme/parcel"}}
    with contextlib.suppress(Nonsense, NotOurs):
        is_bounded(github(event, payload, guid=guid))


@given(st.binary() | st.text().map(str.encode) | _FINITE.map(lambda value: json.dumps(value).encode()))
@at_most(max_examples=300, deadline=None)
def test_any_bytes_are_an_object_or_nonsense(body: bytes) -> None:
    try:
        value = json.loads(body)
    except (ValueError, UnicodeDecodeError):
        value = None
    with contextlib.nullcontext() if isinstance(value, dict) else pytest.raises(Nonsense, match="JSON"):
        parsed(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b"\xff{}",
        "{}".encode("utf-16"),
    ],
)
def test_bombs_and_constants_beyond_json_are_nonsense(body: bytes) -> None:
    with pytest.raises(Nonsense):
        parsed(body)
