"""What people with write access can do to a run's pull request, and what it does not lead the run to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdlc.domain import PullRequestState
from sdlc.errors import BranchConflict, ServiceUnavailable
from sdlc.integrations.github import (
    approvals,
    checks,
    codeowners,
    comments,
    inline,
    issue_comments,
    issue_reading,
    job_log,
    marks,
    publishing,
    pulls,
)
from tests.fakes import openapi
from tests.fakes.faults import Fault, on
from tests.fakes.github_errors import ApiError
from tests.fakes.github_server import GitHubServer
from tests.test_github_forge import BRANCH, NEXT, RUN, Stage, draft

OTHER_BRANCH = "sdlc/OTHER-7-work"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """`ann` and `maria` may write to the repository, `eve` may only read it."""
    with GitHubServer() as github:
        stage = Stage(github, tmp_path)
        stage.there.commit("release", {"r.txt": "x\n"}, by="maria")
        yield stage
    openapi.check(github.exchanges)


async def pushed_only(stage: Stage) -> tuple[Any, str]:
    """The run's branch as a try leaves it that broke off before its pull request was made."""
    repository = await stage.opened()
    head = await stage.work(repository, {"a.py": "x = 1\n"})
    stage.github.fail(Fault("status", status=500, where=on("POST", "/pulls")))
    with pytest.raises(ServiceUnavailable):
        await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert stage.there.branches[BRANCH] == head
    return repository, head


def body_of(stage: Stage, number: int) -> str:
    return stage.there.issues[number].body or ""


# --- a mark that was copied ---------------------------------------------------------------------


async def test_a_copied_mark_does_not_bring_the_run_to_the_branch_of_another(stage: Stage) -> None:
    repository, own = await stage.pull()
    theirs = stage.there.commit(OTHER_BRANCH, {"other.py": "work of another run\n"}, by="maria")
    copied = f"<!-- sdlc-heads: {theirs} -->\n{body_of(stage, own.number)}"
    stage.there.open_pull(OTHER_BRANCH, by="ann", title="x", body=copied)
    stage.there.open_pull(BRANCH, by="ann", title="x", body=copied, base="release")
    ahead = await stage.work(repository, {"b.py": "x\n"}, base=own.head_sha)
    again = await stage.forge.open_pull_request(draft(repository, ahead), run=RUN)
    assert (again.number, again.branch, again.base_branch) == (own.number, BRANCH, "main")
    assert stage.there.branches == {**stage.there.branches, OTHER_BRANCH: theirs, BRANCH: ahead}
    assert body_of(stage, 2) == copied
    found = await stage.forge.pull_request_of(repository, RUN)
    assert found is not None
    assert found.number == own.number


async def test_a_copied_mark_on_a_branch_of_the_runs_name_is_nobodys(stage: Stage) -> None:
    repository, own = await stage.pull()
    theirs = stage.there.commit(f"{BRANCH}-2", {"c.py": "by hand\n"}, by="ann")
    stage.there.open_pull(f"{BRANCH}-2", by="ann", body=body_of(stage, own.number))
    stage.there.open_pull(f"{BRANCH}-2", by="ann", body=body_of(stage, own.number), base="release")
    stage.there.edit(own.number, by="ann", body="")
    again = await stage.forge.open_pull_request(draft(repository, own.head_sha), run=RUN)
    assert (again.number, again.branch) == (own.number, BRANCH)
    assert stage.there.branches[f"{BRANCH}-2"] == theirs

    # The ticket's next run closes what the last one left of ours, and nothing of people.
    head = await stage.work(repository, {"b.py": "x\n"})
    following = await stage.forge.open_pull_request(draft(repository, head), run=NEXT)
    assert following.branch == f"{BRANCH}-3"
    assert [stage.there.issues[number].state for number in (1, 2, 3)] == ["closed", "open", "open"]


async def test_what_the_last_run_left_is_not_taken_over_by_a_mark_that_was_put_there(stage: Stage) -> None:
    repository, first = await stage.pull()
    ours = body_of(stage, first.number)
    stage.there.edit(first.number, by="ann", body=ours.replace(RUN.marker, NEXT.marker))
    head = await stage.work(repository, {"b.py": "x\n"})
    with pytest.raises(BranchConflict, match=first.head_sha[:10]):
        await stage.forge.open_pull_request(draft(repository, head), run=NEXT)
    assert stage.there.branches[BRANCH] == first.head_sha


async def test_a_text_that_calls_a_commit_ours_does_not_let_it_be_overwritten(stage: Stage) -> None:
    repository, own = await stage.pull()
    theirs = stage.there.commit(BRANCH, {"hand.py": "by hand\n"}, by="ann")
    ours = body_of(stage, own.number)
    for body in (f"<!-- sdlc-heads: {theirs} -->\n{ours}", f"{ours}\n<!-- sdlc-heads: {theirs} -->", ours):
        stage.there.edit(own.number, by="ann", body=body)
        with pytest.raises(BranchConflict, match=theirs[:10]):
            await stage.forge.open_pull_request(draft(repository, own.head_sha), run=RUN)
    assert stage.there.branches[BRANCH] == theirs


async def test_under_an_account_that_github_does_not_name_people_are_not_taken_for_us(stage: Stage) -> None:
    app = stage.github.add_app("sdlc", "acme")
    stage.forge = stage.new_forge(app_id=str(app.id), private_key=app.private_key)
    repository, own = await stage.pull()
    token = await stage.forge.tokens.token("acme/parcel")
    nameless = stage.new_forge(token=token, folder="nameless")
    assert await nameless.login() == ()
    stage.there.open_pull(BRANCH, by="ann", body=body_of(stage, own.number), base="release")
    found = await nameless.pull_request_of(repository, RUN)
    assert found is not None
    assert found.number == own.number
    await nameless.say(repository, own, "one", run=RUN, topic="t")
    copied = stage.there.comment(own.number, stage.there.comments(own.number)[-1].body, by="ann")
    await nameless.say(repository, own, "two", run=RUN, topic="t")
    assert "one" in copied.body
    assert [one.body.split("\n")[0] for one in stage.there.comments(own.number)] == ["two", "one"]


# --- pull requests of people --------------------------------------------------------------------


async def test_a_persons_pull_request_of_our_branch_stays_theirs_and_is_found_again(stage: Stage) -> None:
    repository, head = await pushed_only(stage)
    number = stage.there.open_pull(BRANCH, by="ann", body="I was faster")
    for _ in range(3):
        assert (await stage.forge.open_pull_request(draft(repository, head), run=RUN)).number == number
    assert "Evidence" in body_of(stage, number)
    assert body_of(stage, number).count("I was faster") <= 1
    # Whose it is, its author says: a run that is cancelled closes what we made.
    assert await stage.forge.pull_request_of(repository, RUN) is None
    ahead = await stage.work(repository, {"b.py": "x\n"}, base=head)
    assert (await stage.forge.open_pull_request(draft(repository, ahead), run=RUN)).number == number
    stage.there.ready(number, by="ann")
    stage.there.merge(number, by="maria")
    with pytest.raises(BranchConflict, match="is merged"):
        await stage.forge.open_pull_request(draft(repository, ahead), run=RUN)
    assert list(stage.there.pulls) == [number]


async def test_a_persons_pull_request_to_another_base_is_not_adopted(stage: Stage) -> None:
    repository, head = await pushed_only(stage)
    theirs = stage.there.open_pull(BRANCH, by="ann", base="release", body="hello")
    made = await stage.forge.open_pull_request(draft(repository, head), run=RUN)
    assert made.number != theirs
    assert (made.branch, made.base_branch) == (BRANCH, "main")
    await stage.forge.mark_ready(repository, made, reviewers=(), run=RUN)
    assert (await stage.forge.merge(repository, made, run=RUN)).state is PullRequestState.MERGED
    assert stage.there.read("main", "a.py") == "x = 1\n"
    assert stage.there.read("release", "a.py") != "x = 1\n"
    assert body_of(stage, theirs) == "hello"


async def test_who_may_only_read_can_not_offer_our_branch(stage: Stage) -> None:
    await pushed_only(stage)
    with pytest.raises(ApiError) as refused:
        stage.there.open_pull(BRANCH, by="eve")
    assert refused.value.status == 422
    assert refused.value.body["errors"][0]["message"] == "must be a collaborator"
    # Nor by the API.
    theirs = stage.new_forge(token=stage.github.add_token("eve"), folder="eve")
    wanted = {"title": "t", "head": BRANCH, "base": "main"}
    answer = await theirs.api.call("POST", "/repos/acme/parcel/pulls", body=wanted, doing="trying", accept=(422,))
    assert "must be a collaborator" in str(answer.data)
    assert stage.there.pulls == {}


# --- another base -------------------------------------------------------------------------------


async def test_a_base_that_was_changed_is_told_and_nothing_is_merged_there(stage: Stage) -> None:
    repository, own = await stage.pull()
    await stage.forge.mark_ready(repository, own, reviewers=(), run=RUN)
    stage.there.review(own.number, by="ann")
    before = await stage.forge.mark(repository, own)
    maria = stage.new_forge(token=stage.github.add_token("maria"), folder="maria")
    path = f"/repos/acme/parcel/pulls/{own.number}"
    await maria.api.call("PATCH", path, body={"base": "release"}, doing="changing the base")

    news = await stage.forge.news(repository, own, run=RUN)
    assert news.pull_request.base_branch == "release"
    assert news.mark == await stage.forge.mark(repository, own) != before
    release = stage.there.branches["release"]
    with pytest.raises(BranchConflict, match=r"goes to release, and the run works for main; change its base back"):
        await stage.forge.merge(repository, own, run=RUN)
    with pytest.raises(BranchConflict, match="goes to release"):
        await stage.forge.open_pull_request(draft(repository, own.head_sha), run=RUN)
    assert await stage.forge.pull_request_of(repository, RUN) is None
    assert stage.there.branches["release"] == release
    assert list(stage.there.pulls) == [own.number]

    await maria.api.call("PATCH", path, body={"base": "main"}, doing="changing the base")
    assert await stage.forge.mark(repository, own) == before
    assert (await stage.forge.merge(repository, own, run=RUN)).state is PullRequestState.MERGED
    assert "line two" in (stage.there.read("main", "a.py") or "")


async def test_a_merge_into_another_base_by_hand_is_no_success(stage: Stage) -> None:
    repository, own = await stage.pull()
    await stage.forge.mark_ready(repository, own, reviewers=(), run=RUN)
    stage.there.pull(own.number).base = "release"
    stage.there.merge(own.number, by="maria")
    with pytest.raises(BranchConflict, match="was merged into release and not into main"):
        await stage.forge.merge(repository, own, run=RUN)


# --- texts that are long ------------------------------------------------------------------------


def _place(body: str) -> issue_reading.Place:
    return issue_reading.Place("parcel-1", "acme/parcel", 1, {"body": body, "title": "x", "labels": [body[:60]]})


def _heard(body: str) -> approvals.Heard:
    said = {"id": 1, "user": {"login": "eve", "type": "User"}, "body": body}
    return approvals.heard([{**said, "state": "APPROVED", "commit_id": "a" * 40}], [said], [said], writers=["eve"])


def _owners(text: str) -> tuple[str, ...]:
    short = "".join(text.split())[:200]
    paths = ("a" * 240, "a/" * 120 + "c", short)
    rules = [*codeowners.rules_of(text[:20_000]), codeowners.Rule(short, ("@x",))]
    return tuple(owner for path in paths for owner in codeowners.owners_of(rules[-3:], path))


READERS: dict[str, Callable[[str], Any]] = {
    "mark": marks.mark_of,
    "last mark": marks.last_mark,
    "without mark": marks.without_mark,
    # As of many comments on one pull request.
    "ours": lambda text: [comments.is_marked(text) for _ in range(10)],
    "pull request": lambda text: pulls.marked_body(f"{text}{pulls.marks_of(text)}", RUN),
    "title": pulls.cut_title,
    "finding": lambda text: publishing._above("gone", text),
    "heard": _heard,
    "cut": lambda text: inline.cut_body(f"{text}{text}"),
    "patch": inline.hunks_of,
    "log": lambda text: job_log.failing_part(text, limit=20_000),
    "job": checks._JOB.search,
    "owners": _owners,
    "claim": issue_comments._CLAIM.fullmatch,
    "reply": issue_comments._REPLY.fullmatch,
    "split": issue_comments._split,
    "ticket": lambda text: issue_reading.ticket_of(_place(text), [{"body": text}]),
    "blockers": lambda text: issue_reading.named_blockers(_place(text)),
    "rank": lambda text: issue_reading.rank_of(_place(text).issue),
    "key": lambda text: issue_reading.place_of(text, ("acme/parcel",)),
    "login": issue_reading.LOGIN.fullmatch,
}
PIECES = (
    *(
        "<!-- sdlc:a",
        "<!-- sdlc:a:b -->",
        "<!-- sdlc-heads:",
        "<!-- ",
        " -->",
        " finding:",
        "sdlc:a:b claim",
        "sdlc:reply ",
    ),
    *("blocked by ", "blocked by #1", "depends on:", "#1", "#1and", "#", "a/", "/actions/runs/1/jobs/", "prio"),
    *("\x1b[", "\x1b]", "0", "```\n", "~~~", "@@ -1,1 +1,1 @@", "##[error]", "2026-01-01T00:00:00.0Z ", "- [ ] ", "**"),
    *("*a", "*", "?", "**/a/", "/", "\\", "@x", "a", "_", ":", ".", "-", " ", "\t", "\n", "\u200b"),
)
LONGEST = 65_000
SECONDS = 0.8
"""Of a processor, for what takes some hundredths; what grows with the square of the length takes far longer."""


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=40, deadline=None)
@example(["<!-- sdlc:a"], [])
@example(["<!-- sdlc:a:b"], ["x"])
@example(["<!-- sdlc-heads:"], [])
@example(["<!-- sdlc:a finding:"], [])
@example(["blocked by ", "a"], ["#1"])
@example(["*a"], ["b"])
@example(["**/a/"], ["b"])
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), st.lists(st.sampled_from(PIECES), max_size=2))
def test_no_text_of_anybody_takes_more_time_than_its_length(reader: str, pieces: list[str], end: list[str]) -> None:
    first, *rest = pieces
    for unit, before in (("".join(pieces), ""), ("".join(rest) or first, first)):
        text = before + unit * (LONGEST // len(unit)) + "".join(end)
        began = time.thread_time()
        READERS[reader](text)
        assert time.thread_time() - began < SECONDS
