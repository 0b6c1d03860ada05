"""The API of the fake GitHub: repositories, branches, refs, commits, contents, people."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes import github_errors as errors
from tests.fakes.github_bare import GitFailed
from tests.fakes.github_call import Answer, Call, Params, Routes
from tests.fakes.github_errors import ApiError
from tests.fakes.github_shapes import quoted
from tests.fakes.github_state import LEVELS, Json, Push, Repo

R = "/repos/{owner}/{repo}"
MAX_FILES = 300
"""Of a commit or a comparison."""


def add_to(routes: Routes) -> None:
    _repositories(routes)
    _activity(routes)
    _people(routes)
    _branches(routes)
    _refs(routes)
    _commits(routes)
    _contents(routes)


def _repositories(routes: Routes) -> None:
    @routes.add("GET", R)
    def repository(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        return Answer(200, call.shapes.full_repository(repo, call.hub.level_of(call.token, repo)))

    @routes.add("GET", "/installation/repositories")
    def installed(call: Call, params: Params) -> Answer:
        if call.token.kind != "installation":
            raise ApiError(403, "You must authenticate with an installation access token in order to list repositories")
        repos = [repo for repo in call.state.repositories.values() if call.state.sees(call.token, repo)]
        answer = call.counted("repositories", repos, lambda repo: call.shapes.repository(repo, "read"))
        answer.body["repository_selection"] = "all" if call.token.repositories is None else "selected"
        return answer


def _activity(routes: Routes) -> None:
    @routes.add("GET", f"{R}/activity")
    def activity(call: Call, params: Params) -> Answer:
        """Newest first, with cursors in place of pages: one page of at most 100 here."""
        repo = call.repo(params, "contents")
        wanted = call.query.get("ref", "")
        branch = wanted if wanted.startswith("refs/") else f"refs/heads/{wanted}"
        moved = [
            (number, push)
            for number, push in enumerate(repo.pushes, 1)
            if push.ref.startswith("refs/heads/") and (not wanted or push.ref == branch)
        ]
        most = int(call.query.get("per_page", "30"))
        return Answer(200, [_moved(call, number, push) for number, push in reversed(moved)][:most])


def _moved(call: Call, number: int, push: Push) -> dict[str, Any]:
    kinds = {(False, True): "branch_creation", (True, False): "branch_deletion"}
    kind = kinds.get((bool(push.before), bool(push.after)), "force_push" if push.forced else "push")
    return {
        "id": number,
        "node_id": "",
        "before": push.before or "0" * 40,
        "after": push.after or "0" * 40,
        "ref": push.ref,
        "timestamp": push.at,
        "activity_type": kind,
        "actor": call.shapes.user(push.login),
    }


def _people(routes: Routes) -> None:
    @routes.add("GET", "/user")
    def myself(call: Call, params: Params) -> Answer:
        if call.token.kind == "anonymous":
            raise ApiError(401, "Requires authentication")
        if call.token.kind in ("installation", "jwt"):
            raise ApiError(403, "Resource not accessible by integration")
        return Answer(200, call.shapes.whole_user(call.state.account(call.login)))

    @routes.add("GET", "/users/{username}")
    def user(call: Call, params: Params) -> Answer:
        return Answer(200, call.shapes.whole_user(_account(call, params["username"])))

    @routes.add("GET", f"{R}/collaborators")
    def collaborators(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        _push_access(call, repo)
        people = [call.state.account(login) for login in sorted({repo.owner, *repo.collaborators})]
        return call.listed(people, lambda account: call.shapes.collaborator(repo, account))

    @routes.add("GET", f"{R}/collaborators/{{username}}")
    def collaborator(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        _push_access(call, repo)
        if repo.level(_account(call, params["username"]).login) == "none":
            raise errors.not_found()
        return Answer(204)

    @routes.add("GET", f"{R}/collaborators/{{username}}/permission")
    def permission(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        return Answer(200, call.shapes.permission(repo, _account(call, params["username"])))

    @routes.add("GET", f"{R}/assignees/{{assignee}}")
    def assignee(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        if repo.level(_account(call, params["assignee"]).login) == "none":
            raise errors.not_found()
        return Answer(204)


def _account(call: Call, login: str) -> Any:
    try:
        return call.state.account(login)
    except KeyError as error:
        raise errors.not_found() from error


def _push_access(call: Call, repo: Repo) -> None:
    level = call.hub.level_of(call.token, repo)
    if LEVELS.index(level) < LEVELS.index("write"):
        raise ApiError(403, "Must have push access to view repository collaborators.")


def _branches(routes: Routes) -> None:
    @routes.add("GET", f"{R}/branches")
    def branches(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "contents")
        wanted = call.query.get("protected")
        names = sorted(
            (name, sha)
            for name, sha in repo.branches.items()
            if wanted is None or (repo.protection(name) is not None) == (wanted == "true")
        )
        return call.listed(names, lambda item: call.shapes.short_branch(repo, *item))

    @routes.add("GET", f"{R}/branches/{{branch}}/protection")
    def protection(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "administration", level="admin")
        if params["branch"] not in repo.branches:
            raise errors.not_found("Branch not found")
        rules = repo.protection(params["branch"])
        if rules is None:
            raise errors.not_found("Branch not protected")
        return Answer(200, call.shapes.protection(repo, params["branch"], rules))

    @routes.add("GET", f"{R}/branches/{{branch}}")
    def branch(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "contents")
        commit = repo.bare.commit(repo.branches.get(params["branch"], ""))
        if commit is None:
            raise errors.not_found("Branch not found")
        return Answer(200, call.shapes.branch(repo, params["branch"], commit))

    @routes.add("GET", f"{R}/rules/branches/{{branch}}")
    def rules(call: Call, params: Params) -> Answer:
        repo = call.repo(params)
        return Answer(200, call.shapes.rules(repo, params["branch"]))


def _refs(routes: Routes) -> None:
    @routes.add("GET", f"{R}/git/ref/{{ref}}")
    def ref(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents"))
        name = f"refs/{params['ref']}"
        if name not in repo.refs:
            raise errors.not_found()
        return Answer(200, call.shapes.ref(repo, name, repo.refs[name]))

    # PyGithub asks for a ref under the old path, which the description no longer has.
    routes.add("GET", f"{R}/git/refs/{{ref}}")(ref)

    @routes.add("GET", f"{R}/git/matching-refs/{{ref}}")
    def matching(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents"))
        found = sorted(item for item in repo.refs.items() if item[0].startswith(f"refs/{params['ref']}"))
        return call.listed(found, lambda item: call.shapes.ref(repo, *item))

    @routes.add("POST", f"{R}/git/refs")
    def make(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents", "write", "write"))
        name, sha = call.text("ref"), call.text("sha")
        if not re.fullmatch(r"refs/.+/.+", name) and not re.fullmatch(r"refs/[^/]+/.+", name):
            raise ApiError(422, "Reference name must start with 'refs' and contain at least two slashes.")
        if not repo.bare.has(sha):
            raise ApiError(422, "Object does not exist")
        if name in repo.refs:
            raise ApiError(422, "Reference already exists")
        call.hub.set_ref(repo, name, sha, call.login)
        shown = call.shapes.ref(repo, name, sha)
        return Answer(201, shown, {"Location": shown["url"]})

    @routes.add("PATCH", f"{R}/git/refs/{{ref}}")
    def move(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents", "write", "write"))
        name, sha = f"refs/{params['ref']}", call.text("sha")
        if name not in repo.refs:
            raise ApiError(422, "Reference does not exist")
        if not repo.bare.has(sha):
            raise ApiError(422, "Object does not exist")
        _unprotected(repo, name)
        if not call.flag("force") and not repo.bare.is_ancestor(repo.refs[name], sha):
            raise ApiError(422, "Update is not a fast forward")
        call.hub.set_ref(repo, name, sha, call.login)
        return Answer(200, call.shapes.ref(repo, name, sha))

    @routes.add("DELETE", f"{R}/git/refs/{{ref}}")
    def delete(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "contents", "write", "write")
        name = f"refs/{params['ref']}"
        if name not in repo.refs:
            raise ApiError(422, "Reference does not exist")
        if name == f"refs/heads/{repo.default_branch}":
            raise ApiError(422, "Cannot delete the default branch")
        _unprotected(repo, name)
        call.hub.set_ref(repo, name, "", call.login)
        return Answer(204)


def _unprotected(repo: Repo, ref: str) -> None:
    if repo.protection(ref.removeprefix("refs/heads/")):
        raise ApiError(422, "Protected branch update failed: changes must be made through a pull request.")


def _with_commits(repo: Repo) -> Repo:
    if not repo.refs:
        raise errors.conflict("Git Repository is empty.")
    return repo


def _commits(routes: Routes) -> None:
    @routes.add("GET", f"{R}/commits")
    def commits(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents"))
        sha = repo.bare.resolve(call.query.get("sha") or repo.default_branch)
        if not sha:
            raise errors.not_found()
        return call.listed(repo.bare.commits([sha]), lambda commit: call.shapes.commit(repo, commit))

    @routes.add("GET", f"{R}/compare/{{basehead}}")
    def compare(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "contents")
        base, dots, head = params["basehead"].partition("...")
        base_sha, head_sha = _side(repo, base), _side(repo, head)
        if not dots or not base_sha or not head_sha:
            raise errors.not_found()
        point = repo.bare.merge_base(base_sha, head_sha)
        if not point:
            raise errors.not_found(f"No common ancestor between {base} and {head}.")
        ahead, behind = repo.bare.count(f"{base_sha}..{head_sha}"), repo.bare.count(f"{head_sha}..{base_sha}")
        files = repo.bare.diff(point, head_sha)
        if "diff" in call.headers.get("accept", ""):
            text = repo.bare.raw("diff", point, head_sha).decode(errors="replace")
            return Answer(200, text, media="application/vnd.github.diff; charset=utf-8")
        listed = repo.bare.commits(["--reverse", f"{base_sha}..{head_sha}"])
        page, headers = call.page(listed)
        where = "diverged" if ahead and behind else "ahead" if ahead else "behind" if behind else "identical"
        basehead = quoted(params["basehead"])
        url = f"{call.shapes.page(repo)}/compare/{basehead}"
        shown: Json = {
            "url": f"{call.shapes.url(repo)}/compare/{basehead}",
            "html_url": url,
            "permalink_url": f"{call.shapes.page(repo)}/compare/{base_sha[:7]}...{head_sha[:7]}",
            "diff_url": f"{url}.diff",
            "patch_url": f"{url}.patch",
            "base_commit": _shown(call, repo, base_sha),
            "merge_base_commit": _shown(call, repo, point),
            "status": where,
            "ahead_by": ahead,
            "behind_by": behind,
            "total_commits": ahead,
            "commits": [call.shapes.commit(repo, commit) for commit in page],
            "files": [call.shapes.file(repo, change, head_sha) for change in files[:MAX_FILES]],
        }
        return Answer(200, shown, headers)

    @routes.add("GET", f"{R}/git/commits/{{commit_sha}}")
    def git_commit(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents"))
        commit = repo.bare.commit(params["commit_sha"])
        if commit is None:
            raise errors.not_found()
        return Answer(200, call.shapes.git_commit(repo, commit))


def one_commit(routes: Routes) -> None:
    """Added last: a ref may hold slashes, and other paths go on behind it."""

    @routes.add("GET", f"{R}/commits/{{ref}}")
    def commit(call: Call, params: Params) -> Answer:
        repo = _with_commits(call.repo(params, "contents"))
        found = repo.bare.commit(_side(repo, params["ref"]))
        if found is None:
            raise ApiError(422, f"No commit found for SHA: {params['ref']}")
        parent = found.parents[0] if found.parents else repo.bare.git("hash-object", "-t", "tree", "--stdin", stdin=b"")
        files = repo.bare.diff(parent, found.sha)
        added, removed = sum(file.additions for file in files), sum(file.deletions for file in files)
        shown = call.shapes.commit(repo, found)
        shown["stats"] = {"additions": added, "deletions": removed, "total": added + removed}
        shown["files"] = [call.shapes.file(repo, change, found.sha) for change in files[:MAX_FILES]]
        return Answer(200, shown)


def _side(repo: Repo, name: str) -> str:
    """The sha of a branch, tag or sha, with or without the owner before it."""
    owner, _, rest = name.rpartition(":")
    if owner and owner.lower() != repo.owner.lower():
        return ""
    rest = rest.removeprefix("heads/") if rest.removeprefix("heads/") in repo.branches else rest
    return repo.branches.get(rest) or repo.bare.resolve(rest)


def _shown(call: Call, repo: Repo, sha: str) -> Json:
    commit = repo.bare.commit(sha)
    if commit is None:
        raise errors.not_found()
    return call.shapes.commit(repo, commit)


def _contents(routes: Routes) -> None:
    @routes.add("GET", f"{R}/contents/{{path}}")
    def contents(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "contents")
        if not repo.refs:
            raise errors.not_found("This repository is empty.")
        ref, path = call.query.get("ref") or repo.default_branch, params["path"].strip("/")
        sha = _side(repo, ref)
        if not sha:
            raise errors.not_found(f"No commit found for the ref {ref}")
        try:
            found = repo.bare.entry(sha, path)
        except GitFailed:
            found = None
        if found is None:
            raise errors.not_found()
        kind, entry = found
        if kind == "tree":
            prefix = f"{path}/" if path else ""
            return Answer(
                200,
                [
                    call.shapes.content(repo, ref, prefix + name, of, inner, None)
                    for of, inner, name in repo.bare.listing(entry)
                ],
            )
        data = repo.bare.blob(entry)
        if "raw" in call.headers.get("accept", ""):
            return Answer(200, data.decode(errors="replace"), media="application/vnd.github.raw; charset=utf-8")
        return Answer(200, call.shapes.content(repo, ref, path, kind, entry, data))

    @routes.add("GET", f"{R}/contents/")
    def root(call: Call, params: Params) -> Answer:
        return contents(call, {**params, "path": ""})
