"""The API of the fake GitHub: statuses, checks, Actions, Apps, limits, and what only GraphQL can do."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.fakes import github_errors as errors
from tests.fakes.github_call import Answer, Call, Params, Routes
from tests.fakes.github_errors import ApiError
from tests.fakes.github_shapes import node_id, of_node_id
from tests.fakes.github_state import App, CheckRun, Json, Pull, Repo, Status, Token, WorkflowRun, new_token

R = "/repos/{owner}/{repo}"
STATES = ("error", "failure", "pending", "success")
LOG_SECONDS = 60
"""For which the address of a log holds."""


def add_to(routes: Routes) -> None:
    _statuses(routes)
    _check_runs(routes)
    _actions(routes)
    _apps(routes)


def _commit(repo: Repo, ref: str) -> str:
    sha = repo.branches.get(ref.removeprefix("heads/")) or repo.bare.resolve(ref)
    if not sha:
        raise ApiError(422, f"No commit found for SHA: {ref}")
    return sha


def _statuses(routes: Routes) -> None:
    @routes.add("POST", f"{R}/statuses/{{sha}}")
    def make(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "statuses", "write", "write")
        status = call.hub.add_status(
            repo,
            params["sha"],
            call.choice("state", STATES, required=True) or "",
            call.optional("context") or "default",
            call.optional("description"),
            call.optional("target_url"),
            call.login,
        )
        shown = call.shapes.whole_status(repo, status)
        return Answer(201, shown, {"Location": shown["url"]})

    @routes.add("GET", f"{R}/commits/{{ref}}/status")
    def combined(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "statuses")
        sha = _commit(repo, params["ref"])
        latest: dict[str, Status] = {}
        for status in repo.statuses:
            if status.sha == sha:
                latest[status.context] = status
        states = {status.state for status in latest.values()}
        # Without any status it is pending too: who only looks here takes "no CI" for "not yet".
        state = "failure" if states & {"error", "failure"} else "success" if states == {"success"} else "pending"
        page, headers = call.page(list(latest.values()))
        url = f"{call.shapes.url(repo)}/commits/{sha}"
        shown: Json = {
            "state": state,
            "statuses": [call.shapes.status(repo, status) for status in page],
            "sha": sha,
            "total_count": len(latest),
            "repository": call.shapes.repository(repo, "read"),
            "commit_url": url,
            "url": f"{url}/status",
        }
        return Answer(200, shown, headers)

    @routes.add("GET", f"{R}/commits/{{ref}}/statuses")
    def statuses(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "statuses")
        sha = _commit(repo, params["ref"])
        found = [status for status in reversed(repo.statuses) if status.sha == sha]
        return call.listed(found, lambda status: call.shapes.whole_status(repo, status))

    # PyGithub asks under the old path.
    routes.add("GET", f"{R}/statuses/{{sha}}")(lambda call, params: statuses(call, {**params, "ref": params["sha"]}))


def _check_runs(routes: Routes) -> None:
    @routes.add("GET", f"{R}/commits/{{ref}}/check-runs")
    def of_commit(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks")
        sha = _commit(repo, params["ref"])
        return _listed(call, repo, [run for run in repo.check_runs.values() if run.head_sha == sha])

    @routes.add("GET", f"{R}/commits/{{ref}}/check-suites")
    def suites(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks")
        sha = _commit(repo, params["ref"])
        found = [suite for suite in repo.check_suites.values() if suite.head_sha == sha]
        return call.counted("check_suites", found, lambda suite: call.shapes.check_suite(repo, suite))

    @routes.add("GET", f"{R}/check-suites/{{check_suite_id}}")
    def suite(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks")
        found = repo.check_suites.get(int(params["check_suite_id"]))
        if found is None:
            raise errors.not_found()
        return Answer(200, call.shapes.check_suite(repo, found))

    @routes.add("GET", f"{R}/check-suites/{{check_suite_id}}/check-runs")
    def of_suite(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks")
        wanted = int(params["check_suite_id"])
        if wanted not in repo.check_suites:
            raise errors.not_found()
        return _listed(call, repo, [run for run in repo.check_runs.values() if run.suite_id == wanted])

    @routes.add("POST", f"{R}/check-runs")
    def make(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks", "write", "read")
        _app_only(call)
        run = call.hub.add_check_run(repo, call.text("head_sha"), call.text("name"), call.token.app_id, call.body)
        return Answer(201, call.shapes.check_run(repo, run))

    @routes.add("GET", f"{R}/check-runs/{{check_run_id}}")
    def one(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks")
        return Answer(200, call.shapes.check_run(repo, _run(repo, params)))

    @routes.add("PATCH", f"{R}/check-runs/{{check_run_id}}")
    def update(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks", "write", "read")
        _app_only(call)
        run = _run(repo, params)
        if run.app_id != call.token.app_id:
            raise ApiError(
                403,
                "Invalid app_id `" + str(call.token.app_id) + "` - check run can only be modified by "
                "the GitHub App that created it.",
            )
        call.hub.update_check_run(repo, run, call.body)
        return Answer(200, call.shapes.check_run(repo, run))

    @routes.add("GET", f"{R}/check-runs/{{check_run_id}}/annotations")
    def annotations(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "checks")
        run = _run(repo, params)
        return call.listed(run.annotations, lambda annotation: call.shapes.annotation(repo, run, annotation))


def _app_only(call: Call) -> None:
    if call.token.kind != "installation":
        raise ApiError(403, "You must authenticate via a GitHub App.")


def _run(repo: Repo, params: Params) -> CheckRun:
    found = repo.check_runs.get(int(params["check_run_id"]))
    if found is None:
        raise errors.not_found()
    return found


def _listed(call: Call, repo: Repo, runs: list[CheckRun]) -> Answer:
    """Newest first; of runs of one name and App the latest only, unless all are wished."""
    query = call.query
    if name := query.get("check_name"):
        runs = [run for run in runs if run.name == name]
    if status := query.get("status"):
        runs = [run for run in runs if run.status == status]
    if app_id := query.get("app_id"):
        runs = [run for run in runs if str(run.app_id) == app_id]
    if query.get("filter") != "all":
        runs = list({(run.app_id, run.name): run for run in runs}.values())
    found = sorted(runs, key=lambda run: run.id, reverse=True)
    return call.counted("check_runs", found, lambda run: call.shapes.check_run(repo, run))


def _actions(routes: Routes) -> None:
    @routes.add("GET", f"{R}/actions/runs")
    def runs(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "actions")
        query = call.query
        found = [
            run
            for run in sorted(repo.workflow_runs.values(), key=lambda run: run.id, reverse=True)
            if query.get("head_sha") in (None, run.head_sha)
            and query.get("branch") in (None, run.head_branch)
            and query.get("check_suite_id") in (None, str(run.suite_id))
            and query.get("event") in (None, run.event)
        ]
        return call.counted("workflow_runs", found, lambda run: call.shapes.workflow_run(repo, run))

    @routes.add("GET", f"{R}/actions/runs/{{run_id}}")
    def one(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "actions")
        return Answer(200, call.shapes.workflow_run(repo, _workflow_run(repo, params)))

    @routes.add("GET", f"{R}/actions/runs/{{run_id}}/jobs")
    def jobs(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "actions")
        run = _workflow_run(repo, params)
        return call.counted("jobs", run.jobs, lambda job: call.shapes.job(repo, run, repo.check_runs[job]))

    @routes.add("GET", f"{R}/actions/jobs/{{job_id}}")
    def job(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "actions")
        return Answer(200, call.shapes.job(repo, *_job(repo, params)))

    @routes.add("GET", f"{R}/actions/jobs/{{job_id}}/logs")
    def logs(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "actions")
        _, found = _job(repo, params)
        if found.id not in repo.logs:
            raise errors.not_found()
        signature = new_token("")
        call.state.downloads[signature] = (repo.logs[found.id], time.time() + LOG_SECONDS)
        # Elsewhere by name, as GitHub's logs are: a client must not take its token there.
        elsewhere = call.shapes.web.replace("127.0.0.1", "localhost")
        return Answer(302, None, {"Location": f"{elsewhere}/_logs/{signature}"})


def _workflow_run(repo: Repo, params: Params) -> WorkflowRun:
    found = repo.workflow_runs.get(int(params["run_id"]))
    if found is None:
        raise errors.not_found()
    return found


def _job(repo: Repo, params: Params) -> tuple[WorkflowRun, CheckRun]:
    wanted = int(params["job_id"])
    for run in repo.workflow_runs.values():
        if wanted in run.jobs:
            return run, repo.check_runs[wanted]
    raise errors.not_found()


# --- Apps -----------------------------------------------------------------------------------------


def _apps(routes: Routes) -> None:
    @routes.add("GET", "/app")
    def app(call: Call, params: Params) -> Answer:
        return Answer(200, call.shapes.app(_app(call)))

    @routes.add("GET", "/app/installations")
    def installations(call: Call, params: Params) -> Answer:
        return call.listed([_app(call)], call.shapes.installation)

    @routes.add("GET", "/app/installations/{installation_id}")
    def installation(call: Call, params: Params) -> Answer:
        return Answer(200, call.shapes.installation(_installed(call, params)))

    @routes.add("GET", f"{R}/installation")
    def of_repository(call: Call, params: Params) -> Answer:
        found = _app(call)
        repo = call.state.find_repository(f"{params['owner']}/{params['repo']}")
        if repo is None or repo.owner != found.owner or repo.full_name not in (found.repositories or {repo.full_name}):
            raise errors.not_found()
        return Answer(200, call.shapes.installation(found))

    @routes.add("POST", "/app/installations/{installation_id}/access_tokens")
    def token(call: Call, params: Params) -> Answer:
        found = _installed(call, params)
        if found.suspended:
            raise ApiError(403, "This installation has been suspended")
        wished: Any = call.body.get("permissions") or {}
        for name, wanted in wished.items():
            if found.permissions.get(name) not in (wanted, "write"):
                raise ApiError(422, "The permissions requested are not granted to this installation.")
        names = {f"{found.owner}/{name}" for name in call.names("repositories")}
        if any(call.state.find_repository(name) is None for name in names) or not names <= (
            found.repositories if found.repositories is not None else names
        ):
            raise ApiError(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            )
        expires = int(time.time()) + call.hub.token_seconds
        permissions = dict(wished) if wished else {**found.permissions}
        permissions.setdefault("metadata", "read")
        repositories = names or found.repositories
        made = Token(new_token("ghs_"), found.login, "installation", (), permissions, repositories, expires, found.id)
        call.state.tokens[made.value] = made
        shown: Json = {
            "token": made.value,
            "expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
            "permissions": permissions,
            "repository_selection": "all" if repositories is None else "selected",
        }
        if repositories is not None:
            known = [call.state.find_repository(name) for name in sorted(repositories)]
            shown["repositories"] = [call.shapes.repository(repo, "read") for repo in known if repo]
        return Answer(201, shown)

    @routes.add("GET", "/rate_limit")
    def limits(call: Call, params: Params) -> Answer:
        token = call.token
        rate = {
            "limit": token.limit,
            "remaining": max(0, token.remaining),
            "reset": int(token.reset),
            "used": token.limit - max(0, token.remaining),
        }
        return Answer(200, {"resources": {"core": rate, "search": rate, "graphql": rate}, "rate": rate})


def _app(call: Call) -> App:
    if call.token.kind != "jwt":
        raise ApiError(401, "A JSON web token could not be decoded")
    return call.state.apps[call.token.app_id]


def _installed(call: Call, params: Params) -> App:
    found = _app(call)
    if found.installation_id != int(params["installation_id"]):
        raise errors.not_found()
    return found


# --- GraphQL --------------------------------------------------------------------------------------

_MUTATION = re.compile(
    r"\b(markPullRequestReadyForReview|convertPullRequestToDraft|resolveReviewThread|unresolveReviewThread)\b"
)


def graphql(call: Call) -> Answer:
    """The mutations that REST has no call for, and the threads of a pull request."""
    if call.token.kind == "anonymous":
        raise ApiError(401, "This endpoint requires you to be authenticated.")
    query, variables = str(call.body.get("query") or ""), call.body.get("variables") or {}
    found = _MUTATION.search(query)
    if "reviewThreads" in query and not found:
        return _threads(call, query, variables)
    if not found:
        return Answer(200, {"errors": [{"message": "This fake knows four mutations and reviewThreads."}]})
    name = found[1]
    given = variables.get("input") or {}
    if not given:
        given = dict(re.findall(r'(\w+)\s*:\s*"([^"]*)"', query))
    of_thread = name.endswith("ReviewThread")
    key = "threadId" if of_thread else "pullRequestId"
    node = str(given.get(key) or variables.get(key) or next(iter(variables.values()), ""))
    at = _node(call, node)
    if at is None:
        return _failed(name, "NOT_FOUND", f"Could not resolve to a node with the global id of '{node}'")
    repo, pull, thread = at
    try:
        call.hub.may(call.token, repo, "pull_requests", "write", "write")
        if repo.archived:
            raise errors.archived()
    except ApiError as error:
        return _failed(name, "FORBIDDEN", str(error.body["message"]))
    shown: Json = {"clientMutationId": given.get("clientMutationId")}
    if of_thread:
        (pull.resolved.discard if name.startswith("un") else pull.resolved.add)(thread)
        shown["thread"] = {"id": node, "isResolved": thread in pull.resolved}
    else:
        if repo.issues[pull.number].state != "open":
            return _failed(name, "UNPROCESSABLE", "Pull request is closed.")
        call.hub.set_draft(repo, pull, name == "convertPullRequestToDraft", call.login)
        shown["pullRequest"] = {"id": node, "number": pull.number, "isDraft": pull.draft}
    return Answer(200, {"data": {name: shown}})


def _failed(name: str, kind: str, message: str) -> Answer:
    return Answer(200, {"data": {name: None}, "errors": [{"type": kind, "path": [name], "message": message}]})


def thread_id(number: int) -> str:
    """The global id of a thread, by the id of its first comment."""
    return node_id("PullRequestReviewThread", number)


def _node(call: Call, node: str) -> tuple[Repo, Pull, int] | None:
    """What a global id is of: a pull request, or a thread of one (by its first comment)."""
    try:
        kind, identity = of_node_id(node)
    except ValueError:
        return None
    for repo in call.state.repositories.values():
        if not call.state.sees(call.token, repo):
            continue
        for pull in repo.pulls.values():
            if kind == "PullRequest" and identity == str(pull.id):
                return repo, pull, 0
            if kind == "PullRequestReviewThread" and identity in {str(comment.thread) for comment in pull.comments}:
                return repo, pull, int(identity)
    return None


def _threads(call: Call, query: str, variables: Json) -> Answer:
    """`repository(owner, name) { pullRequest(number) { reviewThreads } }` or `node(id) { … reviewThreads }`."""
    flat = {**dict(re.findall(r'(\w+)\s*:\s*"?([^",)\s]+)', query)), **{k: str(v) for k, v in variables.items()}}
    repo = call.state.find_repository(f"{flat.get('owner')}/{flat.get('name') or flat.get('repo')}")
    by_node = _node(call, flat.get("id", "")) if "node(" in query else None
    if by_node:
        repo, pull = by_node[0], by_node[1]
    elif repo is None or not call.state.sees(call.token, repo) or not flat.get("number", "").isdigit():
        message = f"Could not resolve to a Repository with the name '{flat.get('owner')}/{flat.get('name')}'."
        return _failed("repository", "NOT_FOUND", message)
    else:
        found = repo.pulls.get(int(flat["number"]))
        if found is None:
            message = f"Could not resolve to a PullRequest with the number of {flat['number']}."
            return _failed("repository", "NOT_FOUND", message)
        pull = found
    threads: dict[int, list[Json]] = {}
    for comment in pull.comments:
        shown = {
            "id": call.shapes.review_comment(repo, pull, comment)["node_id"],
            "databaseId": comment.id,
            "body": comment.body,
            "author": {"login": comment.login.removesuffix("[bot]")},
        }
        threads.setdefault(comment.thread, []).append(shown)
    nodes = [
        {
            "id": thread_id(thread),
            "isResolved": thread in pull.resolved,
            "isOutdated": next(comment.line for comment in pull.comments if comment.id == comments[0]["databaseId"])
            is None,
            "viewerCanResolve": True,
            "comments": {"nodes": comments, "totalCount": len(comments)},
        }
        for thread, comments in threads.items()
    ]
    wished = re.search(r"reviewThreads\s*\(\s*first\s*:\s*(\d+)", query)
    start, size = int(variables.get("after") or 0), min(int(wished[1]) if wished else 100, 100)
    stop = start + size
    end = {"hasNextPage": stop < len(nodes), "endCursor": str(stop) if stop < len(nodes) else None}
    whole = {"reviewThreads": {"nodes": nodes[start:stop], "pageInfo": end, "totalCount": len(nodes)}}
    if by_node:
        return Answer(200, {"data": {"node": whole}})
    return Answer(200, {"data": {"repository": {"pullRequest": whole}}})
