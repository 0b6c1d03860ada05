"""The fake GitHub, driven by the real PyGithub, the real git and plain HTTP; and checked against GitHub's own words."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import github as pygithub
import jwt
import pytest
import requests
from github import Auth, Github, GithubException
from github.PullRequest import PullRequest

from tests.fakes import openapi
from tests.fakes.faults import Fault, on
from tests.fakes.github_people import FakeRepository
from tests.fakes.github_server import GitHubServer

NAME = "acme/parcel"
BRANCH = "sdlc/PAR-1-fix"
LINES = "".join(f"line {number}\n" for number in range(1, 31))
CHANGED = LINES.replace("line 10\n", "line ten\n")

Connect = Callable[..., Github]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHubServer]:
    """A server whose whole traffic must be as GitHub describes it, in every test."""
    with GitHubServer(tmp_path / "github") as server:
        yield server
    openapi.check(server.exchanges)


@pytest.fixture
def repository(server: GitHubServer) -> FakeRepository:
    people = {"bot": "write", "maria": "write", "bob": "maintain", "eve": "read", "root": "admin"}
    return server.add_repository(
        NAME, files={"a.txt": LINES, "b.txt": "b\n", ".github/CODEOWNERS": "* @maria\n"}, collaborators=people
    )


@pytest.fixture
def token(server: GitHubServer, repository: FakeRepository) -> str:
    return server.add_token("bot")


@pytest.fixture
def connect(server: GitHubServer, token: str) -> Iterator[Connect]:
    opened = []

    def connected(auth: Auth.Auth | str | None = None) -> Github:
        known = Auth.Token(auth or token) if auth is None or isinstance(auth, str) else auth
        opened.append(
            Github(
                base_url=server.url,
                auth=known,
                retry=None,
                timeout=10,
                seconds_between_requests=None,
                seconds_between_writes=None,
            )
        )
        return opened[-1]

    yield connected
    for each in opened:
        each.close()


@pytest.fixture
def pull(repository: FakeRepository, connect: Connect) -> PullRequest:
    """A draft of the bot on a branch with one changed line."""
    repository.commit(BRANCH, {"a.txt": CHANGED}, by="bot")
    repo = connect().get_repo(NAME)
    return repo.create_pull(base="main", head=BRANCH, title="fix: it", body="why", draft=True)


class Refused:
    """What a refused call said."""

    def __init__(self, error: GithubException) -> None:
        self.status = error.status
        data: Any = error.data
        self.message: str = data["message"]
        self.errors: list[Any] = data.get("errors", [])
        self.headers = {name.lower(): value for name, value in (error.headers or {}).items()}


def refused(call: Callable[[], object]) -> Refused:
    with pytest.raises(GithubException) as caught:
        call()
    return Refused(caught.value)


def git(folder: Path, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
    """Real git, with the token from the environment, as an askpass helper gives it."""
    helper = '!f() { echo username=x-access-token; echo "password=$TOKEN"; }; f'
    configured = ["-c", "credential.helper=", "-c", f"credential.helper={helper}"] if token else []
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TOKEN": token,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_AUTHOR_NAME": "Bot",
        "GIT_AUTHOR_EMAIL": "bot@example.org",
        "GIT_COMMITTER_NAME": "Bot",
        "GIT_COMMITTER_EMAIL": "bot@example.org",
        "LC_ALL": "C",
    }
    return subprocess.run(
        ["git", *configured, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30
    )


def cloned(folder: Path, repository: FakeRepository, token: str) -> Path:
    done = git(folder, "clone", "--quiet", repository.clone_url, "work", token=token)
    assert done.returncode == 0, done.stderr
    return folder / "work"


def pushed(work: Path, token: str, files: dict[str, str], branch: str, *options: str) -> str:
    for name, text in files.items():
        (work / name).write_text(text)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--allow-empty", "-m", "a change")
    done = git(work, "push", "--quiet", *options, "origin", f"HEAD:{branch}", token=token)
    assert done.returncode == 0, done.stderr
    return git(work, "rev-parse", "HEAD").stdout.strip()


# --- git ------------------------------------------------------------------------------------------


def test_git_clones_and_pushes_with_a_token_and_pull_requests_follow(
    tmp_path: Path, server: GitHubServer, repository: FakeRepository, token: str, connect: Connect
) -> None:
    work = cloned(tmp_path, repository, token)
    first = pushed(work, token, {"a.txt": CHANGED}, f"refs/heads/{BRANCH}")
    pull = connect().get_repo(NAME).create_pull(base="main", head=BRANCH, title="t", draft=True)
    second = pushed(work, token, {"new.txt": "n" * 3_000_000}, f"refs/heads/{BRANCH}")
    git(work, "reset", "--hard", first)
    third = pushed(work, token, {"b.txt": "other\n"}, f"refs/heads/{BRANCH}", "--force-with-lease")

    assert (pull.head.sha, repository.branches[BRANCH]) == (first, third)
    pull.update()
    assert pull.head.sha == third
    assert [push[2] for push in repository.pull(1).pushes] == [False, True]
    assert [(push.before, push.forced) for push in repository.state.pushes][1:] == [(first, False), (second, True)]
    assert git(work, "fetch", "origin", "refs/pull/1/head", token=token).returncode == 0
    actions = [event[1].get("action") for event in server.webhooks.events if event[0] == "pull_request"]
    assert actions == ["opened", "synchronize", "synchronize"]

    assert git(work, "push", "origin", f":{BRANCH}", token=token).returncode == 0
    pull.update()
    assert (pull.state, pull.merged) == ("closed", False)


def test_git_is_refused_without_a_token_that_may(
    tmp_path: Path, server: GitHubServer, repository: FakeRepository, token: str
) -> None:
    def tries(*arguments: str, token: str = "") -> str:
        done = git(tmp_path, *arguments, token=token)
        assert done.returncode != 0
        return done.stderr

    url = repository.clone_url
    assert "Authentication failed" in tries("ls-remote", url, token="ghp_wrong") or "could not read" in tries(
        "ls-remote", url, token="ghp_wrong"
    )
    assert "could not read" in tries("ls-remote", url) or "Authentication" in tries("ls-remote", url)
    assert "not found" in tries("ls-remote", url, token=server.add_token("stranger")).lower()
    work = cloned(tmp_path, repository, server.add_token("eve"))
    git(work, "commit", "--allow-empty", "-m", "x")
    assert "denied to eve" in git(work, "push", "origin", "HEAD:x", token=server.add_token("eve")).stderr
    no_scope = git(work, "push", "origin", "HEAD:x", token=server.add_token("bot", scopes=("read:org",)))
    assert "not found" in no_scope.stderr.lower()
    reader = server.add_fine_grained_token("bot", permissions={"contents": "read"})
    assert "denied" in git(work, "push", "origin", "HEAD:x", token=reader).stderr

    (work / ".github/workflows").mkdir()
    (work / ".github/workflows/ci.yml").write_text("on: push\n")
    git(work, "add", "--all")
    git(work, "commit", "-m", "ci")
    narrow = server.add_token("bot", scopes=("repo",))
    assert "without `workflow` scope" in git(work, "push", "origin", "HEAD:w", token=narrow).stderr
    assert "w" not in repository.branches
    assert git(work, "push", "origin", "HEAD:w", token=token).returncode == 0
    assert git(work, "push", "origin", "HEAD:v", token=narrow).returncode == 0

    repository.protect("main", approvals=1)
    assert "GH006" in git(work, "push", "origin", "HEAD:main", token=token).stderr
    assert git(work, "push", "origin", "HEAD:other", token=token).returncode == 0
    repository.archive()
    assert "archived" in git(work, "push", "origin", "HEAD:more", token=token).stderr


def test_a_push_that_is_cut_off_after_its_effect_has_had_it(
    tmp_path: Path, server: GitHubServer, repository: FakeRepository, token: str
) -> None:
    work = cloned(tmp_path, repository, token)
    git(work, "commit", "--allow-empty", "-m", "x")
    server.fail(Fault("reset", after=True, where=on("POST", "git-receive-pack")))
    assert git(work, "push", "origin", "HEAD:x", token=token).returncode != 0
    assert "x" in repository.branches
    server.fail(Fault("status", status=502, where=on("POST", "git-receive-pack")))
    assert git(work, "push", "origin", "HEAD:y", token=token).returncode != 0
    assert "y" not in repository.branches
    assert server.faults.waiting == 0


# --- repositories, refs, contents -----------------------------------------------------------------


def test_a_repository_is_read_by_pygithub(repository: FakeRepository, connect: Connect, token: str) -> None:
    hub = connect()
    repo = hub.get_repo(NAME)
    assert (repo.full_name, repo.default_branch, repo.private, repo.archived) == (NAME, "main", True, False)
    assert repo.permissions.push
    assert not repo.permissions.admin
    assert hub.get_user().login == "bot"
    assert hub.oauth_scopes == ["repo", "workflow"]
    assert repo.clone_url == repository.clone_url
    main = repository.branches["main"]
    assert repo.get_branch("main").commit.sha == main
    assert repo.get_git_ref("heads/main").object.sha == main
    assert repo.get_contents(".github/CODEOWNERS").decoded_content == b"* @maria\n"  # type: ignore[union-attr]
    assert [file.name for file in repo.get_contents("/", ref="main")] == [".github", "a.txt", "b.txt"]  # type: ignore[union-attr]
    assert repo.get_collaborator_permission("maria") == "write"
    assert repo.get_collaborator_permission("bob") == "write"
    assert repo.get_collaborator_role_name("bob") == "maintain"
    assert not repo.has_in_collaborators("github")
    assert {person.login for person in repo.get_collaborators()} >= {"acme", "maria"}
    assert refused(lambda: repo.get_contents("nothing")).status == 404
    assert repo.get_commit(main).files[0].filename == ".github/CODEOWNERS"
    assert repo.get_commits()[0].commit.message == "the first"
    assert repo.get_git_commit(main).tree.sha
    assert connect().get_rate_limit().rate.remaining > 0


def test_refs_are_made_moved_and_deleted(repository: FakeRepository, connect: Connect) -> None:
    repo = connect().get_repo(NAME)
    main = repository.branches["main"]
    ref = repo.create_git_ref("refs/heads/sdlc/📦-x", main)
    assert repo.get_branch("sdlc/📦-x").commit.sha == main
    later = repository.commit("side", {"b.txt": "2\n"}, by="maria")
    ref.edit(later)
    assert refused(lambda: ref.edit(main)).message == "Update is not a fast forward"
    ref.edit(main, force=True)
    assert refused(lambda: repo.create_git_ref("refs/heads/side", main)).message == "Reference already exists"
    assert [found.ref for found in repo.get_git_matching_refs("heads/sdlc/")] == ["refs/heads/sdlc/📦-x"]
    ref.delete()
    assert refused(ref.delete).status == 422
    compared = repo.compare("main", "side")
    assert (compared.status, compared.ahead_by, compared.files[0].filename) == ("ahead", 1, "b.txt")
    assert refused(lambda: repo.compare("main", "gone")).status == 404


def test_an_empty_repository_says_so(server: GitHubServer, connect: Connect) -> None:
    server.add_repository("acme/empty", collaborators={"bot": "write"})
    repo = connect().get_repo("acme/empty")
    assert refused(lambda: repo.get_git_ref("heads/main")).status == 409
    assert list(repo.get_branches()) == []
    assert refused(lambda: repo.get_contents("a")).message == "This repository is empty."


def test_protection_is_shown_to_admins_and_its_checks_to_all(
    server: GitHubServer, repository: FakeRepository, connect: Connect
) -> None:
    admin, plain = connect(server.add_token("root")).get_repo(NAME), connect().get_repo(NAME)
    branch = admin.get_branch("main")
    assert refused(branch.get_protection).message == "Branch not protected"
    repository.protect("main", contexts=["ci"], approvals=2, strict=True)
    rules = admin.get_branch("main").get_protection()
    assert rules.required_status_checks.contexts == ["ci"]
    assert rules.required_pull_request_reviews.required_approving_review_count == 2
    assert refused(plain.get_branch("main").get_protection).message == "Not Found"
    shown = plain.get_branch("main")
    assert shown.protected
    assert shown.raw_data["protection"]["required_status_checks"]["contexts"] == ["ci"]
    app = server.add_fine_grained_token("root", permissions={"contents": "read"})
    assert refused(connect(app).get_repo(NAME).get_branch("main").get_protection).status == 403


# --- pull requests --------------------------------------------------------------------------------


def test_a_pull_request_is_made_as_a_draft_found_edited_and_made_ready(
    repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    repo = connect().get_repo(NAME)
    assert (pull.draft, pull.state, pull.number) == (True, "open", 1)
    assert pull.mergeable is None
    assert [found.number for found in repo.get_pulls(head=f"acme:{BRANCH}")] == [1]
    assert [found.number for found in repo.get_pulls(head="acme:other")] == []
    # A trap of GitHub: a head without its owner filters nothing.
    assert [found.number for found in repo.get_pulls(head="other")] == [1]
    pull.edit(title="feat: better", body="x" * 65_536)
    assert (repository.issues[1].title, len(repository.issues[1].body or "")) == ("feat: better", 65_536)
    too_long = refused(lambda: pull.edit(body="x" * 65_537))
    assert too_long.status == 422
    assert "too long (maximum is 65536 characters)" in too_long.errors[0]["message"]

    again = refused(lambda: repo.create_pull(base="main", head=BRANCH, title="t"))
    assert again.errors[0]["message"] == f"A pull request already exists for acme:{BRANCH}."
    assert refused(lambda: repo.create_pull(base="main", head="gone", title="t")).errors[0]["field"] == "head"
    repo.create_git_ref("refs/heads/same", repository.branches["main"])
    same = refused(lambda: repo.create_pull(base="main", head="same", title="t"))
    assert same.errors[0]["message"] == "No commits between main and same"

    pull.update()
    assert repo.get_pull(1).mergeable is True
    assert repo.get_pull(1).mergeable_state == "draft"
    pull.mark_ready_for_review()
    assert repo.get_pull(1).draft is False
    pull.convert_to_draft()
    assert repo.get_pull(1).draft is True
    assert [file.filename for file in pull.get_files()] == ["a.txt"]
    assert "+line ten" in pull.get_files()[0].patch
    assert [commit.sha for commit in pull.get_commits()] == [repository.branches[BRANCH]]
    pull.edit(state="closed")
    assert list(repo.get_pulls()) == []
    pull.edit(state="open")
    pull.as_issue().add_to_labels("sdlc", "ready")
    assert [label.name for label in repo.get_pull(1).labels] == ["sdlc", "ready"]
    pull.remove_from_labels("ready")
    pull.set_labels("one", "two")
    assert [label.name for label in pull.get_labels()] == ["one", "two"]


def test_reviewers_are_collaborators_and_not_the_author(repository: FakeRepository, pull: PullRequest) -> None:
    pull.create_review_request(reviewers=["maria"])
    assert [user.login for user in pull.get_review_requests()[0]] == ["maria"]
    assert "not a collaborator" in refused(lambda: pull.create_review_request(reviewers=["nobody"])).message
    assert "author" in refused(lambda: pull.create_review_request(reviewers=["bot"])).message
    repository.review(1, by="maria")
    assert list(pull.get_review_requests()[0]) == []
    pull.create_review_request(reviewers=["bob"])
    pull.delete_review_request(reviewers=["bob"])
    assert repository.pull(1).reviewers == []


def test_inline_comments_stand_on_lines_of_the_diff_only(
    repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    review = pull.create_review(
        body="summary", event="COMMENT", comments=[{"path": "a.txt", "line": 10, "side": "RIGHT", "body": "here"}]
    )
    assert review.state == "COMMENTED"
    (comment,) = pull.get_review_comments()
    assert (comment.path, comment.line, comment.body) == ("a.txt", 10, "here")
    assert comment.diff_hunk.endswith("+line ten")
    assert [found.body for found in pull.get_single_review_comments(review.id)] == ["here"]

    def review_at(**place: Any) -> Refused:
        comment: Any = {"body": "b", "line": 10, "path": "a.txt", **place}
        return refused(lambda: pull.create_review(body="s", event="COMMENT", comments=[comment]))

    assert (review_at(line=25).status, review_at(line=25).errors) == (422, ["Line could not be resolved"])
    assert review_at(path="b.txt").errors == ["Path could not be resolved"]
    head = connect().get_repo(NAME).get_commit(pull.head.sha)
    off = refused(lambda: pull.create_review_comment("b", head, "a.txt", line=25, side="RIGHT"))
    assert off.errors[0]["message"] == "pull_request_review_thread.line must be part of the diff"
    assert len(repository.pull(1).comments) == 1

    one = pull.create_review_comment("second", head, "a.txt", line=10, side="LEFT")
    reply = pull.create_review_comment_reply(one.id, "answer")
    assert reply.in_reply_to_id == one.id
    one.edit("changed")
    assert pull.get_review_comment(one.id).body == "changed"
    one.delete()
    # A later push takes the line away: the comment is outdated and has no place any more.
    repository.commit(BRANCH, {"a.txt": CHANGED.replace("line ten\n", "line 10, again\n")}, by="bot")
    outdated = pull.get_review_comment(comment.id)
    assert (outdated.raw_data["line"], outdated.raw_data["position"]) == (None, None)
    assert outdated.raw_data["original_line"] == 10


def test_reviews_of_people_and_what_an_author_may_not(
    server: GitHubServer, repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    head = pull.head.sha
    own = refused(lambda: pull.create_review(event="APPROVE"))
    assert own.errors == ["Can not approve your own pull request"]
    repository.review(1, by="maria", event="REQUEST_CHANGES", body="no")
    theirs = connect(server.add_token("maria")).get_repo(NAME).get_pull(1)
    approval = theirs.create_review(body="now", event="APPROVE")
    assert [(found.user.login, found.state, found.commit_id) for found in pull.get_reviews()] == [
        ("maria", "CHANGES_REQUESTED", head),
        ("maria", "APPROVED", head),
    ]
    approval.edit("well")
    connect().get_repo(NAME).get_pull(1).get_review(approval.id).dismiss("changed my mind")
    assert pull.get_review(approval.id).state == "DISMISSED"
    pending = theirs.create_review(body="later")
    assert pending.state == "PENDING"
    assert len(list(pull.get_reviews())) == 2
    assert len(list(theirs.get_reviews())) == 3


def test_an_approval_goes_when_a_later_push_dismisses_it(repository: FakeRepository, pull: PullRequest) -> None:
    repository.protect("main", approvals=1, dismiss_stale=True)
    repository.review(1, by="maria")
    repository.commit(BRANCH, {"b.txt": "x\n"}, by="bob")
    assert [found.state for found in pull.get_reviews()] == ["DISMISSED"]


def test_a_merge_needs_a_ready_head_that_protection_agrees_to(
    server: GitHubServer, repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    repository.protect("main", contexts=["ci"], approvals=1)
    assert (refused(pull.merge).status, refused(pull.merge).message) == (405, "Pull Request is still a draft")
    pull.mark_ready_for_review()
    assert "approving review is required" in refused(pull.merge).message
    repository.review(1, by="eve")
    assert "approving review is required" in refused(pull.merge).message
    repository.review(1, by="maria")
    assert refused(pull.merge).message == 'Required status check "ci" is expected.'
    repository.status(pull.head.sha, "ci", "success", by="maria")
    moved = refused(lambda: pull.merge(sha="f" * 40))
    assert (moved.status, moved.message) == (409, "Head branch was modified. Review and try the merge again.")
    assert "not allowed" in refused(lambda: pull.merge(merge_method="rebase")).message
    assert not pull.is_merged()
    done = pull.merge(sha=pull.head.sha, commit_title="the title")
    assert done.merged
    assert repository.branches["main"] == done.sha
    assert pull.is_merged()
    assert refused(pull.merge).status == 405
    whole = connect().get_repo(NAME).get_pull(1)
    assert (whole.merged, whole.merge_commit_sha, whole.merged_by.login) == (True, done.sha, "bot")
    assert [file.filename for file in whole.get_files()] == ["a.txt"]
    assert repository.read("main", "a.txt") == CHANGED


def test_conflicts_are_known_a_while_later_and_forbid_the_merge(
    repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    pull.mark_ready_for_review()
    repository.commit("main", {"a.txt": LINES.replace("line 10\n", "ten of them\n")}, by="maria")
    repo = connect().get_repo(NAME)
    assert [repo.get_pull(1).mergeable for _ in range(3)] == [None, False, False]
    assert repo.get_pull(1).mergeable_state == "dirty"
    assert refused(pull.merge).message == "Pull Request has merge conflicts"


def test_a_pull_request_is_merged_when_people_push_its_head_to_the_base(
    repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    repository.force("main", repository.branches[BRANCH], by="maria")
    found = connect().get_repo(NAME).get_pull(1)
    assert (found.state, found.merged, found.merged_by.login) == ("closed", True, "maria")


def test_threads_are_resolved_by_graphql(server: GitHubServer, token: str, pull: PullRequest) -> None:
    pull.create_review(body="s", event="COMMENT", comments=[{"path": "a.txt", "line": 10, "body": "here"}])
    query = """query($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) {
        pullRequest(number: $number) { reviewThreads(first: 50) { nodes { id isResolved comments(first: 1) {
        nodes { databaseId } } } } } } }"""

    def ask(query: str, **variables: Any) -> Any:
        url = f"{server.git_url}/api/graphql"
        body: Any = {"query": query, "variables": variables}
        return requests.post(url, json=body, headers={"Authorization": f"bearer {token}"}, timeout=10).json()

    def threads() -> Any:
        found = ask(query, owner="acme", name="parcel", number=1)
        return found["data"]["repository"]["pullRequest"]["reviewThreads"]["nodes"]

    assert [thread["isResolved"] for thread in threads()] == [False]
    resolve = "mutation($input: ResolveReviewThreadInput!) { resolveReviewThread(input: $input) { thread { id } } }"
    ask(resolve, input={"threadId": threads()[0]["id"]})
    assert [thread["isResolved"] for thread in threads()] == [True]
    again = "mutation($id: ID!) { unresolveReviewThread(input: {threadId: $id}) { thread { id } } }"
    ask(again, id=threads()[0]["id"])
    assert [thread["isResolved"] for thread in threads()] == [False]
    unknown = ask(resolve, input={"threadId": "eDp5"})
    assert unknown["errors"][0]["type"] == "NOT_FOUND"


# --- issues ---------------------------------------------------------------------------------------


def test_comments_are_made_edited_listed_and_bounded(repository: FakeRepository, pull: PullRequest) -> None:
    comment = pull.create_issue_comment("x" * 65_536)
    too_long = refused(lambda: pull.create_issue_comment("x" * 65_537))
    assert too_long.status == 422
    assert too_long.errors[0]["message"] == "Body is too long (maximum is 65536 characters)"
    comment.edit("short <!-- marker -->")
    assert [(found.user.login, found.body) for found in pull.get_issue_comments()] == [("bot", "short <!-- marker -->")]
    comment.delete()
    assert repository.comments(1) == []


def test_issues_are_a_tracker(repository: FakeRepository, connect: Connect, pull: PullRequest) -> None:
    number = repository.add_issue("Broken", "It is.", by="maria", labels=["ai-ready", "bug"])
    repository.add_issue("Other", by="maria")
    repo = connect().get_repo(NAME)
    (issue,) = repo.get_issues(labels=["ai-ready"], assignee="none", state="open")
    assert (issue.number, issue.title, issue.pull_request) == (number, "Broken", None)
    assert len(list(repo.get_issues())) == 3
    issue.add_to_assignees("bot")
    issue.add_to_assignees("stranger")
    assert [user.login for user in repo.get_issue(number).assignees] == ["bot"]
    assert [found.number for found in repo.get_issues(assignee="bot")] == [number]
    issue.create_comment("claimed")
    issue.remove_from_assignees("bot")
    issue.edit(state="closed", state_reason="completed")
    assert repo.get_issue(number).state == "closed"
    made = repo.create_issue("New", body="b", labels=["ai-ready"], assignees=["bot"])
    assert [label.name for label in made.labels] == ["ai-ready"]
    assert repo.get_label("AI-ready").name == "ai-ready"
    assert repo.create_label("fresh", "ff0000").color == "ff0000"
    assert refused(lambda: repo.create_label("FRESH", "ff0000")).errors[0]["code"] == "already_exists"
    assert {label.name for label in repo.get_labels()} == {"ai-ready", "bug", "fresh"}
    assert refused(lambda: repo.get_issue(99)).status == 404


# --- statuses and checks --------------------------------------------------------------------------


def test_statuses_are_the_latest_by_context(repository: FakeRepository, connect: Connect, pull: PullRequest) -> None:
    commit = connect().get_repo(NAME).get_commit(pull.head.sha)
    assert (commit.get_combined_status().state, commit.get_combined_status().total_count) == ("pending", 0)
    commit.create_status("pending", description="d" * 140, context="sdlc/quality")
    commit.create_status("success", target_url="https://example.org/run", context="sdlc/quality")
    commit.create_status("failure", context="sdlc/security")
    combined = commit.get_combined_status()
    assert combined.state == "failure"
    assert {status.context: status.state for status in combined.statuses} == {
        "sdlc/quality": "success",
        "sdlc/security": "failure",
    }
    assert len(list(commit.get_statuses())) == 3
    assert refused(lambda: commit.create_status("success", description="d" * 141)).status == 422
    unknown = requests.post(
        f"{repository.state and commit._requester.base_url}/repos/{NAME}/statuses/{'f' * 40}",
        json={"state": "success"},
        headers={"Authorization": f"token {commit._requester.auth.token}"},  # type: ignore[union-attr]
        timeout=10,
    )
    assert (unknown.status_code, unknown.json()["message"]) == (422, f"No commit found for SHA: {'f' * 40}")


def test_actions_are_check_runs_with_logs_behind_a_redirect(
    repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    run = repository.actions(pull.head.sha, by="bot", build=("success", "fine"), test=("failure", "E assert 1 == 2\n"))
    repo = connect().get_repo(NAME)
    commit = repo.get_commit(pull.head.sha)
    checks = {check.name: check for check in commit.get_check_runs()}
    assert (checks["test"].conclusion, checks["test"].app.slug) == ("failure", "github-actions")
    assert [suite.conclusion for suite in commit.get_check_suites()] == ["failure"]
    (found,) = repo.get_workflow_runs(head_sha=pull.head.sha)
    assert (found.id, found.conclusion) == (run.id, "failure")
    jobs = {job.name: job for job in repo.get_workflow_run(run.id).jobs()}
    url = jobs["test"].logs_url()
    assert requests.get(url, timeout=10).text == "E assert 1 == 2\n"
    with_token = requests.get(url, headers={"Authorization": "token x"}, timeout=10)
    assert with_token.status_code == 403
    assert (
        refused(lambda: repo.create_check_run("x", pull.head.sha)).message == "You must authenticate via a GitHub App."
    )


def test_an_app_asks_for_tokens_and_makes_check_runs(
    server: GitHubServer, repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    app = server.add_app("sdlc", "acme")
    auth = Auth.AppAuth(app.id, app.private_key)
    installed = pygithub.GithubIntegration(
        auth=auth, base_url=server.url, retry=None, seconds_between_requests=None, seconds_between_writes=None
    )
    assert installed.get_repo_installation("acme", "parcel").id == app.installation_id
    access = installed.get_access_token(app.installation_id)
    assert 3500 < access.expires_at.timestamp() - time.time() <= 3600
    repo = connect(Auth.AppInstallationAuth(auth, app.installation_id)).get_repo(NAME)
    run = repo.create_check_run(
        "sdlc/quality",
        pull.head.sha,
        status="completed",
        conclusion="failure",
        output={
            "title": "t",
            "summary": "s",
            "annotations": [
                {"path": "a.txt", "start_line": 10, "end_line": 10, "annotation_level": "warning", "message": "m"}
            ],
        },
    )
    assert [found.message for found in run.get_annotations()] == ["m"]
    run.edit(conclusion="success")
    assert repo.get_check_run(run.id).conclusion == "success"
    assert repo.get_pull(1).create_issue_comment("hello").user.login == "sdlc[bot]"

    assert refused(lambda: connect(access.token).get_user().login).message == "Resource not accessible by integration"
    server.token(access.token).expires = time.time() - 1
    assert refused(lambda: connect(access.token).get_repo(NAME)).message == "Bad credentials"
    few = server.add_app("few", "acme", permissions={"metadata": "read", "contents": "read"})
    weak = connect(Auth.AppInstallationAuth(Auth.AppAuth(few.id, few.private_key), few.installation_id))
    missing = refused(lambda: weak.get_repo(NAME).create_git_ref("refs/heads/x", pull.head.sha))
    assert (missing.status, missing.message) == (403, "Resource not accessible by integration")
    assert missing.headers["x-accepted-github-permissions"] == "contents=write"
    wrong = pygithub.GithubIntegration(auth=Auth.AppAuth(app.id, few.private_key), base_url=server.url, retry=None)
    assert refused(lambda: wrong.get_access_token(app.installation_id)).status == 401


# --- tokens, limits, pages ------------------------------------------------------------------------


def test_what_a_token_can_not_see_is_not_found(
    server: GitHubServer, repository: FakeRepository, connect: Connect
) -> None:
    assert refused(lambda: connect("ghp_wrong").get_repo(NAME)).message == "Bad credentials"
    assert refused(lambda: connect(server.add_token("stranger")).get_repo(NAME)).status == 404
    assert refused(lambda: connect(server.add_token("bot", scopes=())).get_repo(NAME)).status == 404
    reader = connect(server.add_token("eve")).get_repo(NAME)
    assert refused(lambda: reader.create_git_ref("refs/heads/x", repository.branches["main"])).status == 403
    over = server.add_token("bot", expires_in=-1)
    assert refused(lambda: connect(over).get_repo(NAME)).status == 401
    bot = connect().get_repo(NAME)
    repository.archive()
    closed = refused(lambda: bot.create_issue("x"))
    assert (closed.status, closed.message) == (403, "Repository was archived so is read-only.")


def test_the_primary_limit_says_when_it_is_reset(server: GitHubServer, token: str, connect: Connect) -> None:
    server.spend_limit(token, reset_in=0.5)
    with pytest.raises(pygithub.RateLimitExceededException) as caught:
        connect().get_repo(NAME)
    headers = caught.value.headers or {}
    assert headers["x-ratelimit-remaining"] == "0"
    assert abs(float(headers["x-ratelimit-reset"]) - time.time()) < 2
    server.limit_status = 429
    assert refused(lambda: connect().get_repo(NAME)).status == 429
    time.sleep(0.6)
    assert connect().get_repo(NAME).full_name == NAME


def test_the_secondary_limit_says_how_long_to_wait(server: GitHubServer, pull: PullRequest) -> None:
    server.fail(Fault("secondary", headers={"Retry-After": "7"}, where=on("POST", "/comments")))
    limited = refused(lambda: pull.create_issue_comment("x"))
    assert (limited.status, limited.headers["retry-after"]) == (403, "7")
    assert "secondary rate limit" in limited.message
    assert pull.create_issue_comment("x").id


def test_an_unchanged_answer_costs_nothing(server: GitHubServer, token: str, pull: PullRequest) -> None:
    url = f"{server.url}/repos/{NAME}/issues/1/comments"
    headers = {"Authorization": f"token {token}"}
    first = requests.get(url, headers=headers, timeout=10)
    left = server.token(token).remaining
    again = requests.get(url, headers={**headers, "If-None-Match": first.headers["ETag"]}, timeout=10)
    assert (again.status_code, again.content, server.token(token).remaining) == (304, b"", left)
    assert again.headers["X-GitHub-Request-Id"]
    pull.create_issue_comment("x")
    assert requests.get(url, headers={**headers, "If-None-Match": first.headers["ETag"]}, timeout=10).status_code == 200


def test_long_lists_come_in_pages(
    repository: FakeRepository, connect: Connect, server: GitHubServer, token: str
) -> None:
    for number in range(35):
        repository.add_issue(f"Issue {number}", by="maria")
    repository.commit(BRANCH, {f"f{number:03}.txt": "x\n" for number in range(105)}, by="bot")
    repo = connect().get_repo(NAME)
    assert len({issue.number for issue in repo.get_issues()}) == 35
    pull = repo.create_pull(base="main", head=BRANCH, title="t")
    assert len(list(pull.get_files())) == 105
    answer = requests.get(
        f"{server.url}/repos/{NAME}/issues?per_page=10&page=2", headers={"Authorization": f"token {token}"}, timeout=10
    )
    assert set(answer.links) == {"prev", "next", "last", "first"}


def test_requests_that_are_no_json_or_lack_a_field_are_refused(server: GitHubServer, token: str) -> None:
    def post(path: str, data: str) -> requests.Response:
        return requests.post(
            f"{server.url}/repos/{NAME}{path}", data=data, headers={"Authorization": f"token {token}"}, timeout=10
        )

    assert (post("/issues", "{").status_code, post("/issues", "[1]").status_code) == (400, 400)
    lacking = post("/pulls", json.dumps({"title": "t", "base": "main"}))
    assert (lacking.status_code, '"head" wasn\'t supplied' in lacking.json()["message"]) == (422, True)
    assert post("/statuses/main", json.dumps({"state": "green"})).status_code == 422
    assert post("/nothing", "{}").status_code == 404
    assert requests.post(f"{server.url}/repos/{NAME}/issues", json={"title": "x"}, timeout=10).status_code in (401, 404)


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_a_fault_comes_before_or_after_the_effect(
    server: GitHubServer, repository: FakeRepository, pull: PullRequest, after: bool
) -> None:
    at = on("POST", "/issues/1/comments")
    server.fail(Fault("status", status=502, after=after, where=at))
    assert refused(lambda: pull.create_issue_comment("x")).status == 502
    assert len(repository.comments(1)) == int(after)
    server.fail(Fault("reset", after=after, where=at))
    with pytest.raises(requests.ConnectionError):
        pull.create_issue_comment("y")
    assert len(repository.comments(1)) == 2 * int(after)
    assert pull.create_issue_comment("z").body == "z"


def test_hanging_and_slow_answers(server: GitHubServer, token: str, repository: FakeRepository) -> None:
    url, headers = f"{server.url}/repos/{NAME}", {"Authorization": f"token {token}"}
    server.fail(Fault("hang", where=on("GET", NAME)))
    with pytest.raises(requests.ReadTimeout):
        requests.get(url, headers=headers, timeout=0.3)
    server.fail(Fault("slow", seconds=0.3, where=on("GET", NAME)))
    started = time.monotonic()
    assert requests.get(url, headers=headers, timeout=5).status_code == 200
    assert time.monotonic() - started >= 0.3


def test_a_stale_read_answers_with_what_was_before_the_last_change(
    server: GitHubServer, repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    repo, head = connect().get_repo(NAME), repository.branches[BRANCH]
    pull.create_issue_comment("first")
    server.fail(Fault("stale", where=on("GET", "/comments")))
    assert list(pull.get_issue_comments()) == []
    assert [comment.body for comment in pull.get_issue_comments()] == ["first"]
    later = repository.commit(BRANCH, {"b.txt": "x\n"}, by="maria")
    server.fail(Fault("stale", times=2, where=on("GET", "")))
    assert repo.get_pull(1).head.sha == head
    assert repo.get_branch(BRANCH).commit.sha == head
    assert repo.get_pull(1).head.sha == later


# --- webhooks -------------------------------------------------------------------------------------


class Receiver:
    """A server that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[Message, bytes]] = []
        self.status = 202
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.headers, body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/github"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    receiver.thread.join(timeout=5)


def test_webhooks_are_signed_and_sent_in_order_and_again_when_asked(
    server: GitHubServer, repository: FakeRepository, pull: PullRequest, receiver: Receiver
) -> None:
    server.webhooks.send_to(receiver.url, "secret")
    repository.review(1, by="maria")
    repository.comment(1, "/sdlc status", by="maria")
    repository.status(pull.head.sha, "ci", "success", by="maria")
    repository.actions(pull.head.sha, by="bot", build=("success", ""))
    repository.commit(BRANCH, {"b.txt": "x\n"}, by="maria")
    pull.mark_ready_for_review()
    server.webhooks.wait()

    events = [(head["X-GitHub-Event"], json.loads(body).get("action")) for head, body in receiver.got]
    assert events == [
        ("ping", None),
        ("pull_request_review", "submitted"),
        ("issue_comment", "created"),
        ("status", None),
        ("check_run", "created"),
        ("check_run", "completed"),
        ("check_suite", "completed"),
        ("push", None),
        ("pull_request", "synchronize"),
        ("pull_request", "ready_for_review"),
    ]
    for head, body in receiver.got:
        assert head["X-Hub-Signature-256"] == "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        uuid.UUID(head["X-GitHub-Delivery"])
    review = json.loads(receiver.got[1][1])
    assert (review["review"]["state"], review["sender"]["login"]) == ("approved", "maria")
    assert review["repository"]["full_name"] == NAME
    assert all(delivery.status == 202 for delivery in server.webhooks.deliveries)

    receiver.status = 503
    again = server.webhooks.redeliver(server.webhooks.deliveries[1])
    server.webhooks.wait()
    assert (again.status, receiver.got[-1][0]["X-GitHub-Delivery"]) == (503, receiver.got[1][0]["X-GitHub-Delivery"])
    server.webhooks.held = True
    repository.comment(1, "one", by="maria")
    repository.comment(1, "two", by="maria")
    server.webhooks.release(backwards=True)
    server.webhooks.wait()
    assert [json.loads(body)["comment"]["body"] for _, body in receiver.got[-2:]] == ["two", "one"]


# --- what is refused, and what follows from a merge -------------------------------------------------


def test_what_the_fake_does_not_know_is_not_there(server: GitHubServer, token: str, repository: FakeRepository) -> None:
    for path in (f"/repos/{NAME}/nowhere", "/nowhere", f"/repos/{NAME}/check-runs"):
        answer = requests.get(server.url + path, headers={"Authorization": f"token {token}"}, timeout=10)
        assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")


def test_patterns_protect_and_rule_sets_are_shown_for_branches_that_are_not_there_yet(
    server: GitHubServer, repository: FakeRepository, connect: Connect, token: str, tmp_path: Path
) -> None:
    repository.protect("release/**", approvals=1)
    repository.rule("sdlc/**", "creation", "non_fast_forward")
    there = f"{server.git_url}/{NAME}.git".replace("//", f"//x-access-token:{token}@", 1)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", there, str(clone)], check=True, timeout=60)
    said = {}
    for branch in ("release/a/1", "sdlc/X-1", "free"):
        push = ["git", "-C", str(clone), "push", "origin", f"HEAD:refs/heads/{branch}"]
        done = subprocess.run(push, capture_output=True, text=True, timeout=60)
        said[branch] = (done.returncode, "GH006" in done.stderr, "GH013" in done.stderr)
    assert said == {"release/a/1": (1, True, False), "sdlc/X-1": (1, False, True), "free": (0, False, False)}
    rules = requests.get(
        f"{server.url}/repos/{NAME}/rules/branches/sdlc/X-1", headers={"Authorization": f"token {token}"}, timeout=10
    ).json()
    assert [rule["type"] for rule in rules] == ["creation", "non_fast_forward"]
    repository.commit("release/b", {"b.txt": "x"}, by="maria")
    assert connect().get_repo(NAME).get_branch("release/b").protected


def test_graphql_says_in_a_good_answer_that_the_limit_is_spent(server: GitHubServer, token: str) -> None:
    server.spend_limit(token)
    answer = requests.post(
        server.url.replace("/v3", "/graphql"),
        json={"query": "x"},
        headers={"Authorization": f"token {token}"},
        timeout=10,
    )
    assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (200, "0")
    assert answer.json()["errors"][0]["type"] == "RATE_LIMITED"


def test_a_merge_closes_the_issues_that_its_pull_request_names(
    repository: FakeRepository, connect: Connect, pull: PullRequest
) -> None:
    first, second = (repository.add_issue(title, by="maria") for title in ("one", "two"))
    pull.edit(body=f"Fixes #{first}; see #{second}")
    repository.ready(pull.number, by="maria")
    repository.merge(pull.number, by="maria")
    shown = [connect().get_repo(NAME).get_issue(number) for number in (first, second)]
    assert [(one.state, one.closed_by.login if one.closed_by else None) for one in shown] == [
        ("closed", "maria"),
        ("open", None),
    ]


@pytest.mark.parametrize(
    ("output", "lacks"),
    [
        ({"summary": "s"}, "title"),
        ({"title": "t"}, "summary"),
        ({"title": "t", "summary": "s", "annotations": [{"path": "a.txt", "start_line": 1}]}, "end_line"),
        ({"title": "t", "summary": "s" * 65_536}, "too long"),
    ],
)
def test_a_check_run_that_lacks_something_is_refused(
    server: GitHubServer, repository: FakeRepository, output: dict[str, Any], lacks: str
) -> None:
    app = server.add_app("checker", "acme")
    token = pygithub.GithubIntegration(
        auth=Auth.AppAuth(app.id, app.private_key), base_url=server.url, retry=None
    ).get_access_token(app.installation_id)
    answer = requests.post(
        f"{server.url}/repos/{NAME}/check-runs",
        json={"name": "x", "head_sha": repository.branches["main"], "output": output},
        headers={"Authorization": f"token {token.token}"},
        timeout=10,
    )
    assert (answer.status_code, lacks in answer.text) == (422, True)


# --- the official description ---------------------------------------------------------------------


@pytest.fixture
def official() -> openapi.Description:
    described = openapi.shared()
    if isinstance(described, openapi.Unavailable):
        pytest.skip(str(described))
    return described


def test_every_call_of_the_fake_is_one_that_github_describes(
    server: GitHubServer, official: openapi.Description
) -> None:
    unknown = [
        (method, template)
        for method, template in server.routes.templates
        if (method, template) not in openapi.NOT_DESCRIBED and not official.described(method, template)
    ]
    assert unknown == []


def test_a_wrong_answer_and_a_wrong_request_are_found(
    server: GitHubServer, pull: PullRequest, official: openapi.Description
) -> None:
    made = next(found for found in server.exchanges if found.method == "POST" and found.path.endswith("/pulls"))
    assert official.violations([made]) == []
    lacking = json.loads(made.answer)
    del lacking["base"]
    (answer,) = official.violations([replace(made, answer=json.dumps(lacking).encode())])
    assert "'base' is a required property" in answer
    (request,) = official.violations([replace(made, body=b'{"title": "t", "head": "h"}')])
    assert "'base' is a required property" in request
    (status,) = official.violations([replace(made, status=299)])
    assert "299" in status


def test_what_pygithub_seldom_asks_is_answered_as_well(
    server: GitHubServer, repository: FakeRepository, token: str, pull: PullRequest
) -> None:
    app = server.add_app("sdlc", "acme", repositories={NAME})
    server.add_repository("acme/other")
    run = repository.actions(pull.head.sha, by="bot", test=("failure", "log"))
    comment = repository.comment(1, "x", by="bot")
    repository.label(1, "one", "two", by="maria")
    person, base = {"Authorization": f"token {token}"}, f"/repos/{NAME}"

    def ask(method: str, path: str, *, headers: dict[str, str] = person, **given: Any) -> Any:
        answer = requests.request(method, server.url + path, headers=headers, timeout=10, **given)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    signed = jwt.encode(
        {"iat": int(time.time()), "exp": int(time.time()) + 60, "iss": str(app.id)}, app.private_key, "RS256"
    )
    as_app = {"Authorization": f"Bearer {signed}"}
    assert ask("GET", "/app", headers=as_app)["slug"] == "sdlc"
    assert [found["id"] for found in ask("GET", "/app/installations", headers=as_app)] == [app.installation_id]
    assert ask("GET", f"/app/installations/{app.installation_id}", headers=as_app)["repository_selection"] == "selected"
    made = ask("POST", f"/app/installations/{app.installation_id}/access_tokens", headers=as_app)
    installed = {"Authorization": f"Bearer {made['token']}"}
    assert [
        repo["full_name"] for repo in ask("GET", "/installation/repositories", headers=installed)["repositories"]
    ] == [NAME]
    assert requests.get(f"{server.url}/repos/acme/other", headers=installed, timeout=10).status_code == 404
    assert ask("GET", f"{base}/actions/jobs/{run.jobs[0]}")["conclusion"] == "failure"
    assert ask("GET", f"{base}/assignees/maria") is None
    assert ask("GET", f"{base}/check-suites/{run.suite_id}")["conclusion"] == "failure"
    assert ask("GET", f"{base}/check-suites/{run.suite_id}/check-runs")["total_count"] == 1
    repository.status(pull.head.sha, "ci", "success", by="maria")
    assert [found["context"] for found in ask("GET", f"{base}/commits/{pull.head.sha}/statuses")] == ["ci"]
    assert ask("GET", f"{base}/commits/{BRANCH}/status")["sha"] == pull.head.sha
    assert ask("GET", f"{base}/issues/comments/{comment.id}")["body"] == "x"
    assert [label["name"] for label in ask("GET", f"{base}/issues/1/labels")] == ["one", "two"]
    assert ask("POST", f"{base}/issues/1/labels", json={"labels": ["three"]})
    assert [label["name"] for label in ask("DELETE", f"{base}/issues/1/labels/one")] == ["two", "three"]
    assert [label["name"] for label in ask("PUT", f"{base}/issues/1/labels", json={"labels": ["four"]})] == ["four"]
    assert ask("GET", f"{base}/rules/branches/main") == []
    assert ask("GET", "/users/maria")["login"] == "maria"
    theirs = {"Authorization": f"token {server.add_token('maria')}"}
    pending = ask("POST", f"{base}/pulls/1/reviews", headers=theirs, json={"body": "b"})
    submitted = ask("POST", f"{base}/pulls/1/reviews/{pending['id']}/events", headers=theirs, json={"event": "APPROVE"})
    assert submitted["state"] == "APPROVED"
    diff = requests.get(
        f"{server.url}{base}/pulls/1", headers={**person, "Accept": "application/vnd.github.diff"}, timeout=10
    )
    assert "+line ten" in diff.text
