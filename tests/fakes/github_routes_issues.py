"""The API of the fake GitHub: issues, labels, comments, assignees, what became of issues, members of teams.

What people do beyond `FakeRepository`: `delete_issue`, `transfer_issue`, `block`, `add_team`.
"""

from __future__ import annotations

import json

from tests.fakes import github_errors as errors
from tests.fakes.github_call import Answer, Call, Params, Routes
from tests.fakes.github_errors import ApiError
from tests.fakes.github_people import FakeRepository
from tests.fakes.github_routes_pulls import ordered
from tests.fakes.github_shapes import node_id
from tests.fakes.github_state import Comment, Issue, Json, Label, Repo, State

R = "/repos/{owner}/{repo}"
I = f"{R}/issues/{{issue_number}}"  # noqa: E741 - the letter of its kind


_EVENTS = ("labeled", "unlabeled", "assigned", "unassigned", "closed", "reopened")


def add_to(routes: Routes) -> None:
    _comments(routes)
    _issues(routes)
    _labels(routes)
    _assignees(routes)
    _history(routes)
    _teams(routes)


# --- what people do -------------------------------------------------------------------------------


def delete_issue(repository: FakeRepository, number: int) -> None:
    """Delete an issue for good: GitHub says so."""
    del repository.issues[number]
    _gone(repository.state)[number] = ""


def transfer_issue(repository: FakeRepository, number: int, target: FakeRepository) -> int:
    """Move an issue to another repository; its number there. Labels stay where the target has them."""
    issue = repository.issues.pop(number)
    issue.number = max(target.issues, default=0) + 1
    issue.labels = [name for name in issue.labels if name.lower() in target.state.labels]
    target.issues[issue.number] = issue
    _gone(repository.state)[number] = f"/repos/{target.state.full_name}/issues/{issue.number}"
    return issue.number


def block(repository: FakeRepository, number: int, by: int) -> None:
    """Let an issue wait for another of the repository."""
    _blockers(repository.state).setdefault(number, []).append(by)


def add_team(state: State, organisation: str, slug: str, **members: str) -> None:
    """A team and its members: login → `active`, or `pending` for who was invited."""
    teams: dict[str, dict[str, str]] = vars(state.account(organisation)).setdefault("teams", {})
    teams[slug] = dict(members)


def _gone(repo: Repo) -> dict[int, str]:
    """Number → where it is now; "" for nowhere."""
    found: dict[int, str] = vars(repo).setdefault("gone_issues", {})
    return found


def _blockers(repo: Repo) -> dict[int, list[int]]:
    found: dict[int, list[int]] = vars(repo).setdefault("blocked_by", {})
    return found


# --- the API --------------------------------------------------------------------------------------


def _permission(repo: Repo, number: int) -> str:
    """What is an issue is reached by the one, what is a pull request by the other."""
    return "pull_requests" if number in repo.pulls else "issues"


def _issue(call: Call, params: Params, wanted: str = "read", level: str = "read") -> tuple[Repo, Issue]:
    number = int(params["issue_number"])
    seen = call.state.find_repository(f"{params['owner']}/{params['repo']}")
    permission = _permission(seen, number) if seen else "issues"
    if permission == "pull_requests" and call.token.permissions.get("issues"):
        permission = "issues"
    repo = call.repo(params, permission, wanted, level)
    if (place := _gone(repo).get(number)) is not None:
        if not place:
            raise ApiError(410, "This issue was deleted")
        raise ApiError(301, "Moved Permanently", headers={"Location": call.shapes.root + place})
    return repo, repo.issue(number)


def _issues(routes: Routes) -> None:
    @routes.add("GET", f"{R}/issues")
    def issues(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "issues")
        query = call.query
        state = query.get("state") or "open"
        wanted = [name.lower() for name in (query.get("labels") or "").split(",") if name]
        assignee = (query.get("assignee") or "").lower()
        found = [
            issue
            for issue in repo.issues.values()
            if state in ("all", issue.state)
            and set(wanted) <= {name.lower() for name in issue.labels}
            and _assigned(issue, assignee)
            and (not query.get("creator") or issue.login.lower() == query["creator"].lower())
            and (not query.get("since") or issue.updated >= query["since"])
        ]
        return call.listed(ordered(call, found, lambda issue: issue), lambda issue: call.shapes.issue(repo, issue))

    @routes.add("POST", f"{R}/issues")
    def make(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "issues", "write")
        if not repo.has_issues:
            raise ApiError(410, "Issues are disabled for this repo")
        title = call.text("title")
        issue = call.hub.add_issue(repo, title, call.optional("body"), call.login)
        call.hub.announce(repo, issue, "opened", call.login)
        # Who may not write gives labels and assignees in vain.
        if call.token.kind == "installation" or call.state.at_least(call.login, repo, "triage"):
            call.hub.set_labels(repo, issue, call.names("labels"), call.login)
            call.hub.assign(repo, issue, call.names("assignees"), call.login)
        shown = call.shapes.issue(repo, issue)
        return Answer(201, shown, {"Location": shown["url"]})

    @routes.add("GET", I)
    def issue(call: Call, params: Params) -> Answer:
        repo, found = _issue(call, params)
        return Answer(200, call.shapes.issue(repo, found))

    @routes.add("PATCH", I)
    def edit(call: Call, params: Params) -> Answer:
        repo, found = _issue(call, params, "write")
        if found.login != call.login and call.token.kind != "installation":
            call.hub.may(call.token, repo, "issues", "write", "triage")
        state = call.choice("state", ("open", "closed"))
        call.hub.edit_issue(repo, found, call.optional("title"), call.optional("body"), call.login)
        if "labels" in call.body:
            call.hub.set_labels(repo, found, call.names("labels"), call.login)
        if "assignees" in call.body:
            call.hub.assign(repo, found, call.names("assignees", "login"), call.login)
        if state == "closed":
            call.hub.close_issue(repo, found, call.login, call.optional("state_reason"))
        elif state == "open":
            call.hub.reopen_issue(repo, found, call.login)
        return Answer(200, call.shapes.issue(repo, found))


def _assigned(issue: Issue, assignee: str) -> bool:
    if not assignee:
        return True
    if assignee in ("none", "*"):
        return bool(issue.assignees) == (assignee == "*")
    return assignee in {login.lower() for login in issue.assignees}


def _labels(routes: Routes) -> None:
    @routes.add("GET", f"{R}/labels")
    def labels(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "issues")
        return call.listed(list(repo.labels.values()), lambda label: call.shapes.label(repo, label))

    @routes.add("POST", f"{R}/labels")
    def make(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "issues", "write", "write")
        name = call.text("name")
        if name.lower() in repo.labels:
            raise errors.invalid("Label", code="already_exists", field="name")
        label: Label = call.hub.label(repo, name)
        label.color = (call.optional("color") or label.color).lstrip("#")
        label.description = call.optional("description")
        shown = call.shapes.label(repo, label)
        return Answer(201, shown, {"Location": shown["url"]})

    @routes.add("GET", f"{R}/labels/{{name}}")
    def label(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "issues")
        found = repo.labels.get(params["name"].lower())
        if found is None:
            raise errors.not_found()
        return Answer(200, call.shapes.label(repo, found))

    @routes.add("GET", f"{I}/labels")
    def of_issue(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params)
        return call.listed(call.shapes.labels(repo, issue), lambda shown: shown)

    @routes.add("POST", f"{I}/labels")
    def add(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params, "write", "triage")
        call.hub.set_labels(repo, issue, [*issue.labels, *_names(call)], call.login)
        return Answer(200, call.shapes.labels(repo, issue))

    @routes.add("PUT", f"{I}/labels")
    def replace(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params, "write", "triage")
        call.hub.set_labels(repo, issue, _names(call), call.login)
        return Answer(200, call.shapes.labels(repo, issue))

    @routes.add("DELETE", f"{I}/labels/{{name}}")
    def remove(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params, "write", "triage")
        rest = [name for name in issue.labels if name.lower() != params["name"].lower()]
        if len(rest) == len(issue.labels):
            raise errors.not_found("Label does not exist")
        call.hub.set_labels(repo, issue, rest, call.login)
        return Answer(200, call.shapes.labels(repo, issue))


def _names(call: Call) -> list[str]:
    """GitHub takes an object with `labels`, and PyGithub sends the bare list."""
    try:
        given = json.loads(call.raw or b"{}")
    except ValueError as error:
        raise ApiError(400, "Problems parsing JSON") from error
    if isinstance(given, list):
        given = {"labels": given}
    names = [item.get("name") if isinstance(item, dict) else item for item in given.get("labels") or []]
    if not all(isinstance(name, str) for name in names):
        raise errors.wrong_type("labels", names)
    return [str(name) for name in names]


def _assignees(routes: Routes) -> None:
    @routes.add("POST", f"{I}/assignees")
    def add(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params, "write", "triage")
        call.hub.assign(repo, issue, [*issue.assignees, *call.names("assignees", "login")], call.login)
        return Answer(201, call.shapes.issue(repo, issue))

    @routes.add("DELETE", f"{I}/assignees")
    def remove(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params, "write", "triage")
        leave = {login.lower() for login in call.names("assignees", "login")}
        call.hub.assign(repo, issue, [login for login in issue.assignees if login.lower() not in leave], call.login)
        return Answer(200, call.shapes.issue(repo, issue))


def _history(routes: Routes) -> None:
    @routes.add("GET", f"{I}/events")
    def events(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params)
        return call.listed(_events(call, repo, issue), lambda shown: shown)

    @routes.add("GET", f"{I}/dependencies/blocked_by")
    def blocked_by(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params)
        found = [repo.issues[number] for number in _blockers(repo).get(issue.number, []) if number in repo.issues]
        return call.listed(found, lambda other: call.shapes.issue(repo, other))


def _events(call: Call, repo: Repo, issue: Issue) -> list[Json]:
    """What became of an issue, the oldest first: as much of it as was announced."""
    found: list[Json] = []
    for index, (_, payload) in enumerate(call.hub.webhooks.events):
        about = payload.get("issue") or payload.get("pull_request") or {}
        action = payload.get("action")
        is_it = payload["repository"]["full_name"] == repo.full_name and about.get("number") == issue.number
        if not is_it or action not in _EVENTS or (action.endswith("labeled") and not payload.get("label")):
            continue
        shown: Json = {
            "id": 50_000 + index,
            "node_id": node_id("IssueEvent", 50_000 + index),
            "url": f"{call.shapes.url(repo)}/issues/events/{50_000 + index}",
            "actor": payload["sender"],
            "event": action,
            "commit_id": None,
            "commit_url": None,
            "created_at": about["updated_at"],
            "performed_via_github_app": None,
        }
        if "label" in payload:
            shown["label"] = {name: payload["label"][name] for name in ("name", "color")}
        if "assignee" in payload:
            shown |= {"assignee": payload["assignee"], "assigner": payload["sender"]}
        if action == "closed":
            shown["state_reason"] = about.get("state_reason")
        found.append(shown)
    return found


def _teams(routes: Routes) -> None:
    @routes.add("GET", "/orgs/{org}/teams/{team_slug}/memberships/{username}")
    def membership(call: Call, params: Params) -> Answer:
        """For those who see the organisation's teams: members with the scope read:org, Apps that may read members."""
        organisation = call.state.accounts.get(params["org"].lower())
        teams: dict[str, dict[str, str]] = vars(organisation).get("teams", {}) if organisation else {}
        token = call.token
        if token.kind == "classic" and not {"read:org", "write:org", "admin:org"} & set(token.scopes):
            raise ApiError(403, "You must be an org member or have the read:org scope.")
        if token.kind in ("installation", "fine-grained") and not token.permissions.get("members"):
            kind = "integration" if token.kind == "installation" else "personal access token"
            accepted = {"X-Accepted-GitHub-Permissions": "members=read"}
            raise ApiError(403, f"Resource not accessible by {kind}", headers=accepted)
        state = {login.lower(): state for login, state in teams.get(params["team_slug"], {}).items()}
        if params["username"].lower() not in state:
            raise errors.not_found()
        url = f"{call.shapes.root}/organizations/{organisation.id if organisation else 0}/team/1/memberships"
        shown = {"state": state[params["username"].lower()], "role": "member"}
        return Answer(200, {**shown, "url": f"{url}/{params['username']}"})


def _comments(routes: Routes) -> None:
    @routes.add("GET", f"{R}/issues/comments")
    def of_repository(call: Call, params: Params) -> Answer:
        """Of issues and pull requests alike."""
        repo = call.repo(params, "issues")
        since, sort = call.query.get("since") or "", call.query.get("sort") or "created"
        found = [(issue, item) for issue in repo.issues.values() for item in issue.comments if item.updated >= since]
        # `direction` is heard with `sort` only.
        down = "sort" in call.query and (call.query.get("direction") or "desc") == "desc"
        found.sort(key=lambda pair: (getattr(pair[1], sort), pair[1].id), reverse=down)
        return call.listed(found, lambda pair: call.shapes.comment(repo, *pair))

    @routes.add("GET", f"{R}/issues/comments/{{comment_id}}")
    def comment(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        return Answer(200, call.shapes.comment(repo, *_comment(repo, params)))

    @routes.add("PATCH", f"{R}/issues/comments/{{comment_id}}")
    def edit(call: Call, params: Params) -> Answer:
        repo, issue, found = _own(call, params)
        call.hub.edit_comment(repo, issue, found, call.text("body"), call.login)
        return Answer(200, call.shapes.comment(repo, issue, found))

    @routes.add("DELETE", f"{R}/issues/comments/{{comment_id}}")
    def delete(call: Call, params: Params) -> Answer:
        repo, issue, found = _own(call, params)
        call.hub.delete_comment(repo, issue, found, call.login)
        return Answer(204)

    @routes.add("GET", f"{I}/comments")
    def comments(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params)
        since = call.query.get("since") or ""
        found = [item for item in issue.comments if item.updated >= since]
        return call.listed(found, lambda item: call.shapes.comment(repo, issue, item))

    @routes.add("POST", f"{I}/comments")
    def make(call: Call, params: Params) -> Answer:
        repo, issue = _issue(call, params, "write")
        found = call.hub.add_comment(repo, issue, call.text("body"), call.login, call.token.app_id)
        shown = call.shapes.comment(repo, issue, found)
        return Answer(201, shown, {"Location": shown["url"]})


def _comment(repo: Repo, params: Params) -> tuple[Issue, Comment]:
    for issue in repo.issues.values():
        for comment in issue.comments:
            if comment.id == int(params["comment_id"]):
                return issue, comment
    raise errors.not_found()


def _own(call: Call, params: Params) -> tuple[Repo, Issue, Comment]:
    """A comment that may be changed: by its author, and by those who may write."""
    seen = call.state.find_repository(f"{params['owner']}/{params['repo']}")
    if seen is None:
        raise errors.not_found()
    issue, comment = _comment(seen, params)
    repo, _ = _issue(call, {**params, "issue_number": str(issue.number)}, "write")
    if comment.login != call.login and call.token.kind != "installation":
        call.hub.may(call.token, repo, "issues", "write", "write")
    return repo, issue, comment
