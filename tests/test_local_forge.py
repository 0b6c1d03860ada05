"""The embedded forge: real git, real files."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
from sdlc.errors import BranchConflict, ConfigurationError, RepositoryInvalid, WorkspaceBroken
from sdlc.integrations.git import Git
from sdlc.integrations.local_forge import LocalForge
from sdlc.integrations.ports import PullRequestDraft, Review

RUN = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r1", ticket_key="BUG-1")
NEXT = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r2", ticket_key="BUG-1")
OTHER = RunIdentity(workflow_id="sdlc-other", run_id="r3", ticket_key="BUG-1")
BRANCH = "sdlc/BUG-1-rounds"
FINDING = Finding(
    panel=Panel.QUALITY,
    rule="ruff:B006",
    severity=Severity.MINOR,
    file="a.py",
    line=3,
    message="shared",
    fingerprint="f1",
)


def git(folder: Path, *arguments: str) -> str:
    person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    done = subprocess.run(["git", *person, *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, name: str = "a.txt", text: str = "one\n", message: str = "work") -> str:
    (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def footprint(folder: Path) -> dict[str, Any]:
    """All that a person would see of their checkout, and every file in it and in `.git` but objects and one branch."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git/objects" not in str(path) and "/sdlc/" not in str(path)
    }
    return files | {"status": git(folder, "status", "--porcelain"), "head": git(folder, "rev-parse", "HEAD")}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "acme" / "parcel"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, message="first")
    git(folder, "tag", "v1")
    return folder


@pytest.fixture
def forge(tmp_path: Path) -> LocalForge:
    return LocalForge(tmp_path / "forge", git=Git(home=tmp_path / "git-home"))


@pytest.fixture
async def repository(forge: LocalForge, origin: Path) -> Repository:
    return await forge.open_repository(str(origin))


@pytest.fixture
def work() -> Callable[..., str]:
    """Makes a commit on top of `base` under a work ref, as the baton does."""
    number = 0

    def made(repository: Repository, text: str, base: str = "", name: str = "a.txt") -> str:
        nonlocal number
        number += 1
        ref = f"refs/sdlc/r1/{number}"
        stream = (
            f"commit {ref}\ncommitter Ann <ann@example.org> {number} +0000\ndata 4\nwork\n"
            f"from {base or repository.base_sha}\nM 100644 inline {name}\ndata {len(text)}\n{text}\n"
        )
        command = ["git", "fast-import", "--quiet"]
        subprocess.run(command, cwd=repository.url, input=stream, text=True, check=True, timeout=30)
        return git(Path(repository.url), "rev-parse", ref)

    return made


Work = Callable[..., str]


def draft(repository: Repository, head: str, **more: Any) -> PullRequestDraft:
    usual = {"repository": repository, "branch": BRANCH, "head_sha": head, "title": "fix: it", "body": "Evidence\n"}
    return PullRequestDraft(**(usual | more))


def folder_of(pull_request: PullRequest) -> Path:
    return Path(pull_request.url.removeprefix("file://")).parent


def branches(folder: str | Path) -> dict[str, str]:
    listed = git(Path(folder), "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
    return dict(line.split() for line in listed.splitlines())


# --- opening a repository --------------------------------------------------------------------


async def test_a_repository_is_opened_with_its_base_and_tags_and_nothing_of_it_is_touched(
    forge: LocalForge, origin: Path
) -> None:
    git(origin, "branch", "someone-elses")
    before = footprint(origin)
    repository = await forge.open_repository(str(origin))

    assert repository.name == "parcel"
    assert repository.base_branch == "main"
    assert repository.base_sha == git(origin, "rev-parse", "HEAD")
    assert repository.origin == str(origin)
    assert branches(repository.url) == {"main": repository.base_sha}
    assert git(Path(repository.url), "tag") == "v1"
    assert footprint(origin) == before
    assert await forge.open_repository(str(origin)) == repository


async def test_only_commits_are_used_of_a_dirty_checkout_and_the_person_is_told(
    forge: LocalForge, origin: Path
) -> None:
    (origin / "a.txt").write_text("not committed\n")
    git(origin, "checkout", "-q", "-b", "mine")
    before = footprint(origin)
    repository = await forge.open_repository(str(origin))

    assert git(Path(repository.url), "show", "main:a.txt") == "one"
    told = await forge.warnings(str(origin))
    assert any("not committed" in line for line in told)
    assert any("is on mine" in line for line in told)
    assert footprint(origin) == before


async def test_submodules_and_large_files_are_left_out_and_said(forge: LocalForge, origin: Path) -> None:
    (origin / ".gitattributes").write_text("*.bin filter=lfs\n")
    (origin / "x.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    git(origin, "-c", "filter.lfs.clean=cat", "add", "-A")
    git(origin, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},vendored")
    git(origin, "commit", "-q", "-m", "more")
    repository = await forge.open_repository(str(origin))

    assert repository.base_sha == git(origin, "rev-parse", "HEAD")
    told = " ".join(await forge.warnings(str(origin)))
    assert "submodules" in told
    assert "LFS" in told


def empty(path: Path) -> None:
    git(path, "init", "-q")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.rmdir(), "no folder"),
        (lambda path: None, "not a git repository"),
        (empty, "no commit"),
        (lambda path: (path.rmdir(), path.write_text("x")), "is a file"),
    ],
)
async def test_what_is_no_repository_is_refused(
    forge: LocalForge, tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    path = tmp_path / "given"
    path.mkdir()
    make(path)

    with pytest.raises(RepositoryInvalid, match=says):
        await forge.open_repository(str(path))
    assert not forge.folder.exists()


async def test_a_base_branch_that_is_not_there_is_refused_with_those_that_are(forge: LocalForge, origin: Path) -> None:
    with pytest.raises(RepositoryInvalid, match=r"no branch release.*main"):
        await forge.open_repository(str(origin), base_branch="release")


async def test_a_new_commit_of_the_origin_is_what_the_next_run_starts_from(
    forge: LocalForge, origin: Path, repository: Repository
) -> None:
    newer = commit(origin, text="two\n")
    assert (await forge.open_repository(str(origin))).base_sha == newer

    git(origin, "commit", "-q", "--amend", "-m", "rewritten")
    again = await forge.open_repository(str(origin))
    assert again.base_sha == git(origin, "rev-parse", "HEAD")
    assert git(Path(repository.url), "rev-parse", f"refs/sdlc/kept/main-{newer[:10]}") == newer


async def test_repositories_of_one_name_do_not_meet(forge: LocalForge, tmp_path: Path) -> None:
    urls = set()
    for place in ("x", "y"):
        folder = tmp_path / place / "parcel"
        folder.mkdir(parents=True)
        git(folder, "init", "-q", "-b", "main")
        commit(folder, text=place)
        urls.add((await forge.open_repository(str(folder))).url)
    assert len(urls) == 2


async def test_a_path_from_elsewhere_is_no_repository_of_the_forge(forge: LocalForge, repository: Repository) -> None:
    elsewhere = repository.model_copy(update={"url": "/etc/repository.git"})
    with pytest.raises(RepositoryInvalid, match=r"forge\.folder"):
        await forge.pull_request(elsewhere, 1)


async def test_what_a_killed_git_left_behind_is_cleared_away(
    forge: LocalForge, origin: Path, repository: Repository
) -> None:
    newer = commit(origin, text="two\n")
    bare = Path(repository.url)
    for lock in (bare / "refs/remotes/origin/main.lock", bare / "refs/heads/main.lock", bare / "HEAD.lock"):
        lock.touch()
        os.utime(lock, (1, 1))

    assert (await forge.open_repository(str(origin))).base_sha == newer


# --- pull requests ---------------------------------------------------------------------------


async def test_a_pull_request_is_files_and_a_branch_here_and_at_the_origin(
    forge: LocalForge, origin: Path, repository: Repository, work: Work
) -> None:
    (origin / "b.txt").write_text("untracked\n")
    before = footprint(origin)
    head = work(repository, "two\n")
    made = await forge.open_pull_request(draft(repository, head), run=RUN)

    assert (made.number, made.state, made.branch, made.head_sha) == (1, PullRequestState.DRAFT, BRANCH, head)
    assert branches(repository.url)[BRANCH] == head
    assert branches(origin)[BRANCH] == head
    assert "Evidence" in (folder_of(made) / "pull.md").read_text()
    assert "+two" in (folder_of(made) / "changes.diff").read_text()
    assert footprint(origin) == before


async def test_a_repeated_call_finds_the_first_pull_request_and_brings_it_up_to_date(
    forge: LocalForge, repository: Repository, origin: Path, work: Work
) -> None:
    first = work(repository, "two\n")
    made = await forge.open_pull_request(draft(repository, first), run=RUN)
    await forge.mark_ready(repository, made, reviewers=("maria",), run=RUN)
    second = work(repository, "three\n", first)
    again = await forge.open_pull_request(draft(repository, second, body="More\n"), run=RUN)

    assert (again.number, again.head_sha, again.state) == (1, second, PullRequestState.OPEN)
    assert len(list(folder_of(made).parent.iterdir())) == 1
    assert branches(origin)[BRANCH] == second
    assert "maria" in (folder_of(made) / "pull.md").read_text()
    assert await forge.pull_request(repository, 1) == again
    assert await forge.pull_request_of(repository, RUN) == again
    assert await forge.pull_request_of(repository, OTHER) is None


async def test_our_own_earlier_head_may_be_left_behind(
    forge: LocalForge, repository: Repository, origin: Path, work: Work
) -> None:
    first, rebased = work(repository, "two\n"), work(repository, "three\n")
    await forge.open_pull_request(draft(repository, first), run=RUN)
    await forge.open_pull_request(draft(repository, rebased), run=RUN)

    assert branches(repository.url)[BRANCH] == branches(origin)[BRANCH] == rebased


async def test_a_try_that_broke_off_before_the_branch_was_moved_is_completed(
    forge: LocalForge, repository: Repository, work: Work
) -> None:
    head = work(repository, "two\n")
    made = await forge.open_pull_request(draft(repository, head), run=RUN)
    git(Path(repository.url), "update-ref", "-d", f"refs/heads/{BRANCH}")
    (folder_of(made) / "changes.diff").unlink()

    assert await forge.open_pull_request(draft(repository, head), run=RUN) == made
    assert branches(repository.url)[BRANCH] == head
    assert (folder_of(made) / "changes.diff").exists()


async def test_commits_of_somebody_else_on_the_branch_are_left_alone(
    forge: LocalForge, repository: Repository, work: Work
) -> None:
    first = work(repository, "two\n")
    await forge.open_pull_request(draft(repository, first), run=RUN)
    theirs = work(repository, "by hand\n", first)
    git(Path(repository.url), "update-ref", f"refs/heads/{BRANCH}", theirs)
    ours = work(repository, "three\n", first)

    with pytest.raises(BranchConflict, match=theirs[:10]):
        await forge.open_pull_request(draft(repository, ours), run=RUN)
    assert branches(repository.url)[BRANCH] == theirs

    on_top = work(repository, "four\n", theirs)
    assert (await forge.open_pull_request(draft(repository, on_top), run=RUN)).head_sha == on_top


async def test_a_branch_that_no_run_made_is_left_alone(forge: LocalForge, repository: Repository, work: Work) -> None:
    theirs, ours = work(repository, "by hand\n"), work(repository, "two\n")
    git(Path(repository.url), "update-ref", f"refs/heads/{BRANCH}", theirs)

    with pytest.raises(BranchConflict, match="no run made"):
        await forge.open_pull_request(draft(repository, ours), run=RUN)
    assert branches(repository.url)[BRANCH] == theirs


async def test_the_next_run_of_a_ticket_takes_the_next_name_and_what_was_left_open_is_closed(
    forge: LocalForge, repository: Repository, work: Work
) -> None:
    first = await forge.open_pull_request(draft(repository, work(repository, "two\n")), run=RUN)
    head = work(repository, "three\n")
    second = await forge.open_pull_request(draft(repository, head), run=NEXT)

    assert (second.number, second.branch) == (2, f"{BRANCH}-2")
    assert branches(repository.url)[BRANCH] == first.head_sha
    assert (await forge.pull_request(repository, 1)).state is PullRequestState.CLOSED
    assert "superseded" in (folder_of(first) / "comments.md").read_text()
    assert await forge.open_pull_request(draft(repository, head), run=NEXT) == second
    with pytest.raises(BranchConflict, match="closed"):
        await forge.open_pull_request(draft(repository, head), run=RUN)


async def test_an_open_pull_request_of_another_workflow_keeps_its_branch(
    forge: LocalForge, repository: Repository, work: Work
) -> None:
    head = work(repository, "two\n")
    await forge.open_pull_request(draft(repository, head), run=OTHER)
    with pytest.raises(BranchConflict, match="sdlc-other"):
        await forge.open_pull_request(draft(repository, head), run=RUN)


async def test_a_head_that_was_never_pushed_is_a_broken_baton(forge: LocalForge, repository: Repository) -> None:
    with pytest.raises(WorkspaceBroken):
        await forge.open_pull_request(draft(repository, "e" * 40), run=RUN)


OPEN = """
import asyncio, sys
from pathlib import Path
from sdlc.domain import Repository, RunIdentity
from sdlc.integrations.git import Git
from sdlc.integrations.local_forge import LocalForge
from sdlc.integrations.ports import PullRequestDraft
folder, repository, head, run, branch = sys.argv[1:]
forge = LocalForge(Path(folder), git=Git(home=Path(folder).parent / "git-home"))
repository = Repository.model_validate_json(repository)
draft = PullRequestDraft(repository=repository, branch=branch, head_sha=head, title="t", body="b")
print("ready", flush=True)
sys.stdin.readline()
run = RunIdentity(workflow_id=run, run_id="r", ticket_key="BUG-1")
print(asyncio.run(forge.open_pull_request(draft, run=run)).number)
"""


async def test_processes_that_open_pull_requests_at_once_get_one_each(
    forge: LocalForge, repository: Repository, work: Work
) -> None:
    head = work(repository, "two\n")

    def start(run: str, branch: str) -> subprocess.Popen[str]:
        arguments = [str(forge.folder), repository.model_dump_json(), head, run, branch]
        return subprocess.Popen(
            [sys.executable, "-c", OPEN, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    processes = [start("a", "sdlc/a"), start("a", "sdlc/a"), start("b", "sdlc/b")]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    answers = await asyncio.gather(*(asyncio.to_thread(process.communicate, "go\n", 60) for process in processes))
    numbers = [out.strip() for out, _ in answers]

    assert numbers[0] == numbers[1] != numbers[2]
    assert sorted(set(numbers)) == ["1", "2"]


# --- the origin ------------------------------------------------------------------------------


def notes(pull_request: PullRequest) -> str:
    return (folder_of(pull_request) / "pull.md").read_text()


async def test_a_branch_that_is_checked_out_at_the_origin_is_not_moved_under_its_person(
    forge: LocalForge, origin: Path, repository: Repository, work: Work
) -> None:
    first = work(repository, "two\n")
    await forge.open_pull_request(draft(repository, first), run=RUN)
    git(origin, "config", "receive.denyCurrentBranch", "updateInstead")
    git(origin, "checkout", "-q", BRANCH)
    second = work(repository, "three\n", first)
    made = await forge.open_pull_request(draft(repository, second), run=RUN)

    assert git(origin, "rev-parse", "HEAD") == first
    assert (origin / "a.txt").read_text() == "two\n"
    assert "was not pushed to the origin" in notes(made)
    git(origin, "checkout", "-q", "main")
    again = await forge.open_pull_request(draft(repository, second), run=RUN)
    assert branches(origin)[BRANCH] == second
    assert "was not pushed" not in notes(again)


async def test_a_persons_branch_of_that_name_at_the_origin_is_not_overwritten(
    forge: LocalForge, origin: Path, repository: Repository, work: Work
) -> None:
    git(origin, "checkout", "-q", "-b", BRANCH)
    theirs = commit(origin, text="by hand\n")
    git(origin, "checkout", "-q", "main")
    made = await forge.open_pull_request(draft(repository, work(repository, "two\n")), run=RUN)

    assert branches(origin)[BRANCH] == theirs
    assert "not ours" in notes(made)


async def test_no_hook_of_the_origin_runs(
    forge: LocalForge, origin: Path, repository: Repository, work: Work, tmp_path: Path
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-$0\nexit 1\n".replace("$0", name))
        (hooks / name).chmod(0o755)
    git(origin, "config", "core.hooksPath", str(hooks))
    await forge.open_pull_request(draft(repository, head := work(repository, "two\n")), run=RUN)

    assert branches(origin)[BRANCH] == head
    assert not list(tmp_path.glob("ran-*"))


async def test_an_origin_that_is_gone_is_a_note_and_no_error(
    forge: LocalForge, origin: Path, repository: Repository, work: Work
) -> None:
    head = work(repository, "two\n")
    origin.rename(origin.with_name("moved"))
    made = await forge.open_pull_request(draft(repository, head), run=RUN)

    assert branches(repository.url)[BRANCH] == head
    assert "was not pushed to the origin" in notes(made)


async def test_nothing_is_pushed_to_the_origin_where_that_is_not_wished(
    forge: LocalForge, origin: Path, repository: Repository, work: Work
) -> None:
    forge.publish_branch = False
    await forge.open_pull_request(draft(repository, work(repository, "two\n")), run=RUN)
    assert set(branches(origin)) == {"main"}


# --- checks, reviews, decisions --------------------------------------------------------------


@pytest.fixture
async def pull_request(forge: LocalForge, repository: Repository, work: Work) -> PullRequest:
    return await forge.open_pull_request(draft(repository, work(repository, "two\n")), run=RUN)


async def test_the_forge_reports_checks_only_where_somebody_put_them(
    forge: LocalForge, repository: Repository, pull_request: PullRequest
) -> None:
    checks = folder_of(pull_request) / "checks.json"
    assert (await forge.checks(repository, pull_request)).state is CiState.NONE

    checks.write_text(json.dumps({"state": "red", "failures": [{"test": "build", "message": "no"}]}))
    report = await forge.checks(repository, pull_request)
    assert (report.state, report.failures[0].test, report.head_sha) == (CiState.RED, "build", pull_request.head_sha)

    checks.write_text(json.dumps({"state": "red", "head_sha": "f" * 40}))
    assert (await forge.checks(repository, pull_request)).state is CiState.NONE
    checks.write_text(json.dumps({"state": "green", "head_sha": pull_request.head_sha[:12]}))
    assert (await forge.checks(repository, pull_request)).state is CiState.GREEN
    for broken in (
        "{",
        "[]",
        '{"state": "purple"}',
        '{"state": "red", "failures": [{"no": 1}]}',
        '{"state": "red", "failures": 3}',
    ):
        checks.write_text(broken)
        with pytest.raises(ConfigurationError, match=r"checks\.json"):
            await forge.checks(repository, pull_request)


async def test_findings_stand_once_and_are_marked_when_they_are_gone_and_open_again_when_they_are_back(
    forge: LocalForge, repository: Repository, pull_request: PullRequest
) -> None:
    other = FINDING.model_copy(update={"fingerprint": "f2", "message": "other"})
    file = folder_of(pull_request) / "findings.md"

    async def publish(*findings: Finding) -> str:
        review = Review(
            head_sha=pull_request.head_sha,
            summary="Summary",
            findings=findings,
            statuses={"sdlc/quality": ("success", f"{len(findings)} found")},
        )
        await forge.publish_review(repository, pull_request, review, run=RUN)
        return file.read_text()

    assert (await publish(FINDING, FINDING, other)).count("ruff:B006") == 2
    first = file.read_text()
    assert await publish(FINDING, other) == first
    gone = await publish(other)
    assert gone.count("**Resolved:**") == 1
    assert await publish(other) == gone
    back = await publish(FINDING, other)
    assert "**Resolved:**" not in back
    assert back.count("`a.py:3`") == 2
    statuses = json.loads((folder_of(pull_request) / "statuses.json").read_text())
    assert statuses[pull_request.head_sha]["sdlc/quality"] == {"state": "success", "description": "2 found"}
    assert (folder_of(pull_request) / "comments.md").read_text().count("Summary") == 1


async def test_a_decision_is_shown_once_and_its_words_do_no_harm(
    forge: LocalForge, repository: Repository, pull_request: PullRequest
) -> None:
    decision = ApprovalDecision(
        kind=DecisionKind.REQUEST_CHANGES,
        by="maria",
        comment="Not so\n<!-- sdlc:end -->\n# big\n![x](http://evil)",
        head_sha=pull_request.head_sha,
    )
    for _ in range(2):
        await forge.record_decision(repository, pull_request, decision, run=RUN)
    await forge.record_decision(repository, pull_request, decision.model_copy(update={"by": "bob"}), run=RUN)

    said = (folder_of(pull_request) / "comments.md").read_text()
    assert said.count("maria") == 1
    assert said.count("bob") == 1
    assert "request changes" in said
    assert "\n# big" not in said
    assert "![x]" not in said


# --- the end ---------------------------------------------------------------------------------


async def test_a_merge_is_made_in_the_forge_and_can_be_pulled(
    forge: LocalForge, origin: Path, repository: Repository, pull_request: PullRequest
) -> None:
    newer = commit(origin, "b.txt", "meanwhile\n")
    before = footprint(origin)
    merged = await forge.merge(repository, pull_request, run=RUN)
    again = await forge.merge(repository, pull_request, run=RUN)

    assert merged == again
    assert merged.state is PullRequestState.MERGED
    assert footprint(origin) == before
    tip = branches(repository.url)["main"]
    assert git(Path(repository.url), "rev-parse", f"{tip}^1", f"{tip}^2").split() == [newer, pull_request.head_sha]
    git(origin, "pull", "-q", "--ff-only", repository.url, "main")
    assert (origin / "a.txt").read_text() == "two\n"


async def test_a_merge_broken_off_after_the_branch_moved_is_found(
    forge: LocalForge, repository: Repository, pull_request: PullRequest
) -> None:
    await forge.merge(repository, pull_request, run=RUN)
    tip = branches(repository.url)["main"]
    file = folder_of(pull_request) / "pull.md"
    file.write_text(file.read_text().replace("state: merged", "state: open"))

    assert (await forge.merge(repository, pull_request, run=RUN)).state is PullRequestState.MERGED
    assert branches(repository.url)["main"] == tip


async def test_what_was_merged_and_not_pulled_yet_is_what_the_next_run_starts_from(
    forge: LocalForge, origin: Path, repository: Repository, pull_request: PullRequest
) -> None:
    await forge.merge(repository, pull_request, run=RUN)

    assert (await forge.open_repository(str(origin))).base_sha == branches(repository.url)["main"]
    assert any("git pull" in line for line in await forge.warnings(str(origin)))


async def test_only_the_head_that_was_approved_is_merged(
    forge: LocalForge, repository: Repository, pull_request: PullRequest, work: Work
) -> None:
    newer = work(repository, "three\n", pull_request.head_sha)
    git(Path(repository.url), "update-ref", f"refs/heads/{BRANCH}", newer)
    with pytest.raises(BranchConflict, match="was approved"):
        await forge.merge(repository, pull_request, run=RUN)
    git(Path(repository.url), "update-ref", f"refs/heads/{BRANCH}", pull_request.head_sha)
    await forge.close(repository, pull_request, reason="no", run=RUN)
    with pytest.raises(BranchConflict, match="closed"):
        await forge.merge(repository, pull_request, run=RUN)
    assert branches(repository.url)["main"] == repository.base_sha


async def test_a_merge_that_conflicts_names_the_files_and_changes_nothing(
    forge: LocalForge, origin: Path, repository: Repository, pull_request: PullRequest
) -> None:
    commit(origin, "a.txt", "something else\n")
    with pytest.raises(BranchConflict, match=r"a\.txt"):
        await forge.merge(repository, pull_request, run=RUN)
    assert (await forge.pull_request(repository, 1)).state is PullRequestState.DRAFT


async def test_closing_keeps_the_branch_and_is_said_once(
    forge: LocalForge, repository: Repository, pull_request: PullRequest
) -> None:
    for _ in range(2):
        closed = await forge.close(repository, pull_request, reason="cancelled <b>", run=RUN)

    assert closed.state is PullRequestState.CLOSED
    assert branches(repository.url)[BRANCH] == pull_request.head_sha
    assert (folder_of(pull_request) / "comments.md").read_text().count("Closed without merging: cancelled \\<b") == 1
    ready = await forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    assert ready.state is PullRequestState.CLOSED


async def test_what_a_person_adds_to_a_pull_request_stays(
    forge: LocalForge, repository: Repository, pull_request: PullRequest
) -> None:
    file = folder_of(pull_request) / "pull.md"
    file.write_text(file.read_text().replace("---\n", "---\nmilestone: next\n", 1))
    await forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    assert "milestone: next" in file.read_text()

    file.write_text("---\nstate: {\n---\n")
    with pytest.raises(ConfigurationError, match=r"pull\.md"):
        await forge.pull_request(repository, 1)


async def test_the_address_of_the_origin_is_for_its_owner_only(repository: Repository) -> None:
    assert os.stat(Path(repository.url).parent / "origin.json").st_mode & 0o077 == 0
