"""The GitHub forge over real HTTP: PyGithub to a fake GitHub that keeps state, git to its repositories."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sdlc.domain import (
    ApprovalDecision,
    CiState,
    DecisionKind,
    Finding,
    Panel,
    PullRequest,
    PullRequestState,
    Repository,
    RunIdentity,
    Severity,
)
from sdlc.errors import (
    BranchConflict,
    ConfigurationError,
    GuardRailViolation,
    PermissionDenied,
    RepositoryInvalid,
    ServiceUnavailable,
)
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.git.push import publish
from sdlc.integrations.github import GitHubForge, GitHubSettings
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.tokens import Tokens
from sdlc.integrations.ports import PullRequestDraft, Review
from tests.fakes import openapi
from tests.fakes.faults import Fault, on
from tests.fakes.github_server import PERMISSIONS, GitHubServer
from tests.repositories import git, new_checkout

TOKEN = "ghp_planted_secret"

Reply = tuple[int, Any, dict[str, str]]


class Wire:
    """A server that answers as it is told and remembers what came."""

    def __init__(self) -> None:
        self.answers: Callable[[str, str, dict[str, str], Any], Reply] = lambda *_: (200, {}, {})
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(raw) if raw else None
                outer.requests.append((self.command, self.path, headers, body))
                status, answer, more = outer.answers(self.command, self.path, headers, body)
                if status == 0:
                    self.connection.close()
                    return
                data = (
                    answer.encode()
                    if isinstance(answer, str)
                    else b""
                    if answer is None
                    else json.dumps(answer).encode()
                )
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_PUT = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.host}/api/v3"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


def api_of(url: str, **more: Any) -> Api:
    usual = {"base_url": url, "token": TOKEN, "timeout_seconds": 2, "seconds_between_writes": 0.0}
    settings = GitHubSettings(**(usual | more))
    return Api(settings, Tokens(settings))


# --- the wire ----------------------------------------------------------------------------------


async def test_a_post_that_fails_is_sent_once(wire: Wire) -> None:
    wire.answers = lambda *_: (502, {"message": "Server Error"}, {})
    with pytest.raises(ServiceUnavailable):
        await api_of(wire.url).call("POST", "/repos/acme/parcel/pulls", body={}, doing="trying")
    assert len(wire.requests) == 1
    assert wire.requests[0][2]["authorization"] == f"token {TOKEN}"


@pytest.mark.parametrize(
    ("status", "answer"), [(200, "<html>proxy</html>"), (200, '{"cut'), (500, "<html>"), (0, None), (502, None)]
)
async def test_what_is_no_answer_of_github_is_tried_again(wire: Wire, status: int, answer: Any) -> None:
    wire.answers = lambda *_: (status, answer, {})
    with pytest.raises(ServiceUnavailable):
        await api_of(wire.url).listed("/repos/acme/parcel/pulls", doing="trying")


async def test_a_server_that_hangs_is_given_up(wire: Wire) -> None:
    def hang(*_: Any) -> Reply:
        time.sleep(3)
        return 200, {}, {}

    wire.answers = hang
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="not reached"):
        await api_of(wire.url, timeout_seconds=1).get("/repos/acme/parcel", doing="trying")
    assert time.monotonic() - began < 2.5


async def test_a_limit_is_never_taken_for_a_missing_permission(wire: Wire) -> None:
    limit = {"message": "You have exceeded a secondary rate limit."}
    wire.answers = lambda *_: (403, limit, {"Retry-After": "9"})
    with pytest.raises(ServiceUnavailable) as limited:
        await api_of(wire.url).get("/repos/acme/parcel", doing="trying", accept=(403,))
    assert limited.value.retry_after == 9
    wire.answers = lambda *_: (403, {"message": "Resource not accessible"}, {})
    assert not (await api_of(wire.url).get("/repos/acme/parcel", doing="trying", accept=(403,))).ok


async def test_an_answer_that_did_not_change_is_asked_for_conditionally(wire: Wire) -> None:
    def answers(_: str, __: str, headers: dict[str, str], ___: Any) -> Reply:
        return (
            (304, None, {"ETag": '"1"'}) if headers.get("if-none-match") == '"1"' else (200, {"a": 1}, {"ETag": '"1"'})
        )

    wire.answers = answers
    api = api_of(wire.url)
    first = await api.get("/repos/acme/parcel", doing="trying")
    first.data["a"] = 2
    assert (await api.get("/repos/acme/parcel", doing="trying")).data["a"] == 1
    assert len(wire.requests) == 2


async def test_pages_are_followed_to_their_end_and_not_beyond(wire: Wire) -> None:
    def answers(_: str, path: str, *__: Any) -> Reply:
        page = int(re.findall(r"[?&]page=(\d+)", path)[0])
        more = {"Link": f'<{wire.url}/x?page={page + 1}>; rel="next"'} if page < 3 else {"Link": '<x>; rel="prev"'}
        return 200, {"items": [{"page": page}]}, more

    wire.answers = answers
    found = await api_of(wire.url).listed("/repos/acme/parcel/x", doing="trying", key="items")
    assert [item["page"] for item in found] == [1, 2, 3]
    assert len(await api_of(wire.url).listed("/repos/acme/parcel/x", doing="trying", key="items", most=2)) == 2


async def test_calls_at_the_same_time_do_not_get_each_others_answers(wire: Wire) -> None:
    def answers(_: str, path: str, *__: Any) -> Reply:
        time.sleep(0.02)
        return 200, {"path": path}, {}

    wire.answers = answers
    api = api_of(wire.url)
    found = await asyncio.gather(*(api.get(f"/repos/acme/parcel/{number}", doing="trying") for number in range(30)))
    assert [answer.data["path"] for answer in found] == [f"/api/v3/repos/acme/parcel/{number}" for number in range(30)]
    api.close()


async def test_a_log_lies_elsewhere_and_the_token_does_not_go_there(wire: Wire) -> None:
    with Wire() as store:
        store.answers = lambda *_: (200, "the log", {})
        wire.answers = lambda *_: (302, None, {"Location": f"{store.host}/log?sig=1"})
        assert await api_of(wire.url).download("/repos/acme/parcel/actions/jobs/1/logs", doing="trying") == "the log"
        assert [path for _, path, _, _ in store.requests] == ["/log?sig=1"]
        assert TOKEN not in json.dumps(store.requests)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_log_that_is_gone_is_none(wire: Wire, status: int) -> None:
    wire.answers = lambda *_: (status, {"message": "gone"}, {})
    assert await api_of(wire.url).download("/repos/acme/parcel/actions/jobs/1/logs", doing="trying") is None


async def test_a_renamed_repository_is_followed_and_another_host_is_not(wire: Wire) -> None:
    def answers(_: str, path: str, *__: Any) -> Reply:
        if path.endswith("/repos/acme/old"):
            return 301, {}, {"Location": f"{wire.url}/repositories/1"}
        if path.endswith("/repos/acme/evil"):
            return 301, {}, {"Location": "http://evil.example/repositories/1"}
        return 200, {"full_name": "acme/new"}, {}

    wire.answers = answers
    assert (await api_of(wire.url).get("/repos/acme/old", doing="trying")).data["full_name"] == "acme/new"
    with pytest.raises(ConfigurationError, match="elsewhere"):
        await api_of(wire.url).get("/repos/acme/evil", doing="trying")


async def test_without_a_token_nothing_is_sent(wire: Wire) -> None:
    with pytest.raises(ConfigurationError, match=r"github\.token"):
        await api_of(wire.url, token=None).get("/repos/acme/parcel", doing="trying")
    assert wire.requests == []


# --- an App ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class App:
    """The routes of an App: tokens `t1`, `t2` … that live for `minutes`."""

    def __init__(self, wire: Wire, minutes: float = 60, installed: bool = True) -> None:
        self.made = 0
        self.revoked: set[str] = set()
        self.minutes = minutes
        self.installed = installed
        wire.answers = self

    def __call__(self, _: str, path: str, headers: dict[str, str], __: Any) -> Reply:
        if path.endswith("/installation"):
            return (200, {"id": 5}, {}) if self.installed else (404, {"message": "Not Found"}, {})
        if path.endswith("/access_tokens"):
            self.made += 1
            ends = datetime.now(UTC) + timedelta(minutes=self.minutes)
            return 201, {"token": f"t{self.made}", "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}, {}
        if path.endswith("/app"):
            return 200, {"slug": "sdlc"}, {}
        if headers["authorization"].split()[-1] in self.revoked:
            return 401, {"message": "Bad credentials"}, {}
        return 200, {"as": headers["authorization"].split()[-1]}, {}


def app_api(wire: Wire, key: str, **more: Any) -> Api:
    return api_of(wire.url, token=None, app_id="12", private_key=key, **more)


async def test_an_app_takes_a_token_once_and_renews_it_before_it_ends(wire: Wire, private_key: str) -> None:
    app, api = App(wire), app_api(wire, private_key)
    answers = [await api.get("/repos/acme/parcel", doing="trying") for _ in range(3)]
    assert [answer.data["as"] for answer in answers] == ["t1"] * 3
    assert app.made == 1
    assert await api.tokens.login() == "sdlc[bot]"

    app, api = App(wire, minutes=9), app_api(wire, private_key)
    assert [(await api.get("/repos/acme/parcel", doing="trying")).data["as"] for _ in range(2)] == ["t1", "t2"]


async def test_a_token_of_an_app_that_was_revoked_is_replaced_at_once(wire: Wire, private_key: str) -> None:
    app, api = App(wire), app_api(wire, private_key, installation_id=5)
    assert (await api.get("/repos/acme/parcel", doing="trying")).data["as"] == "t1"
    app.revoked.add("t1")
    assert (await api.get("/repos/acme/parcel", doing="trying")).data["as"] == "t2"
    app.revoked.add("t2")
    app.revoked.add("t3")
    with pytest.raises(PermissionDenied):
        await api.get("/repos/acme/parcel", doing="trying")


async def test_an_app_that_is_not_installed_says_so(wire: Wire, private_key: str) -> None:
    App(wire, installed=False)
    with pytest.raises(PermissionDenied, match="not installed for acme/parcel"):
        await app_api(wire, private_key).get("/repos/acme/parcel", doing="trying")


async def test_a_key_that_is_none_is_a_fault_of_the_configuration(wire: Wire) -> None:
    with pytest.raises(ConfigurationError, match="private_key"):
        await app_api(wire, "no key").get("/repos/acme/parcel", doing="trying")
    assert wire.requests == []


async def test_git_gets_the_token_for_this_github_only(wire: Wire, private_key: str) -> None:
    App(wire)
    tokens = app_api(wire, private_key).tokens
    credential = await tokens.of(f"{wire.host}/acme/parcel.git")
    assert credential is not None
    assert (credential.user, credential.password) == ("x-access-token", "t1")
    assert await tokens.of("https://github.com/acme/parcel.git") is None
    assert await tokens.of("/srv/parcel") is None
    assert await tokens.refused(credential)
    renewed = await tokens.of(f"{wire.host}/acme/parcel.git")
    assert renewed is not None
    assert renewed.password == "t2"


# --- a whole GitHub ----------------------------------------------------------------------------

RUN = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r1", ticket_key="BUG-1")
NEXT = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r2", ticket_key="BUG-1")
BRANCH = "sdlc/BUG-1-rounds"
LONG = "".join(f"line {number}\n" for number in range(1, 41))


class Stage:
    """A fake GitHub with one repository, and the forge that works on it as `sdlc-bot`."""

    def __init__(self, github: GitHubServer, folder: Path) -> None:
        self.github = github
        self.folder = folder
        github.add_user("maria")
        self.there = github.add_repository(
            "acme/parcel",
            files={"a.py": LONG, "b.py": LONG, ".github/CODEOWNERS": "* @maria @sdlc-bot\n"},
            collaborators={"sdlc-bot": "write", "maria": "maintain", "ann": "write", "eve": "read"},
        )
        self.token = github.add_token("sdlc-bot")
        self.forge = self.new_forge()
        self.made = 0

    def new_forge(self, *, token: str | None = None, folder: str = "cache", **more: Any) -> GitHubForge:
        usual: dict[str, Any] = {
            "base_url": self.github.url,
            **({} if "app_id" in more else {"token": token or self.token}),
            "timeout_seconds": 2,
            "seconds_between_writes": 0.0,
            "checks_grace_seconds": 0.0,
        }
        return GitHubForge(
            GitHubSettings(**(usual | more)),
            git_home=self.folder / folder / "git",
            artifacts=ArtifactStore(self.folder / "artifacts"),
        )

    async def opened(self) -> Repository:
        return await self.forge.open_repository("acme/parcel")

    async def work(self, repository: Repository, files: dict[str, str], base: str = "") -> str:
        """A commit in the clone of this host, published as a work ref, as the baton is."""
        self.made += 1
        clone = self.forge.clones.of(repository.url)
        await clone.require(base or repository.base_sha)
        ref = f"refs/sdlc/r1/{self.made}"
        stream = (
            f"commit {ref}\ncommitter Bot <bot@example.org> {self.made} +0000\ndata 4\nwork\n"
            f"from {base or repository.base_sha}\n"
        ) + "".join(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n" for name, text in files.items())
        await clone.git.run("fast-import", "--quiet", stdin=stream.encode())
        sha = (await clone.git.run("rev-parse", ref)).text
        await publish(clone, ref, sha)
        return sha

    async def pull(self, **more: Any) -> tuple[Repository, PullRequest]:
        """A pull request of the run, with lines 2 and 30 of a.py changed."""
        repository = await self.opened()
        changed = LONG.replace("line 2\n", "line two\n").replace("line 30\n", "line thirty\n")
        head = await self.work(repository, {"a.py": changed})
        return repository, await self.forge.open_pull_request(draft(repository, head, **more), run=RUN)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A GitHub on which all that we send and are sent must be as GitHub describes it."""
    with GitHubServer() as github:
        yield Stage(github, tmp_path)
    openapi.check(github.exchanges)


def draft(repository: Repository, head: str, **more: Any) -> PullRequestDraft:
    usual = {"repository": repository, "branch": BRANCH, "head_sha": head, "title": "fix: it", "body": "Evidence"}
    return PullRequestDraft(**(usual | {"labels": ("sdlc",)} | more))


def finding(line: int, file: str = "a.py", **more: Any) -> Finding:
    usual = {"panel": Panel.QUALITY, "rule": "ruff:B006", "severity": Severity.MINOR, "message": f"wrong at {line}"}
    return Finding(**(usual | {"file": file, "line": line, "end_line": line, "fingerprint": f"{file}{line}"} | more))


async def repeated(call: Callable[[], Any], delays: list[float | None] | None = None) -> Any:
    """As Temporal repeats an activity, without its waits; the delays that were asked for go into `delays`."""
    for _ in range(5):
        try:
            return await call()
        except ServiceUnavailable as error:
            if delays is not None:
                delays.append(error.retry_after)
    return await call()


async def delivered(stage: Stage) -> PullRequest:
    """A run's whole way through the forge, each call repeated where the world was at fault."""
    forge = stage.forge
    repository: Repository = await repeated(lambda: forge.open_repository("acme/parcel"))
    changed = LONG.replace("line 2\n", "line two\n").replace("line 30\n", "line thirty\n")
    head = await repeated(lambda: stage.work(repository, {"a.py": changed}))
    pull_request: PullRequest = await repeated(lambda: forge.open_pull_request(draft(repository, head), run=RUN))
    await repeated(lambda: forge.checks(repository, pull_request))
    for review in (
        review_of(pull_request, finding(2), finding(20)),
        review_of(pull_request, finding(30), summary="Better"),
    ):
        await repeated(functools.partial(forge.publish_review, repository, pull_request, review, run=RUN))
    await repeated(lambda: forge.mark_ready(repository, pull_request, reviewers=("ann",), run=RUN))
    decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="ann", head_sha=head, source="cli", decision_id="d1")
    await repeated(lambda: forge.record_decision(repository, pull_request, decision, run=RUN))
    await repeated(lambda: forge.news(repository, pull_request, run=RUN))
    merged: PullRequest = await repeated(lambda: forge.merge(repository, pull_request, run=RUN))
    return merged


def outcome(stage: Stage) -> dict[str, Any]:
    """All that people see of it."""
    pull = stage.there.pull(1)
    return {
        "pulls": list(stage.there.pulls),
        "branches": sorted(stage.there.branches),
        "comments": [one.body.split("\n")[0].split(" `")[0] for one in stage.there.comments(1)],
        "on lines": sorted((one.path, one.line or 0, one.body[:20]) for one in pull.comments),
        "threads resolved": len(pull.resolved),
        "statuses": sorted((one.context, one.state) for one in stage.there.state.statuses),
        "asked": sorted(pull.reviewers),
        "merged": pull.merged is not None,
        "labels": stage.there.issues[1].labels,
    }


# --- opening -----------------------------------------------------------------------------------


async def test_a_repository_is_opened_by_name_address_or_checkout(stage: Stage) -> None:
    repository = await stage.opened()
    assert repository.base_sha == stage.there.branches["main"]
    assert (repository.name, repository.base_branch) == ("acme/parcel", "main")
    assert TOKEN[:4] not in repository.model_dump_json()
    folder = new_checkout(stage.folder / "work", {"x": "1"}).path
    git(folder, "remote", "add", "origin", f"{stage.github.git_url}/acme/parcel.git")
    for origin in (f"{stage.github.git_url}/acme/parcel/pull/3", str(folder)):
        assert (await stage.forge.open_repository(origin)).url == repository.url


async def test_a_repository_that_can_not_be_worked_on_is_refused_with_the_reason(stage: Stage) -> None:
    stage.github.add_repository("acme/empty", collaborators={"sdlc-bot": "write"})
    stage.github.add_repository("acme/read", files={}, collaborators={"sdlc-bot": "read"})
    with pytest.raises(RepositoryInvalid, match="empty"):
        await stage.forge.open_repository("acme/empty")
    with pytest.raises(PermissionDenied, match="may only read"):
        await stage.forge.open_repository("acme/read")
    with pytest.raises(RepositoryInvalid, match=r"no branch gone.*main"):
        await stage.forge.open_repository("acme/parcel", base_branch="gone")
    with pytest.raises(RepositoryInvalid, match="found nothing"):
        await stage.forge.open_repository("acme/nowhere")
    with pytest.raises(RepositoryInvalid, match="no folder"):
        await stage.forge.open_repository("./nowhere")
    stage.there.archive()
    with pytest.raises(RepositoryInvalid, match="archived"):
        await stage.opened()


async def test_a_wrong_token_and_a_missing_scope_are_named(stage: Stage) -> None:
    with pytest.raises(PermissionDenied, match="refused the token"):
        await stage.new_forge(token="ghp_wrong").open_repository("acme/parcel")
    weak = stage.github.add_token("sdlc-bot", scopes=("gist",))
    with pytest.raises((PermissionDenied, RepositoryInvalid), match="scope repo"):
        await stage.new_forge(token=weak).open_repository("acme/parcel")


# --- the pull request --------------------------------------------------------------------------


async def test_a_run_has_one_pull_request_a_draft_first(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    assert pull_request.state is PullRequestState.DRAFT
    assert (pull_request.branch, pull_request.base_branch) == (BRANCH, "main")
    assert stage.there.branches[BRANCH] == pull_request.head_sha
    assert stage.there.issues[pull_request.number].labels == ["sdlc"]
    assert RUN.marker in (stage.there.issues[pull_request.number].body or "")

    again = await stage.forge.open_pull_request(draft(repository, pull_request.head_sha), run=RUN)
    assert again.number == pull_request.number
    other_host = stage.new_forge(folder="other")
    assert await other_host.pull_request_of(repository, RUN) == pull_request
    assert await other_host.pull_request_of(repository, NEXT) is None
    assert len(stage.there.pulls) == 1


async def test_a_second_round_moves_the_branch_forward_and_never_elsewhere(stage: Stage) -> None:
    repository, first = await stage.pull()
    stage.there.rule("sdlc/**", "non_fast_forward")
    ahead = await stage.work(repository, {"b.py": "x\n"}, base=first.head_sha)
    moved = await stage.forge.open_pull_request(draft(repository, ahead, title="fix: more"), run=RUN)
    assert stage.there.branches[BRANCH] == ahead == moved.head_sha
    assert moved.number == first.number
    assert stage.there.issues[first.number].title == "fix: more"
    elsewhere = await stage.work(repository, {"b.py": "y\n"})
    with pytest.raises(BranchConflict, match="no part of this run's work; take it in"):
        await stage.forge.open_pull_request(draft(repository, elsewhere, title="fix: less"), run=RUN)
    assert stage.there.branches[BRANCH] == ahead
    assert stage.there.issues[first.number].title == "fix: more"


async def test_a_push_of_a_person_is_never_overwritten(stage: Stage) -> None:
    repository, first = await stage.pull()
    theirs = stage.there.commit(BRANCH, {"c.py": "by hand\n"}, by="maria")
    head = await stage.work(repository, {"b.py": "x\n"}, base=first.head_sha)
    with pytest.raises(BranchConflict, match=theirs[:10]):
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert stage.there.branches[BRANCH] == theirs
    taken_in = await stage.work(repository, {"b.py": "x\n"}, base=theirs)
    assert (await stage.forge.open_pull_request(draft(repository, taken_in), run=RUN)).head_sha == taken_in


async def test_a_foreign_branch_of_that_name_is_left_alone(stage: Stage) -> None:
    theirs = stage.there.commit(BRANCH, {"c.py": "by hand\n"}, by="maria")
    _, pull_request = await stage.pull()
    assert pull_request.branch == f"{BRANCH}-2"
    assert stage.there.branches[BRANCH] == theirs


async def test_the_next_run_of_a_ticket_closes_what_the_last_one_left(stage: Stage) -> None:
    repository, first = await stage.pull()
    head = await stage.work(repository, {"b.py": "x\n"})
    second = await stage.forge.open_pull_request(draft(repository, head), run=NEXT)
    assert second.branch == f"{BRANCH}-2"
    assert stage.there.issues[first.number].state == "closed"
    assert stage.there.branches[BRANCH] == first.head_sha
    assert "superseded" in stage.there.comments(first.number)[-1].body
    assert await stage.forge.pull_request_of(repository, RUN) is not None


async def test_a_branch_that_was_pushed_before_a_try_broke_off_is_taken_up(stage: Stage) -> None:
    repository = await stage.opened()
    head = await stage.work(repository, {"b.py": "x\n"})
    stage.github.fail(Fault("status", status=500, where=on("POST", "/pulls")))
    with pytest.raises(ServiceUnavailable):
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert stage.there.branches[BRANCH] == head
    ahead = await stage.work(repository, {"b.py": "y\n"}, base=head)
    pull_request = await stage.forge.open_pull_request(draft(repository, ahead), run=RUN)
    assert (pull_request.branch, pull_request.head_sha) == (BRANCH, ahead)


async def test_a_pull_request_that_a_person_made_of_our_branch_is_adopted(stage: Stage) -> None:
    repository = await stage.opened()
    head = await stage.work(repository, {"b.py": "x\n"})
    stage.github.fail(Fault("status", status=500, where=on("POST", "/pulls")))
    with pytest.raises(ServiceUnavailable):
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    number = stage.there.open_pull(BRANCH, by="maria", body="I was faster")
    assert (await stage.forge.open_pull_request(draft(repository, head), run=RUN)).number == number
    body = stage.there.issues[number].body or ""
    assert "Evidence" in body
    assert "> I was faster" in body


async def test_what_a_person_closed_or_merged_is_not_opened_again(stage: Stage) -> None:
    repository, first = await stage.pull()
    stage.there.close(first.number, by="maria")
    assert (await stage.forge.pull_request(repository, first.number)).state is PullRequestState.CLOSED
    with pytest.raises(BranchConflict, match="is closed"):
        await stage.forge.open_pull_request(draft(repository, first.head_sha), run=RUN)
    assert len(stage.there.pulls) == 1


async def test_a_repository_without_drafts_gets_an_open_one(stage: Stage) -> None:
    stage.there.state.drafts_allowed = False
    _, pull_request = await stage.pull()
    assert pull_request.state is PullRequestState.OPEN


async def test_a_description_that_is_too_long_is_cut(stage: Stage) -> None:
    repository, first = await stage.pull(body="x" * 65_537, title="t" * 300)
    again = await stage.forge.open_pull_request(
        draft(repository, first.head_sha, body="x" * 65_537, title="t" * 300), run=RUN
    )
    assert again.number == first.number


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=502),
        Fault("status", status=502, after=True),
        Fault("reset"),
        Fault("reset", after=True),
        Fault("secondary"),
        Fault("status", status=500, times=2),
        Fault("hang"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{'after' if fault.after else 'before'}-{fault.times}",
)
@pytest.mark.parametrize("where", [("GET", "/pulls"), ("POST", "/pulls"), ("PATCH", "/pulls"), ("POST", "/labels")])
async def test_whatever_breaks_there_is_one_pull_request_in_the_end(
    stage: Stage, fault: Fault, where: tuple[str, str]
) -> None:
    repository = await stage.opened()
    head = await stage.work(repository, {"b.py": "x\n"})
    forge = stage.new_forge(timeout_seconds=1)
    stage.github.fail(replace(fault, where=on(*where)))
    delays: list[float | None] = []
    for title in ("fix: it", "fix: it", "fix: it better"):
        wanted = draft(repository, head, title=title)
        pull_request = await repeated(functools.partial(forge.open_pull_request, wanted, run=RUN), delays)
    assert stage.github.faults.waiting == 0
    assert delays == [60.0 if fault.kind == "secondary" else None] * fault.times
    assert list(stage.there.pulls) == [pull_request.number]
    assert stage.there.branches[BRANCH] == head
    assert stage.there.issues[pull_request.number].title == "fix: it better"
    assert stage.there.issues[pull_request.number].labels == ["sdlc"]


async def test_a_list_that_is_late_does_not_make_a_second_pull_request(stage: Stage) -> None:
    repository, first = await stage.pull(labels=())
    stage.github.fail(Fault("stale", times=20, where=on("GET", "/pulls")))
    with contextlib.suppress(ServiceUnavailable):
        await stage.forge.open_pull_request(draft(repository, first.head_sha, labels=()), run=RUN)
    stage.github.faults.clear()
    again = await stage.forge.open_pull_request(draft(repository, first.head_sha, labels=()), run=RUN)
    assert (again.number, len(stage.there.pulls)) == (first.number, 1)


# --- checks ------------------------------------------------------------------------------------


async def test_checks_go_from_none_to_red_with_their_log_to_green(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.NONE
    stage.there.actions(pull_request.head_sha, by="sdlc-bot", build=(None, ""))
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.PENDING
    stage.there.finish("build", "failure", log="2026-01-01T00:00:00.0Z ##[group]Run make\n##[error]exit 2\n")
    red = await stage.forge.checks(repository, pull_request)
    assert (red.state, [one.test for one in red.failures]) == (CiState.RED, ["build"])
    assert red.log is not None
    assert "error: exit 2" in await ArtifactStore(stage.folder / "artifacts").text(red.log)
    stage.there.finish("build", "success")
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.GREEN


async def test_a_head_has_a_moment_for_its_checks_to_begin(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    forge = stage.new_forge(checks_grace_seconds=0.3)
    assert (await forge.checks(repository, pull_request)).state is CiState.PENDING
    await asyncio.sleep(0.35)
    assert (await forge.checks(repository, pull_request)).state is CiState.NONE


async def test_a_required_check_is_waited_for_and_others_do_not_decide(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.there.protect("main", contexts=["deploy"])
    stage.there.status(pull_request.head_sha, "lint", "failure", by="ann")
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.PENDING
    stage.there.status(pull_request.head_sha, "deploy", "success", by="ann")
    report = await stage.forge.checks(repository, pull_request)
    assert (report.state, "not required: lint" in report.note) == (CiState.GREEN, True)


async def test_a_token_that_may_not_read_checks_reads_what_it_may(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.there.actions(pull_request.head_sha, by="sdlc-bot", build=("failure", "boom\n"))
    may = {"metadata": "read", "contents": "write", "pull_requests": "write", "statuses": "write", "issues": "write"}
    poor = stage.github.add_fine_grained_token("sdlc-bot", permissions={**may, "actions": "read"})
    report = await stage.new_forge(token=poor).checks(repository, pull_request)
    assert (report.state, "may not read checks" in report.note) == (CiState.RED, True)
    assert report.log is not None
    poorer = stage.github.add_fine_grained_token("sdlc-bot", permissions=may)
    stage.there.status(pull_request.head_sha, "ci", "success", by="ann")
    report = await stage.new_forge(token=poorer).checks(repository, pull_request)
    assert (report.state, "only statuses" in report.note) == (CiState.GREEN, True)


# --- the review --------------------------------------------------------------------------------


def review_of(pull_request: PullRequest, *findings: Finding, summary: str = "Summary") -> Review:
    return Review(
        head_sha=pull_request.head_sha,
        summary=summary,
        findings=findings,
        statuses={"sdlc/quality": ("failure", "1 minor"), "sdlc/security": ("success", "x" * 200)},
    )


async def test_findings_stand_on_their_lines_once_and_are_marked_when_they_are_gone(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    pull = stage.there.pull(pull_request.number)
    listed = [finding(2), finding(20), finding(1, "b.py")]
    for _ in range(2):
        await stage.forge.publish_review(repository, pull_request, review_of(pull_request, *listed), run=RUN)
    assert [(one.path, one.line, one.subject) for one in pull.comments] == [("a.py", 2, "line"), ("a.py", None, "file")]
    assert len(pull.reviews) == len({one.review_id for one in pull.comments})
    (summary,) = stage.there.comments(pull_request.number)
    assert "`b.py:1`" in summary.body
    assert "Summary" in summary.body
    assert {context: one.state for context, one in stage.there.statuses(pull_request.head_sha).items()} == {
        "sdlc/quality": "failure",
        "sdlc/security": "success",
    }
    assert len(stage.there.state.statuses) == 2

    await stage.forge.publish_review(repository, pull_request, review_of(pull_request, summary="Better"), run=RUN)
    assert all(one.body.startswith("**Resolved:**") for one in pull.comments)
    assert pull.resolved == {one.thread for one in pull.comments}
    assert "Better" in stage.there.comments(pull_request.number)[0].body
    assert len(stage.there.comments(pull_request.number)) == 1

    await stage.forge.publish_review(repository, pull_request, review_of(pull_request, finding(2)), run=RUN)
    assert [one.body.startswith("**Resolved:**") for one in pull.comments] == [False, True]
    assert pull.comments[1].thread in pull.resolved


async def test_a_review_whose_answer_was_lost_is_not_written_twice(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    review = review_of(pull_request, finding(2), finding(30), finding(20))
    for where in (on("POST", "/reviews"), on("POST", "/comments"), on("POST", "/statuses")):
        stage.github.fail(Fault("status", status=502, after=True, where=where))
    for _ in range(10):
        with contextlib.suppress(ServiceUnavailable):
            await stage.forge.publish_review(repository, pull_request, review, run=RUN)
            break
    pull = stage.there.pull(pull_request.number)
    assert stage.github.faults.waiting == 0
    assert sorted((one.line or 0) for one in pull.comments) == [0, 2, 30]
    assert len(stage.there.comments(pull_request.number)) == 1


async def test_a_line_that_github_refuses_goes_to_the_file_and_the_others_to_their_lines(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.github.fail(Fault("status", status=422, where=on("POST", "/reviews")))
    stage.github.fail(Fault("status", status=422, where=on("POST", f"/pulls/{pull_request.number}/comments")))
    review = review_of(pull_request, finding(2), finding(30))
    await stage.forge.publish_review(repository, pull_request, review, run=RUN)
    found = [(one.line, one.subject) for one in stage.there.pull(pull_request.number).comments]
    assert sorted(found, key=str) == [(30, "line"), (None, "file")]


async def test_a_comment_that_a_person_copied_is_not_taken_for_ours(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.publish_review(repository, pull_request, review_of(pull_request), run=RUN)
    ours = stage.there.comments(pull_request.number)[0]
    stage.there.state.issues[pull_request.number].comments.clear()
    theirs = stage.there.comment(pull_request.number, ours.body, by="eve")
    await stage.forge.publish_review(repository, pull_request, review_of(pull_request, summary="New"), run=RUN)
    bodies = [(one.login, one.body) for one in stage.there.comments(pull_request.number)]
    assert bodies[0] == ("eve", theirs.body)
    assert bodies[1][0] == "sdlc-bot"
    assert "New" in bodies[1][1]


# --- people ------------------------------------------------------------------------------------


async def test_it_becomes_ready_and_those_are_asked_whom_github_takes(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    for _ in range(2):
        ready = await stage.forge.mark_ready(
            repository, pull_request, reviewers=("ann", "nobody", "sdlc-bot"), run=RUN, starter=("ann",)
        )
    assert ready.state is PullRequestState.OPEN
    assert set(stage.there.pull(pull_request.number).reviewers) == {"ann", "maria"}
    (said,) = stage.there.comments(pull_request.number)
    assert "no review of nobody" in said.body


async def test_the_starter_alone_is_not_asked(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    forge = stage.new_forge(code_owners=False)
    await forge.mark_ready(repository, pull_request, reviewers=("Ann",), run=RUN, starter=("ann",))
    assert stage.there.pull(pull_request.number).reviewers == []


async def test_what_people_said_is_heard_by_their_right_to_say_it(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    number = pull_request.number
    stage.there.review(number, by="maria", event="APPROVE")
    stage.there.review(number, by="eve", event="APPROVE", body="me too")
    stage.there.comment(number, "please rename x", by="ann")
    found = await stage.forge.news(repository, pull_request, run=RUN)
    assert [(one.by, one.kind, one.head_sha) for one in found.decisions] == [
        ("maria", DecisionKind.APPROVE, pull_request.head_sha)
    ]
    assert [(one.by, one.body) for one in found.feedback] == [("ann", "please rename x")]
    assert [(one.by, one.body) for one in found.shown] == [("eve", "me too")]
    moved = await stage.work(repository, {"b.py": "x\n"}, base=pull_request.head_sha)
    pushed = await stage.forge.open_pull_request(draft(repository, moved), run=RUN)
    found = await stage.forge.news(repository, pushed, run=RUN)
    assert [one.head_sha for one in found.decisions] == [pull_request.head_sha]


async def test_a_decision_that_was_made_elsewhere_is_shown_once(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    decision = ApprovalDecision(kind=DecisionKind.APPROVE, by="ann", head_sha="a" * 40, source="cli", comment="@eve hi")
    stage.github.fail(Fault("status", status=502, after=True, where=on("POST", "/comments")))
    with pytest.raises(ServiceUnavailable):
        await stage.forge.record_decision(repository, pull_request, decision, run=RUN)
    await stage.forge.record_decision(repository, pull_request, decision, run=RUN)
    (said,) = stage.there.comments(pull_request.number)
    assert "ann: **approve**" in said.body
    assert "`@eve`" in said.body
    here = decision.model_copy(update={"source": "forge"})
    await stage.forge.record_decision(repository, pull_request, here, run=RUN)
    assert len(stage.there.comments(pull_request.number)) == 1


# --- the end -----------------------------------------------------------------------------------


async def test_the_approved_head_is_merged_once_though_the_answer_is_lost(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    stage.github.fail(Fault("status", status=502, after=True, where=on("PUT", "/merge")))
    with pytest.raises(ServiceUnavailable):
        await stage.forge.merge(repository, pull_request, run=RUN)
    for _ in range(2):
        assert (await stage.forge.merge(repository, pull_request, run=RUN)).state is PullRequestState.MERGED
    assert stage.github.requests.count(("PUT", f"/api/v3/repos/acme/parcel/pulls/{pull_request.number}/merge")) == 1


async def test_only_the_approved_head_is_merged(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    stage.there.commit(BRANCH, {"c.py": "late\n"}, by="maria")
    with pytest.raises(BranchConflict, match=f"{pull_request.head_sha[:10]} was approved"):
        await stage.forge.merge(repository, pull_request, run=RUN)
    assert stage.there.pull(pull_request.number).merged is None


@pytest.mark.parametrize(
    ("rules", "says"), [({"approvals": 1}, "branch protection"), ({"contexts": ["deploy"]}, "branch protection")]
)
async def test_branch_protection_is_heeded(stage: Stage, rules: dict[str, Any], says: str) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    stage.there.protect("main", **rules)
    # Who may bypass the protection does not do it here.
    stage.there.collaborator("sdlc-bot", "admin")
    with pytest.raises(BranchConflict, match=says):
        await stage.forge.merge(repository, pull_request, run=RUN)
    assert stage.there.pull(pull_request.number).merged is None


async def test_a_draft_and_a_conflict_are_not_merged(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    with pytest.raises(BranchConflict, match="draft"):
        await stage.forge.merge(repository, pull_request, run=RUN)
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    stage.there.commit("main", {"a.py": LONG.replace("line 2\n", "line II\n")}, by="maria")
    with pytest.raises(BranchConflict, match="conflicts"):
        await stage.forge.merge(repository, pull_request, run=RUN)


async def test_a_method_that_the_repository_does_not_allow_is_replaced(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    stage.there.state.merge_methods = ("squash",)
    assert (await stage.forge.merge(repository, pull_request, run=RUN)).state is PullRequestState.MERGED


async def test_closing_keeps_the_branch_and_says_why_once(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.github.fail(Fault("status", status=502, after=True, where=on("PATCH", "/pulls")))
    with pytest.raises(ServiceUnavailable):
        await stage.forge.close(repository, pull_request, reason="cancelled", run=RUN)
    closed = await stage.forge.close(repository, pull_request, reason="cancelled", run=RUN)
    assert closed.state is PullRequestState.CLOSED
    assert BRANCH in stage.there.branches
    assert [one.body.count("cancelled") for one in stage.there.comments(pull_request.number)] == [1]


# --- what people leave lying about -------------------------------------------------------------


async def test_who_started_it_stands_in_the_merge(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    run = RUN.model_copy(update={"coauthor": "Ann Lee <ann@example.org>"})
    await stage.forge.merge(repository, pull_request, run=run)
    commit = stage.there.state.bare.commit(stage.there.branches["main"])
    assert commit is not None
    assert commit.message.strip() == (
        f"Merge pull request #1 from acme/{BRANCH}\n\nfix: it\n\nCo-authored-by: Ann Lee <ann@example.org>"
    )


@pytest.mark.parametrize(("method", "coauthor"), [("squash", "Ann <a@example.org>"), ("merge", ""), ("squash", "")])
async def test_a_merge_says_no_more_than_is_known(stage: Stage, method: str, coauthor: str) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    forge = stage.new_forge(merge_method=method)
    await forge.merge(repository, pull_request, run=RUN.model_copy(update={"coauthor": coauthor}))
    (sent,) = [json.loads(one.body) for one in stage.github.exchanges if one.path.endswith("/merge")]
    assert sent["merge_method"] == method
    assert sent.get("commit_message") == (f"Co-authored-by: {coauthor}" if coauthor else None)


async def test_an_issue_is_closed_by_the_merge_only_where_that_is_wished(stage: Stage) -> None:
    number = stage.there.add_issue("Totals are rounded twice", by="ann")
    other = stage.there.add_issue("Another", by="ann")
    repository, pull_request = await stage.pull(issue=number, body="x" * 70_000)
    body = stage.there.issues[pull_request.number].body or ""
    assert body.count(f"Closes #{number}") == 1
    again = draft(repository, pull_request.head_sha, issue=number)
    assert (await stage.forge.open_pull_request(again, run=RUN)).number == pull_request.number
    body = stage.there.issues[pull_request.number].body or ""
    assert re.sub("<!--.*?-->", "", body).split() == ["Evidence", "Closes", f"#{number}"]
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    await stage.forge.merge(repository, pull_request, run=RUN)
    assert [stage.there.issues[one].state for one in (number, other)] == ["closed", "open"]


async def test_without_an_issue_nothing_is_said_to_close(stage: Stage) -> None:
    _, pull_request = await stage.pull()
    assert "Closes" not in (stage.there.issues[pull_request.number].body or "")


async def test_a_branch_that_an_earlier_run_left_without_a_pull_request_is_left_alone(stage: Stage) -> None:
    repository = await stage.opened()
    left = await stage.work(repository, {"b.py": "left\n"})
    stage.there.force(BRANCH, left, by="sdlc-bot")
    _, pull_request = await stage.pull()
    assert pull_request.branch == f"{BRANCH}-2"
    assert stage.there.branches[BRANCH] == left


async def test_a_base_branch_may_be_named_by_an_emoji(stage: Stage) -> None:
    base = "release/🚀-#1%20"
    stage.there.commit(base, {"c.py": "x\n"}, by="maria")
    repository = await stage.forge.open_repository("acme/parcel", base_branch=base)
    head = await stage.work(repository, {"b.py": "x\n"})
    pull_request = await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert pull_request.base_branch == base
    stage.there.protect(base, contexts=["deploy"])
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.PENDING
    stage.there.status(head, "deploy", "success", by="ann")
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    assert (await stage.forge.merge(repository, pull_request, run=RUN)).state is PullRequestState.MERGED


async def test_a_branch_of_ours_is_never_named_by_an_emoji(stage: Stage) -> None:
    with pytest.raises(GuardRailViolation, match="not ours to push"):
        await stage.pull(branch="sdlc/BUG-1-🚀")
    assert list(stage.there.branches) == ["main"]


@pytest.mark.parametrize("size", [65_500, 65_536, 65_537, 200_000])
async def test_a_comment_is_cut_to_what_github_takes_and_stays_one(stage: Stage, size: int) -> None:
    repository, pull_request = await stage.pull()
    for _ in range(2):
        await stage.forge.say(repository, pull_request, "x" * size, run=RUN, topic="long")
    (said,) = stage.there.comments(pull_request.number)
    assert len(said.body) <= 65_536
    assert ("cut here" in said.body) == (size > 65_500)


async def test_a_repository_that_is_archived_on_the_way_says_so(stage: Stage) -> None:
    repository = await stage.opened()
    head = await stage.work(repository, {"b.py": "x\n"})
    stage.there.archive()
    with pytest.raises(RepositoryInvalid, match="archived"):
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)


@pytest.mark.parametrize("kind", ["protection", "creation"])
async def test_rules_that_keep_our_branches_out_are_named(stage: Stage, kind: str) -> None:
    repository = await stage.opened()
    head = await stage.work(repository, {"b.py": "x\n"})
    if kind == "protection":
        stage.there.protect("sdlc/**", approvals=1)
    else:
        stage.there.rule("sdlc/**", kind)
    with pytest.raises(PermissionDenied, match=rf"rule or branch protection of acme/parcel fits {BRANCH}"):
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert list(stage.there.branches) == ["main"]
    assert stage.there.pulls == {}


async def test_the_starter_is_not_asked_alone_under_any_name(stage: Stage) -> None:
    stage.github.add_user("zoe", name="Zoe Zimmer", email="zoe@example.org")
    stage.there.collaborator("zoe", "write")
    repository, pull_request = await stage.pull()
    forge = stage.new_forge(code_owners=False)
    for starter in (("Zoe Zimmer",), ("712020:abc", "ZOE@example.org"), ("z", "@zoe")):
        await forge.mark_ready(repository, pull_request, reviewers=("zoe",), run=RUN, starter=starter)
        assert stage.there.pull(pull_request.number).reviewers == []
    await forge.mark_ready(repository, pull_request, reviewers=("zoe", "ann"), run=RUN, starter=("zoe",))
    assert sorted(stage.there.pull(pull_request.number).reviewers) == ["ann", "zoe"]


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429])
async def test_a_spent_limit_is_waited_for_until_its_reset_by_every_kind_of_call(stage: Stage, status: int) -> None:
    repository, pull_request = await stage.pull()
    stage.github.limit_status = status
    forge = stage.new_forge(folder="new")
    await forge.login()
    stage.github.spend_limit(stage.token, reset_in=100)
    comments = len(stage.there.comments(pull_request.number))
    calls: list[Callable[[], Any]] = [
        lambda: forge.api.get("/repos/acme/parcel", doing="trying"),
        lambda: forge.api.call("POST", "/repos/acme/parcel/issues/1/comments", body={"body": "x"}, doing="trying"),
        lambda: forge.api.graphql("mutation { x }", {}, repository="acme/parcel", doing="trying"),
        lambda: forge.api.download("/repos/acme/parcel/actions/jobs/1/logs", doing="trying"),
        lambda: forge.news(repository, pull_request, run=RUN),
    ]
    for call in calls:
        with pytest.raises(ServiceUnavailable, match="rate limit of 5000") as limited:
            await call()
        assert limited.value.retry_after == pytest.approx(100, abs=15)
    assert len(stage.there.comments(pull_request.number)) == comments


@pytest.mark.parametrize("where", [("GET", ""), ("POST", "/comments"), ("POST", "/graphql")], ids=" ".join)
@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault("secondary"), 60),
        (Fault("secondary", headers={"Retry-After": "7"}), 7),
        (Fault("status", status=403, message="You have exceeded a secondary rate limit."), 60),
        (Fault("status", status=429, headers={"Retry-After": "9"}), 9),
        (Fault("status", status=429, message="slow down"), 60),
    ],
    ids=["secondary", "delay", "words alone", "429", "429 without a delay"],
)
async def test_a_secondary_limit_is_waited_for_as_long_as_github_says(
    stage: Stage, fault: Fault, seconds: float, where: tuple[str, str]
) -> None:
    forge = stage.forge
    await forge.login()
    stage.github.fail(replace(fault, where=on(*where)))
    path = "/repos/acme/parcel/issues/1/comments"
    calls: dict[str, Callable[[], Any]] = {
        "": lambda: forge.api.get("/repos/acme/parcel", doing="trying"),
        "/comments": lambda: forge.api.call("POST", path, body={"body": "x"}, doing="trying"),
        "/graphql": lambda: forge.api.graphql("mutation { x }", {}, repository="acme/parcel", doing="trying"),
    }
    with pytest.raises(ServiceUnavailable) as limited:
        await calls[where[1]]()
    assert limited.value.retry_after == seconds


@pytest.mark.parametrize("where", [("GET", "/info/refs"), ("POST", "/git-receive-pack")], ids=" ".join)
@pytest.mark.parametrize("fault", [Fault("status", status=429), Fault("secondary")], ids=["429", "403"])
async def test_a_limit_of_git_is_one_as_well(stage: Stage, fault: Fault, where: tuple[str, str]) -> None:
    repository = await stage.opened()
    head = await stage.work(repository, {"b.py": "x\n"})
    stage.github.fail(replace(fault, where=on(*where)))
    with pytest.raises(ServiceUnavailable) as limited:
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert limited.value.retry_after == 60
    pull_request = await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert (stage.there.branches[BRANCH], pull_request.branch) == (head, BRANCH)


# --- what the token may do ---------------------------------------------------------------------

ALL = {"metadata": "read", "contents": "write", "pull_requests": "write", "statuses": "write", "actions": "read"}


async def said(stage: Stage, origin: str = "acme/parcel", **more: Any) -> tuple[str, ...]:
    """What is missing; and nothing may be written by the question."""
    stage.there.state.protections or stage.there.protect("main", contexts=["ci"])
    sent = len(stage.github.requests)
    found = await stage.new_forge(**more).check(origin)
    app_tokens = [path for verb, path in stage.github.requests[sent:] if verb != "GET"]
    assert all(path.endswith("/access_tokens") for path in app_tokens)
    return found


async def test_with_all_that_is_needed_nothing_is_missing(stage: Stage) -> None:
    assert await said(stage) == ()
    assert await said(stage, "") == ()
    fine = stage.github.add_fine_grained_token("sdlc-bot", permissions=ALL)
    assert await said(stage, token=fine) == ()
    app = stage.github.add_app("sdlc", "acme")
    assert await said(stage, app_id=str(app.id), private_key=app.private_key) == ()


async def test_a_wrong_token_a_wrong_app_and_a_wrong_address_are_raised(stage: Stage) -> None:
    with pytest.raises(PermissionDenied, match="refused the token"):
        await said(stage, token="ghp_wrong")
    app, other = stage.github.add_app("sdlc", "acme"), stage.github.add_app("other", "acme")
    with pytest.raises(PermissionDenied, match=r"does not know the App.*github\.private_key"):
        await said(stage, app_id=str(app.id), private_key=other.private_key)
    with pytest.raises(ConfigurationError, match=r"github\.base_url"):
        await said(stage, base_url=f"{stage.github.git_url}/nowhere")
    with pytest.raises(ServiceUnavailable, match=r"github\.base_url"):
        await said(stage, base_url="http://127.0.0.1:9/api/v3")


async def test_a_missing_scope_is_said_with_what_the_token_has(stage: Stage) -> None:
    weak = stage.github.add_token("sdlc-bot", scopes=("gist", "read:org"))
    found = await said(stage, token=weak)
    assert "lacks the scope repo (it has gist, read:org)" in found[0]
    assert "found nothing" in found[1]


@pytest.mark.parametrize("permission", ["contents", "pull_requests", "statuses", "checks"])
async def test_each_permission_that_an_app_lacks_is_said_with_its_use(stage: Stage, permission: str) -> None:
    level = "read"
    app = stage.github.add_app("sdlc", "acme", permissions={**PERMISSIONS, permission: level})
    (one,) = await said(stage, app_id=str(app.id), private_key=app.private_key)
    assert one.startswith(f"The permission {permission} (write) is missing for acme/parcel: to ")


async def test_an_app_that_is_not_installed_there_is_said(stage: Stage) -> None:
    app = stage.github.add_app("sdlc", "elsewhere")
    (one,) = await said(stage, app_id=str(app.id), private_key=app.private_key)
    assert "not installed for acme/parcel" in one


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ({"contents": "read"}, ["contents (write)"]),
        ({"pull_requests": ""}, ["pull_requests (write)"]),
        ({"statuses": ""}, ["statuses (write)"]),
        ({"actions": ""}, ["checks (read)", "actions (read)"]),
        ({"actions": "", "checks": "read"}, ["actions (read)"]),
    ],
)
async def test_what_a_fine_grained_token_may_not_is_found_by_trying(
    stage: Stage, lacks: dict[str, str], says: list[str]
) -> None:
    token = stage.github.add_fine_grained_token("sdlc-bot", permissions={**ALL, **lacks})
    found = await said(stage, token=token)
    assert [one.split()[2] + " " + one.split()[3] for one in found] == says


async def test_what_is_wrong_with_a_repository_is_said(stage: Stage) -> None:
    stage.github.add_repository("acme/empty", collaborators={"sdlc-bot": "write"})
    stage.github.add_repository("acme/read", files={}, collaborators={"sdlc-bot": "read"})
    for origin, says in (
        ("acme/empty", "is empty; push a first commit"),
        ("acme/read", "may only read"),
        ("acme/nowhere", "found nothing"),
        ("https://gitlab.com/a/b", "is on gitlab.com"),
        ("./nowhere", "no folder"),
    ):
        (one,) = await said(stage, origin)
        assert says in one
    stage.there.archive()
    (one,) = await said(stage)
    assert "archived" in one


async def test_a_base_without_protection_and_rules_in_our_way_are_said(stage: Stage) -> None:
    stage.there.protect("main")
    (one,) = await said(stage)
    assert one == "Branch protection of main in acme/parcel names no required checks, so any check of a head counts."
    assert await said(stage, checks="all") == ()
    del stage.there.state.protections["main"]
    found = await stage.forge.check("acme/parcel")
    assert found == ("Branch protection of main in acme/parcel is missing, so any check of a head counts.",)
    stage.there.protect("main", contexts=["ci"])
    # Ours only ever go forward.
    stage.there.rule("sdlc/**", "non_fast_forward")
    assert await said(stage) == ()
    stage.there.rule("sdlc/**", "creation")
    (one,) = await said(stage)
    assert "keeps branches named sdlc/** from being pushed" in one


async def test_check_runs_that_a_personal_token_can_not_write_are_said(stage: Stage) -> None:
    (one,) = await said(stage, reviews="checks")
    assert "takes from Apps only" in one


EVERY_CALL = (
    ("GET", "/repos/acme/parcel"),
    ("GET", "/branches/main"),
    ("GET", "/info/refs"),
    ("POST", "/git-upload-pack"),
    ("POST", "/git-receive-pack"),
    ("GET", "/pulls"),
    ("POST", "/pulls"),
    ("PATCH", "/pulls/comments"),
    ("POST", "/labels"),
    ("GET", "/check-runs"),
    ("GET", "/statuses"),
    ("POST", "/statuses"),
    ("GET", "/files"),
    ("POST", "/reviews"),
    ("POST", "/pulls/1/comments"),
    ("POST", "/graphql"),
    ("GET", "/issues/1/comments"),
    ("POST", "/issues/1/comments"),
    ("PATCH", "/issues/comments"),
    ("GET", "/contents"),
    ("POST", "/requested_reviewers"),
    ("GET", "/reviews"),
    ("GET", "/user"),
    ("PUT", "/merge"),
)


@pytest.mark.parametrize("where", EVERY_CALL, ids=" ".join)
async def test_every_call_may_fail_after_its_effect_and_people_see_the_same_in_the_end(
    stage: Stage, where: tuple[str, str]
) -> None:
    # A cut connection and a bad gateway in turn, so that each is met by reads and by writes.
    kind: Any = ("status", "reset")[EVERY_CALL.index(where) % 2]
    stage.github.fail(Fault(kind, status=502, after=True, where=on(*where)))
    assert (await delivered(stage)).state is PullRequestState.MERGED
    assert stage.github.faults.waiting == 0
    assert outcome(stage) == {
        "pulls": [1],
        "branches": ["main", BRANCH],
        "comments": ["Better", "Ready for review. Asked: ann, maria.", "ann: **approve**"],
        "on lines": [
            ("a.py", 0, "**Resolved:** no lon"),
            ("a.py", 2, "**Resolved:** no lon"),
            ("a.py", 30, "**minor** (quality, "),
        ],
        "threads resolved": 2,
        "statuses": [("sdlc/quality", "failure"), ("sdlc/security", "success")],
        "asked": ["ann", "maria"],
        "merged": True,
        "labels": ["sdlc"],
    }


async def test_an_app_does_all_of_it_also_when_its_tokens_end(stage: Stage) -> None:
    app = stage.github.add_app("sdlc", "acme", token_seconds=5)
    stage.forge = GitHubForge(
        GitHubSettings(
            base_url=stage.github.url, app_id=str(app.id), private_key=app.private_key, seconds_between_writes=0.0
        ),
        git_home=stage.folder / "app" / "git",
    )
    repository, pull_request = await stage.pull()
    await stage.forge.publish_review(repository, pull_request, review_of(pull_request, finding(2)), run=RUN)
    await stage.forge.mark_ready(repository, pull_request, reviewers=("ann",), run=RUN)
    assert (await stage.forge.merge(repository, pull_request, run=RUN)).state is PullRequestState.MERGED
    assert {one.login for one in stage.there.comments(pull_request.number)} == {"sdlc[bot]"}


async def test_no_token_is_left_in_a_file_or_in_what_is_given_back(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    secret = stage.token.encode()
    kept = [path for path in stage.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert kept == []
    assert stage.token not in repository.model_dump_json() + pull_request.model_dump_json()
