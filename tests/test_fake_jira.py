"""The fake Jira keeps what Atlassian documents: driven through the real `jira` client and by plain requests."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from jira import JIRA, JIRAError
from requests.structures import CaseInsensitiveDict

from tests.fakes import jira_text
from tests.fakes.faults import Fault, on
from tests.fakes.jira_jql import JqlError, Query, View
from tests.fakes.jira_server import CLOUD_ID, JiraServer, Webhook, strict_workflow
from tests.fakes.jira_state import CRITERIA, Flavour, Transition

TIMEOUT = (5, 10)
READY = "project = ACME AND labels = ai-ready AND assignee is EMPTY AND resolution = Unresolved ORDER BY rank"


@pytest.fixture(params=["cloud", "datacenter"])
def jira(request: pytest.FixtureRequest) -> Iterator[JiraServer]:
    yield from _served(request.param)


@pytest.fixture
def cloud() -> Iterator[JiraServer]:
    yield from _served("cloud")


@pytest.fixture
def center() -> Iterator[JiraServer]:
    yield from _served("datacenter")


def _served(flavour: Flavour) -> Iterator[JiraServer]:
    with JiraServer(flavour) as server:
        text = "h2. Why\n\nParcels get lost.\n\n* one\n** two\n\n{code:python}\nx = 1\n{code}"
        server.add_issue("ACME-1", "Parcels get lost", labels=["ai-ready"], description=text, sprints=[1])
        server.add_issue("ACME-2", "Labels are wrong", labels=["ai-ready"], priority="Highest")
        server.add_issue("ACME-3", "Tidy up", assignee="carol")
        server.add_issue("ACME-4", "Write it", parent="ACME-1", issuetype="Sub-task")
        yield server


def client(server: JiraServer, name: str = "bot", version: str = "2") -> JIRA:
    secret: dict[str, Any] = {"basic_auth": server.login(name)}
    if server.flavour == "datacenter":
        secret = {"token_auth": server.users[name].bearer}
    return JIRA(server.url, options={"rest_api_version": version}, timeout=TIMEOUT, max_retries=0, **secret)


def ask(
    server: JiraServer, method: str, path: str, body: Any = None, *, name: str = "bot", **query: Any
) -> requests.Response:
    version = "3" if server.flavour == "cloud" else "2"
    data = {} if method == "GET" else {"json": body}
    url = f"{server.url}/rest/api/{version}/{path}"
    return requests.request(method, url, params=query, auth=server.login(name), timeout=TIMEOUT, **data)


def document(*texts: str) -> dict[str, Any]:
    blocks = [{"type": "paragraph", "content": [{"type": "text", "text": text}]} for text in texts]
    return {"type": "doc", "version": 1, "content": blocks}


def rich(server: JiraServer, text: str) -> Any:
    return document(text) if server.flavour == "cloud" else text


def identity(server: JiraServer, name: str) -> dict[str, str]:
    return {"accountId": server.users[name].account_id} if server.flavour == "cloud" else {"name": name}


def move(server: JiraServer, key: str, status: str, name: str = "bot") -> int:
    (way,) = [way for way in server.workflow.transitions if way.to == status and way.leaves(server.issues[key].status)]
    return ask(server, "POST", f"issue/{key}/transitions", {"transition": {"id": way.id}}, name=name).status_code


def keys(answer: requests.Response) -> list[str]:
    return [issue["key"] for issue in answer.json()["issues"]]


def search(server: JiraServer, jql: str, **more: Any) -> requests.Response:
    path = "search/jql" if server.flavour == "cloud" else "search"
    return ask(server, "POST", path, {"jql": jql, "fields": ["summary"], **more})


# --- through the real client --------------------------------------------------------------------


def test_the_client_reads_claims_moves_and_comments(jira: JiraServer) -> None:
    api = client(jira)
    assert api._is_cloud == (jira.flavour == "cloud")
    found = api.search_issues(READY)
    assert [issue.key for issue in found] == ["ACME-1", "ACME-2"]

    issue = api.issue("ACME-1")
    assert str(issue.fields.description).startswith("h2. Why")
    assert [part.key for part in issue.fields.subtasks] == ["ACME-4"]
    me = api.myself()
    api.assign_issue(issue, me["accountId"] if jira.flavour == "cloud" else me["name"])
    offered = api.transitions(issue)
    (start,) = [way for way in offered if way["to"]["name"] == "In Progress"]
    assert start["to"]["statusCategory"]["key"] == "indeterminate"
    assert len(offered) == (4 if jira.flavour == "cloud" else 1)
    api.transition_issue(issue, start["id"])
    comment = api.add_comment(issue, "Taken up")
    comment.update(body="Taken up *again*")
    api.add_issue_property("ACME-1", "sdlc.run", {"run": "r1"})

    issue = api.issue("ACME-1", expand="changelog")
    assert (issue.fields.status.name, str(issue.fields.assignee)) == ("In Progress", "SDLC Bot")
    assert [made.body for made in api.comments(issue)] == ["Taken up *again*"]
    assert api.issue_property("ACME-1", "sdlc.run").value.run == "r1"
    assert issue.changelog.total == 2
    assert jira.comments("ACME-1")[0].author == "bot"
    assert jira.issues["ACME-1"].assignee == "bot"


def test_the_client_links_issues_and_pull_requests(jira: JiraServer) -> None:
    api = client(jira)
    api.create_issue_link("Blocks", inwardIssue="ACME-2", outwardIssue="ACME-1")
    (blocked,) = api.issue("ACME-1").fields.issuelinks
    assert (blocked.type.inward, blocked.inwardIssue.key) == ("is blocked by", "ACME-2")
    (blocks,) = api.issue("ACME-2").fields.issuelinks
    assert blocks.outwardIssue.key == "ACME-1"
    api.delete_issue_link(blocked.id)
    assert not jira.links

    shown = {"url": "https://forge.example/acme/parcel/pull/7", "title": "Pull request 7"}
    first = ask(jira, "POST", "issue/ACME-1/remotelink", {"globalId": "sdlc:r1", "object": shown})
    again = ask(
        jira, "POST", "issue/ACME-1/remotelink", {"globalId": "sdlc:r1", "object": {**shown, "title": "Merged"}}
    )
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    (link,) = api.remote_links("ACME-1")
    assert (link.object.title, link.globalId) == ("Merged", "sdlc:r1")
    assert ask(jira, "GET", "issue/ACME-1/remotelink", globalId="sdlc:r1").json()["object"]["title"] == "Merged"
    assert ask(jira, "GET", "issue/ACME-1/remotelink", globalId="other").status_code == 404
    assert "title" in ask(jira, "POST", "issue/ACME-1/remotelink", {"object": {"url": "x"}}).json()["errors"]


def test_the_client_makes_and_edits_issues(jira: JiraServer) -> None:
    api = client(jira)
    made = api.create_issue(project="ACME", summary="New", issuetype={"name": "Bug"}, description="What")
    made.update(fields={"labels": ["b", "a"]}, update={"priority": [{"set": {"name": "High"}}]})
    issue = jira.issues[made.key]
    assert (issue.labels, issue.priority, issue.reporter) == (["a", "b"], "High", "bot")
    wrong = ask(jira, "PUT", f"issue/{made.key}", {"fields": {"labels": ["a b"], "nothing": 1}})
    assert wrong.status_code == 400
    assert set(wrong.json()["errors"]) == {"labels", "nothing"}
    assert jira.issues[made.key].labels == ["a", "b"]
    added = ask(jira, "PUT", f"issue/{made.key}", {"update": {"labels": [{"add": "c"}, {"remove": "a"}]}})
    assert (added.status_code, jira.issues[made.key].labels) == (204, ["b", "c"])
    assert ask(jira, "DELETE", f"issue/{made.key}").status_code == 403
    jira.revoke("bot", "EDIT_ISSUES")
    refused = ask(jira, "PUT", f"issue/{made.key}", {"fields": {"summary": "Mine"}})
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["summary"])
    assert ask(jira, "PUT", f"issue/{made.key}/properties/p", {"a": 1}).status_code == 403


# --- what differs -------------------------------------------------------------------------------


def test_server_info_tells_the_flavours_apart_without_a_login(jira: JiraServer) -> None:
    info = requests.get(f"{jira.url}/rest/api/2/serverInfo", timeout=TIMEOUT).json()
    assert info["deploymentType"] == ("Cloud" if jira.flavour == "cloud" else "Server")
    assert len(info["versionNumbers"]) == 3
    third = requests.get(f"{jira.url}/rest/api/3/serverInfo", timeout=TIMEOUT)
    assert third.status_code == (200 if jira.flavour == "cloud" else 404)


def test_cloud_pages_by_token_and_gives_ids_unless_asked(cloud: JiraServer) -> None:
    first = ask(cloud, "GET", "search/jql", jql="project = ACME ORDER BY key", maxResults=3).json()
    assert set(first) == {"issues", "isLast", "nextPageToken"}
    assert all(set(issue) == {"id"} for issue in first["issues"])
    token = first["nextPageToken"]
    rest = ask(
        cloud, "GET", "search/jql", jql="project = ACME ORDER BY key", nextPageToken=token, fields="summary,status"
    )
    assert keys(rest) == ["ACME-4"]
    assert set(rest.json()["issues"][0]["fields"]) == {"summary", "status"}
    assert (rest.json()["isLast"], "nextPageToken" in rest.json()) == (True, False)
    assert ask(cloud, "GET", "search/jql", jql="project = ACME", nextPageToken=token).status_code == 400
    assert ask(cloud, "GET", "search", jql="project = ACME").status_code == 410
    assert "Unbounded" in ask(cloud, "GET", "search/jql", jql="ORDER BY key").json()["errorMessages"][0]
    assert ask(cloud, "POST", "search/jql", {"jql": "project = ACME", "startAt": 0}).status_code == 400
    cloud.page_cap = 2
    assert len(client(cloud).search_issues("project = ACME", maxResults=0)) == 4


def test_data_center_pages_by_start(center: JiraServer) -> None:
    page = ask(center, "GET", "search", jql="project = ACME ORDER BY key", startAt=1, maxResults=2)
    assert keys(page) == ["ACME-2", "ACME-3"]
    assert (page.json()["total"], page.json()["startAt"], page.json()["maxResults"]) == (4, 1, 2)
    assert "comment" not in page.json()["issues"][0]["fields"]
    assert ask(center, "GET", "search/jql", jql="project = ACME").status_code == 404
    assert len(client(center).search_issues("project = ACME", maxResults=0)) == 4


def test_text_is_a_document_on_version_3_and_markup_on_version_2(cloud: JiraServer) -> None:
    third = ask(cloud, "GET", "issue/ACME-1").json()["fields"]["description"]
    assert [block["type"] for block in third["content"]] == ["heading", "paragraph", "bulletList", "codeBlock"]
    assert third["content"][2]["content"][0]["content"][1]["type"] == "bulletList"
    assert jira_text.is_document(third)
    assert ask(cloud, "GET", "issue/ACME-2").json()["fields"]["description"] is None

    said = ask(cloud, "POST", "issue/ACME-1/comment", {"body": third})
    assert said.status_code == 201
    assert said.json()["body"] == third
    assert client(cloud).comments("ACME-1")[0].body == cloud.issues["ACME-1"].description
    refused = ask(cloud, "POST", "issue/ACME-1/comment", {"body": "plain"})
    assert (refused.status_code, refused.json()["errors"]) == (400, {"comment": "Comment body is not valid!"})


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "not in a paragraph"}],
        [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}],
        [{"type": "heading", "attrs": {"level": 7}, "content": []}],
        [{"type": "bulletList", "content": [{"type": "paragraph", "content": []}]}],
        [{"type": "bulletList", "content": []}],
        [{"type": "panel", "attrs": {"panelType": "loud"}, "content": [{"type": "paragraph"}]}],
        [
            {
                "type": "paragraph",
                "content": [{"type": "text", "text": "x", "marks": [{"type": "code"}, {"type": "strong"}]}],
            }
        ],
        [{"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "link", "attrs": {}}]}]}],
        [{"type": "codeBlock", "content": [{"type": "text", "text": "x", "marks": [{"type": "strong"}]}]}],
        [{"type": "taskList", "content": []}],
        [{"type": "unheardOf"}],
    ],
)
def test_a_document_that_cloud_refuses(cloud: JiraServer, content: list[Any]) -> None:
    body = {"type": "doc", "version": 1, "content": content}
    refused = ask(cloud, "POST", "issue/ACME-1/comment", {"body": body})
    assert (refused.status_code, refused.json()["errorMessages"]) == (400, ["INVALID_INPUT"])
    assert not cloud.comments("ACME-1")


def test_text_has_a_limit(jira: JiraServer) -> None:
    long = ask(jira, "POST", "issue/ACME-1/comment", {"body": rich(jira, "x" * 32_768)})
    assert long.status_code == 400
    assert ask(jira, "POST", "issue/ACME-1/comment", {"body": rich(jira, "x" * 32_000)}).status_code == 201
    assert (
        ask(jira, "POST", "issue/ACME-1/comment", {"body": "" if jira.flavour != "cloud" else None}).status_code == 400
    )
    jira.add_issue("ACME-9", "Huge", description="y" * 1_000_000)
    assert len(json.dumps(ask(jira, "GET", "issue/ACME-9").json())) > 1_000_000


def test_people_are_named_differently(jira: JiraServer) -> None:
    cloud = jira.flavour == "cloud"
    query = {"query": "alice@acme"} if cloud else {"username": "ali"}
    (alice,) = ask(jira, "GET", "user/search", **query).json()
    assert alice["displayName"] == "Alice Archer"
    assert ("accountId" in alice, "name" in alice, "emailAddress" in alice) == (cloud, not cloud, not cloud)
    assert ask(jira, "GET", "user/search").status_code == 400
    whole = ask(
        jira, "GET", "user", expand="groups", **({"accountId": alice["accountId"]} if cloud else {"username": "alice"})
    )
    assert [group["name"] for group in whole.json()["groups"]["items"]] == ["jira-software-users", "developers"]
    members = ask(jira, "GET", "group/member", groupname="developers", name="bot" if cloud else "root").json()
    assert [user["displayName"] for user in members["values"]] == ["Alice Archer", "Bob Baker"]
    assert (members["total"], members["isLast"]) == (2, True)
    if not cloud:
        assert ask(jira, "GET", "group/member", groupname="developers").status_code == 403
        sprint = ask(jira, "GET", "issue/ACME-1").json()["fields"]["customfield_10020"][0]
        assert "state=ACTIVE" in sprint
    else:
        assert ask(jira, "GET", "user/groups", accountId=alice["accountId"]).json()[1]["name"] == "developers"
        assert ask(jira, "GET", "user/search", username="alice").status_code == 400
        assert ask(jira, "GET", "issue/ACME-1").json()["fields"]["customfield_10020"][0]["state"] == "active"


# --- JQL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jql", "expected"),
    [
        (READY, ["ACME-1", "ACME-2"]),
        ("project = ACME ORDER BY priority DESC, key ASC", ["ACME-2", "ACME-1", "ACME-3", "ACME-4"]),
        ("project = 'Acme Parcel' AND sprint in openSprints()", ["ACME-1"]),
        ("sprint is EMPTY AND sprint not in openSprints() ORDER BY key", []),
        ("key in (ACME-3, acme-1) ORDER BY key DESC", ["ACME-3", "ACME-1"]),
        ("parent = ACME-1", ["ACME-4"]),
        ("issuetype in subTaskIssueTypes() OR issuetype = Bug", ["ACME-4"]),
        ("issuetype = Sub-task", ["ACME-4"]),
        ("assignee != carol", []),
        ("NOT assignee = carol", []),
        ("assignee is not EMPTY", ["ACME-3"]),
        ("assignee in (carol, EMPTY) AND labels = ai-ready ORDER BY key", ["ACME-1", "ACME-2"]),
        ("NOT (labels = ai-ready OR key = ACME-4) ORDER BY key", []),
        ("labels is EMPTY AND NOT (key = ACME-4 AND status = Done) ORDER BY key", ["ACME-3", "ACME-4"]),
        ('statusCategory = "To Do" && (priority > Medium || assignee = carol) ORDER BY rank', ["ACME-2", "ACME-3"]),
        ("statusCategory != Done AND summary ~ 'lost'", ["ACME-1"]),
        ("created >= -1h AND created < now() AND key = ACME-1", ["ACME-1"]),
        ("labels in (ai-ready) ORDER BY created DESC", ["ACME-2", "ACME-1"]),
        ("assignee = currentUser()", []),
        ("assignee in membersOf(developers)", []),
    ],
)
def test_jql(jira: JiraServer, jql: str, expected: list[str]) -> None:
    if jira.flavour == "cloud":
        jql = jql.replace("carol", f'"{jira.users["carol"].account_id}"')
    answer = search(jira, jql)
    assert answer.status_code == 200, answer.text
    assert keys(answer) == expected


@pytest.mark.parametrize(
    ("jql", "message"),
    [
        ("project = ACME AND", "Expecting a field name at the end of the query."),
        ("project = ACME labels = x", "Expecting either 'OR' or 'AND' but got 'labels'. (line 1, character 16)"),
        ("project ACME", "Expecting operator but got 'ACME'."),
        ("project = (ACME", "Expecting"),
        ("(project = ACME", "Expecting ')' at the end of the query."),
        ("summary ~ 'open", "The quoted string 'open' has not been completed."),
        ("project = ACME?", "The character '?' is a reserved JQL character."),
        ("project = ACME ORDER rank", "Expecting 'BY' but got 'rank'."),
        ("project = null and order = 1", "reserved JQL word"),
        ("teapot = 1", "Field 'teapot' does not exist or you do not have permission to view it."),
        ("project = NONE", "The value 'NONE' does not exist for the field 'project'."),
        ("status = Brewing", "The value 'Brewing' does not exist for the field 'status'."),
        ("assignee = nobody", "The value 'nobody' does not exist for the field 'assignee'."),
        ("key = ACME-99", "An issue with key 'ACME-99' does not exist for field 'key'."),
        ("sprint in openSprint()", "Unable to find JQL function 'openSprint()'."),
        ("labels ~ x", "The operator '~' is not supported by the 'labels' field."),
        ("created > soon", "Date value 'soon' for field 'created' is invalid."),
        ("labels = x ORDER BY teapot", "Not able to sort using field 'teapot'."),
        ("assignee is carol", "EMPTY"),
    ],
)
def test_jql_that_is_wrong(jira: JiraServer, jql: str, message: str) -> None:
    answer = search(jira, jql)
    assert answer.status_code == 400
    assert message in answer.json()["errorMessages"][0]
    with pytest.raises(JIRAError) as caught:
        client(jira).search_issues(jql)
    assert caught.value.status_code == 400


def test_jql_names_all_that_is_wrong(jira: JiraServer) -> None:
    with pytest.raises(JqlError) as caught:
        Query("teapot = 1 AND project = NONE").select(View(jira.state, jira.state.data, jira.users["bot"]), [])
    assert len(caught.value.args) == 2


# --- workflow, assigning, comments --------------------------------------------------------------


def test_transitions_with_required_fields_and_ones_that_are_not_allowed(jira: JiraServer) -> None:
    jira.workflow = strict_workflow()
    finish = next(way for way in jira.workflow.transitions if way.name == "Finish")
    finish.required, finish.screen = (CRITERIA,), ("resolution",)

    def go(number: Any, **fields: Any) -> requests.Response:
        return ask(jira, "POST", "issue/ACME-1/transitions", {"transition": {"id": number}, "fields": fields})

    assert go("41").status_code == 400  # not from To Do
    assert "not valid for the current state" in go("41").json()["errorMessages"][0]
    assert go("99").json()["errorMessages"] == ["Transition id '99' is not valid for this issue."]
    assert go("x").json()["errorMessages"] == ["'transition' identifier must be an integer"]
    assert go("11").status_code == 204
    assert go("11").status_code == 400
    (shown,) = ask(jira, "GET", "issue/ACME-1/transitions", expand="transitions.fields", transitionId="41").json()[
        "transitions"
    ]
    assert {name: field["required"] for name, field in shown["fields"].items()} == {"resolution": False, CRITERIA: True}
    assert go("41").json()["errors"] == {CRITERIA: "Acceptance Criteria is required."}
    assert set(go("41", summary="x").json()["errors"]) == {"summary"}
    assert jira.issues["ACME-1"].status == "In Progress"
    assert go(41, resolution={"name": "Won't Do"}, **{CRITERIA: rich(jira, "works")}).status_code == 204
    assert (jira.issues["ACME-1"].status, jira.issues["ACME-1"].resolution) == ("Done", "Won't Do")
    assert go(61).status_code == 204
    assert jira.issues["ACME-1"].resolution is None
    jira.workflow.transitions.append(Transition("71", "Boss only", "Done", allowed=frozenset({"root"})))
    offered = ask(jira, "GET", "issue/ACME-1/transitions").json()["transitions"]
    assert [way["id"] for way in offered] == ["11"]


def test_assigning(jira: JiraServer) -> None:
    def assign(value: Any) -> requests.Response:
        return ask(jira, "PUT", "issue/ACME-2/assignee", value)

    assert assign(identity(jira, "bot")).status_code == 204
    assert jira.issues["ACME-2"].assignee == "bot"
    nobody = {next(iter(identity(jira, "bot"))): None}
    assert assign(nobody).status_code == 204
    assert jira.issues["ACME-2"].assignee is None
    stranger = {next(iter(identity(jira, "bot"))): "stranger"}
    assert (assign(stranger).status_code, "assignee" in assign(stranger).json()["errors"]) == (400, True)
    other = {"name": "bob"} if jira.flavour == "cloud" else {"accountId": "557058:bob"}
    assert assign(other).status_code == 400
    jira.revoke("carol", "ASSIGNABLE_USER")
    assert "cannot be assigned" in assign(identity(jira, "carol")).json()["errors"]["assignee"]
    jira.revoke("bot", "ASSIGN_ISSUES")
    assert assign(identity(jira, "bot")).status_code == 403
    assert jira.issues["ACME-2"].assignee is None


def test_comments_have_pages_properties_and_owners(jira: JiraServer) -> None:
    mark = [{"key": "sdlc.marker", "value": {"run": "r1", "topic": "claim"}}]
    made = ask(jira, "POST", "issue/ACME-1/comment", {"body": rich(jira, "one"), "properties": mark}).json()
    for text in ("two", "three"):
        jira.comment_as("alice", "ACME-1", text)
    page = ask(
        jira, "GET", "issue/ACME-1/comment", startAt=1, maxResults=1, orderBy="-created", expand="properties"
    ).json()
    assert (page["total"], page["startAt"], page["maxResults"]) == (3, 1, 1)
    assert page["comments"][0]["author"]["displayName"] == "Alice Archer"
    last = ask(jira, "GET", "issue/ACME-1/comment", orderBy="-created", startAt=2, expand="properties").json()
    assert last["comments"][0]["properties"] == mark
    assert "properties" not in ask(jira, "GET", "issue/ACME-1/comment").json()["comments"][0]

    place = f"comment/{made['id']}/properties/other"
    assert [ask(jira, "PUT", place, {"a": 1}).status_code for _ in range(2)] == [201, 200]
    assert ask(jira, "GET", place).json() == {"key": "other", "value": {"a": 1}}
    assert ask(jira, "DELETE", place).status_code == 204
    assert ask(jira, "GET", place).status_code == 404

    theirs = jira.comments("ACME-1")[1].id
    assert ask(jira, "PUT", f"issue/ACME-1/comment/{theirs}", {"body": rich(jira, "mine")}).status_code == 400
    assert ask(jira, "DELETE", f"issue/ACME-1/comment/{made['id']}").status_code == 204
    gone = ask(jira, "GET", f"issue/ACME-1/comment/{made['id']}")
    assert gone.json()["errorMessages"] == [f"Can not find a comment for the id: {made['id']}."]
    jira.revoke("bot", "ADD_COMMENTS")
    assert ask(jira, "POST", "issue/ACME-1/comment", {"body": rich(jira, "x")}).status_code in (400, 403)
    assert len(jira.comments("ACME-1")) == 2


def test_an_issue_that_was_moved_deleted_or_hidden(jira: JiraServer) -> None:
    new = jira.rekey_as("alice", "ACME-2", "ZED")
    assert ask(jira, "GET", "issue/ACME-2", fields="summary").json()["key"] == new == "ZED-1"
    assert keys(search(jira, "key = ACME-2")) == ["ZED-1"]
    jira.issues["ACME-3"].hidden_from.add("bot")
    hidden, absent = ask(jira, "GET", "issue/ACME-3"), ask(jira, "GET", "issue/ACME-77")
    assert (hidden.status_code, hidden.json()) == (absent.status_code, absent.json())
    assert "ACME-3" not in keys(search(jira, "project = ACME"))
    jira.delete_as("alice", "ACME-1")
    assert ask(jira, "GET", "issue/ACME-1").status_code == 404
    with pytest.raises(JIRAError) as caught:
        client(jira).issue("ACME-1")
    assert caught.value.status_code == 404
    jira.revoke("bot", "BROWSE_PROJECTS")
    assert ask(jira, "GET", f"issue/{new}").status_code == 404
    assert ask(jira, "GET", "project/ACME").status_code == 404


def test_attachments_fields_and_permissions_are_told(jira: JiraServer) -> None:
    jira.add_attachment("ACME-1", "drawing one.png")
    jira.issues["ACME-1"].custom[CRITERIA] = "* it works"
    fields = ask(jira, "GET", "issue/ACME-1", fields="*all,-comment").json()["fields"]
    assert [entry["filename"] for entry in fields["attachment"]] == ["drawing one.png"]
    assert "comment" not in fields
    named = {entry["name"]: entry["id"] for entry in ask(jira, "GET", "field").json()}
    assert fields[named["Acceptance Criteria"]] == (
        jira_text.from_wiki("* it works") if jira.flavour == "cloud" else "* it works"
    )
    jira.revoke("bot", "TRANSITION_ISSUES")
    told = ask(jira, "GET", "mypermissions", projectKey="ACME", permissions="BROWSE_PROJECTS,TRANSITION_ISSUES").json()
    assert told["permissions"]["BROWSE_PROJECTS"]["havePermission"]
    assert not told["permissions"]["TRANSITION_ISSUES"]["havePermission"]
    assert ask(jira, "GET", "issue/ACME-1/transitions").json()["transitions"] == []
    assert ask(jira, "GET", "mypermissions").status_code == (400 if jira.flavour == "cloud" else 200)


# --- the door -----------------------------------------------------------------------------------


def test_a_wrong_secret_is_refused(jira: JiraServer) -> None:
    login = jira.login()[0]
    answer = requests.get(f"{jira.url}/rest/api/2/myself", auth=(login, "wrong"), timeout=TIMEOUT)
    assert answer.status_code == 401
    assert answer.headers["X-Seraph-LoginReason"] == "AUTHENTICATED_FAILED"
    assert answer.headers["WWW-Authenticate"].startswith("OAuth realm=")
    assert requests.get(f"{jira.url}/rest/api/2/myself", timeout=TIMEOUT).status_code == 401
    anonymous = requests.get(f"{jira.url}/rest/api/2/issue/ACME-1", timeout=TIMEOUT)
    assert anonymous.status_code == (404 if jira.flavour == "cloud" else 401)
    bearer = {"Authorization": "Bearer wrong"}
    status = requests.get(f"{jira.url}/rest/api/2/myself", headers=bearer, timeout=TIMEOUT).status_code
    assert status == (403 if jira.flavour == "cloud" else 401)
    assert not jira.changes()


def test_data_center_asks_for_a_captcha_after_wrong_passwords(center: JiraServer) -> None:
    url = f"{center.url}/rest/api/2/myself"
    statuses = [requests.get(url, auth=("bot", "wrong"), timeout=TIMEOUT).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 403]
    right = requests.get(url, auth=center.login(), timeout=TIMEOUT)
    assert right.headers["X-Authentication-Denied-Reason"].startswith("CAPTCHA_CHALLENGE")
    assert requests.get(url, headers={"Authorization": "Bearer bot-bearer"}, timeout=TIMEOUT).status_code == 200


def test_cloud_takes_oauth_tokens_at_the_gateway_only(cloud: JiraServer) -> None:
    headers = {"Authorization": "Bearer bot-bearer"}
    assert requests.get(f"{cloud.url}/_edge/tenant_info", timeout=TIMEOUT).json() == {"cloudId": CLOUD_ID}
    (site,) = requests.get(f"{cloud.url}/oauth/token/accessible-resources", headers=headers, timeout=TIMEOUT).json()
    assert (site["id"], site["url"]) == (CLOUD_ID, cloud.url)
    assert requests.get(f"{cloud.url}/rest/api/3/myself", headers=headers, timeout=TIMEOUT).status_code == 403
    api = JIRA(cloud.oauth_url, token_auth="bot-bearer", timeout=TIMEOUT, max_retries=0)
    issue = api.issue("ACME-1")
    assert issue.self.startswith(cloud.oauth_url)
    issue.update(summary="By OAuth")
    cloud.users["bot"].scopes = ("read:jira-work",)
    assert api.issue("ACME-1").fields.summary == "By OAuth"
    with pytest.raises(JIRAError, match="scope does not match"):
        api.add_comment("ACME-1", "x")
    with pytest.raises(JIRAError, match="scope does not match"):
        api.myself()
    assert not cloud.comments("ACME-1")


def test_cloud_may_take_a_wrong_token_for_nobody(cloud: JiraServer) -> None:
    cloud.door.lenient = True
    url = f"{cloud.url}/rest/api/3/search/jql"
    found = requests.get(url, params={"jql": "labels = ai-ready"}, auth=("bot@acme.example", "old"), timeout=TIMEOUT)
    assert (found.status_code, found.json()["issues"]) == (200, [])


@pytest.mark.parametrize("as_date", [False, True])
def test_rate_limits(jira: JiraServer, as_date: bool) -> None:
    jira.limit(2, 1.0, as_date=as_date)
    answers = [ask(jira, "GET", "myself") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    told = answers[2].headers["Retry-After"]
    assert parsedate_to_datetime(told) if as_date else int(told) == 1
    assert ask(jira, "GET", "myself", name="alice").status_code == 200
    deadline = time.monotonic() + 5
    while ask(jira, "GET", "myself").status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_not_json_or_not_there(jira: JiraServer) -> None:
    url, auth = f"{jira.url}/rest/api/2/issue/ACME-1/comment", jira.login()
    form = requests.post(url, data={"body": "x"}, auth=auth, timeout=TIMEOUT)
    assert form.status_code == 415
    broken = requests.post(url, data="{", headers={"Content-Type": "application/json"}, auth=auth, timeout=TIMEOUT)
    assert broken.status_code == 400
    assert ask(jira, "GET", "teapot").status_code == 404
    assert ask(jira, "PUT", "myself", {}).status_code == 405
    assert requests.get(f"{jira.url}/elsewhere", auth=auth, timeout=TIMEOUT).status_code == 404
    assert not jira.changes()


# --- faults -------------------------------------------------------------------------------------

COMMENT = on("POST", "/comment")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 502, 503])
def test_a_status_before_or_after_the_effect(jira: JiraServer, status: int, after: bool) -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"} if status == 429 else {}
    jira.fail(Fault("status", status=status, headers=headers, where=COMMENT, after=after, message="No luck"))
    with pytest.raises(JIRAError) as caught:
        client(jira).add_comment("ACME-1", "once")
    assert caught.value.status_code == status
    assert caught.value.response is not None
    assert caught.value.response.headers.get("Retry-After") == headers.get("Retry-After")
    assert len(jira.comments("ACME-1")) == int(after)
    assert jira.requests[-1].effect == after
    client(jira).add_comment("ACME-1", "twice")
    assert len(jira.comments("ACME-1")) == 1 + int(after)
    assert (jira.faults.waiting, len(jira.faults.taken)) == (0, 1)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["reset", "hang"])
def test_a_connection_that_is_cut_or_hangs(jira: JiraServer, kind: Any, after: bool) -> None:
    api = client(jira)
    api._session.timeout = (2, 0.3)
    jira.fail(Fault(kind, where=COMMENT, after=after))
    with pytest.raises((requests.ConnectionError, requests.Timeout)):
        api.add_comment("ACME-1", "once")
    assert len(jira.comments("ACME-1")) == int(after)
    assert api.issue("ACME-1").key == "ACME-1"


def test_slow_and_secondary(jira: JiraServer) -> None:
    jira.fail(Fault("slow", seconds=0.3, where=COMMENT))
    begun = time.monotonic()
    client(jira).add_comment("ACME-1", "late")
    assert time.monotonic() - begun >= 0.3
    jira.fail(Fault("secondary", where=COMMENT))
    answer = ask(jira, "POST", "issue/ACME-1/comment", {"body": rich(jira, "x")})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert len(jira.comments("ACME-1")) == 1


def test_a_stale_read_shows_what_was(jira: JiraServer) -> None:
    move(jira, "ACME-1", "In Progress")
    jira.fail(Fault("stale", where=on("GET", "/issue/ACME-1")))
    jira.fail(Fault("stale", where=on("POST", "/search")))

    def status() -> str:
        return str(ask(jira, "GET", "issue/ACME-1", fields="status").json()["fields"]["status"]["name"])

    assert [status(), status()] == ["To Do", "In Progress"]
    assert len(keys(search(jira, "status = 'To Do'"))) == 4
    assert len(keys(search(jira, "status = 'To Do'"))) == 3


def test_the_search_index_may_lag(cloud: JiraServer) -> None:
    cloud.search_lag = 30
    cloud.edit_as("alice", "ACME-3", labels=["ai-ready"])
    issue = cloud.issues["ACME-3"]
    assert "ACME-3" not in keys(search(cloud, "labels = ai-ready"))
    assert ask(cloud, "GET", "issue/ACME-3").json()["fields"]["labels"] == ["ai-ready"]
    assert "ACME-3" in keys(search(cloud, "labels = ai-ready", reconcileIssues=[int(issue.id)]))


# --- webhooks -----------------------------------------------------------------------------------


class Receiver:
    """Takes webhooks; answers with what `answers` has next, else 202."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/jira"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def _events(jira: JiraServer, receiver: Receiver) -> list[dict[str, Any]]:
    jira.sender.settle()
    return [json.loads(body) for _, _, body in receiver.got]


def test_webhooks_are_signed_over_the_raw_body(jira: JiraServer, receiver: Receiver) -> None:
    jira.webhooks.append(Webhook(receiver.url, secret="It's a Secret to Everybody"))
    ask(jira, "POST", "issue/ACME-1/comment", {"body": rich(jira, "/sdlc start")}, name="alice")
    events = _events(jira, receiver)
    path, sent, body = receiver.got[0]
    headers = CaseInsensitiveDict(sent)
    expected = hmac.new(b"It's a Secret to Everybody", body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature"] == f"sha256={expected}"
    assert headers["X-Atlassian-Webhook-Identifier"]
    assert events[0]["webhookEvent"] == "comment_created"
    assert events[0]["comment"]["body"] == "/sdlc start"  # markup on Cloud too
    assert events[-1]["issue"]["key"] == "ACME-1"
    assert events[0]["comment"]["author"]["displayName"] == "Alice Archer"
    if jira.flavour == "cloud":
        assert len(events) == 1
    else:
        assert "user_id=alice" in path
        assert events[1]["issue_event_type_name"] == "issue_commented"


def test_webhooks_tell_what_changed_and_filter(jira: JiraServer, receiver: Receiver) -> None:
    jira.webhooks.append(Webhook(receiver.url, events=("jira:issue_updated",), jql="labels = ai-ready"))
    jira.move_as("bob", "ACME-1", "In Progress")
    jira.move_as("bob", "ACME-3", "In Progress")
    client(jira).assign_issue("ACME-2", "bob" if jira.flavour != "cloud" else jira.users["bob"].account_id)
    moved, assigned = _events(jira, receiver)
    (item,) = moved["changelog"]["items"]
    assert (item["field"], item["fromString"], item["toString"]) == ("status", "To Do", "In Progress")
    assert moved["user"]["displayName"] == "Bob Baker"
    assert (assigned["issue"]["key"], assigned["issue_event_type_name"]) == ("ACME-2", "issue_assigned")
    assert "X-Hub-Signature" not in CaseInsensitiveDict(receiver.got[0][1])
    assert jira.issues["ACME-1"].status == "In Progress"


def test_webhooks_are_repeated_with_the_same_identifier(jira: JiraServer, receiver: Receiver) -> None:
    jira.webhooks.append(Webhook(receiver.url, secret="s", events=("comment_created",)))
    jira.sender.pause = 0.01
    receiver.answers = [503]
    jira.comment_as("alice", "ACME-1", "hello")
    jira.sender.settle()
    jira.sender.redeliver(jira.deliveries[0])
    jira.sender.settle()
    seen = [CaseInsensitiveDict(headers) for _, headers, _ in receiver.got]
    assert len({headers["X-Atlassian-Webhook-Identifier"] for headers in seen}) == 1
    assert [headers.get("X-Atlassian-Webhook-Retry") for headers in seen] == [None, "1", "2"]
    assert len({body for _, _, body in receiver.got}) == 1
    receiver.answers = [401]
    jira.comment_as("alice", "ACME-1", "again")
    jira.sender.settle()
    assert (jira.deliveries[1].status, jira.deliveries[1].tries) == (401, 1)


def test_a_fault_after_the_effect_still_tells(jira: JiraServer, receiver: Receiver) -> None:
    jira.webhooks.append(Webhook(receiver.url, events=("comment_created",)))
    jira.fail(Fault("reset", where=COMMENT, after=True))
    with pytest.raises(requests.ConnectionError):
        client(jira).add_comment("ACME-1", "once")
    assert len(_events(jira, receiver)) == 1


# --- the whole ----------------------------------------------------------------------------------


def _claim_together(jira: JiraServer) -> list[int]:
    statuses: list[int] = []
    way = next(way.id for way in jira.workflow.transitions if way.to == "In Progress")

    def claim(name: str) -> None:
        answer = ask(jira, "POST", "issue/ACME-2/transitions", {"transition": {"id": way}}, name=name)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=claim, args=(name,)) for name in ("bot", "alice")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return sorted(statuses)


def test_two_who_move_an_issue_at_once_both_succeed_where_the_workflow_lets_them(jira: JiraServer) -> None:
    assert _claim_together(jira) == ([204, 204] if jira.flavour == "cloud" else [204, 400])
    assert len(jira.issues["ACME-2"].history) == 1
    assert len(jira.changes("/transitions")) == (2 if jira.flavour == "cloud" else 1)


def test_errors_are_worded_in_the_language_of_the_account(jira: JiraServer) -> None:
    jira.translate = lambda message: f"Malheureusement: {message}"
    assert ask(jira, "GET", "issue/ACME-99").json()["errorMessages"][0].startswith("Malheureusement")


async def test_it_stops_and_starts_again_with_what_it_knew() -> None:
    server = JiraServer("cloud")
    async with server as jira:
        jira.add_issue("ACME-1", "Stays")
        jira.fail(Fault("hang"))
        url = jira.url
        with pytest.raises(requests.Timeout):
            requests.get(f"{url}/rest/api/3/serverInfo", timeout=(2, 0.2))
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/rest/api/3/serverInfo", timeout=TIMEOUT)
    async with server as jira:
        assert jira.url == url
        assert ask(jira, "GET", "issue/ACME-1").status_code == 200
