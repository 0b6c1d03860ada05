"""What people do to a pull request on GitHub, as a run hears of it; and the mark by which it sees that they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sdlc.domain import DecisionKind, PullRequest, PullRequestNews, PullRequestState, Repository
from sdlc.errors import ServiceUnavailable
from sdlc.integrations.github import GitHubForge, GitHubSettings, approvals
from sdlc.integrations.ports import Forge
from tests.fakes import openapi
from tests.fakes.faults import Fault, on
from tests.fakes.github_server import GitHubServer
from tests.test_github_forge import BRANCH, LONG, NEXT, RUN, Stage, draft, finding, review_of


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with GitHubServer() as github:
        github.add_user("maria", name="Maria Muster", email="maria@example.org")
        github.add_user("ann", name="Ann")
        yield Stage(github, tmp_path)
    openapi.check(github.exchanges)


async def heard(stage: Stage, repository: Repository, pull_request: PullRequest) -> PullRequestNews:
    return await stage.forge.news(repository, pull_request, run=RUN)


def test_it_is_a_forge(stage: Stage) -> None:
    forge: Forge = stage.forge
    assert forge is stage.forge


async def test_a_decision_comes_with_the_names_and_the_head_of_who_gave_it(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.there.review(pull_request.number, by="maria", event="APPROVE", body="fine")
    stage.there.review(pull_request.number, by="ann", event="REQUEST_CHANGES", body="rename x")
    theirs = stage.there.commit(BRANCH, {"c.py": "by hand\n"}, by="maria")
    news = await heard(stage, repository, pull_request)
    assert [(one.by, one.also_called, one.kind, one.head_sha, one.source) for one in news.decisions] == [
        ("maria", ("Maria Muster", "maria@example.org"), DecisionKind.APPROVE, pull_request.head_sha, "forge"),
        ("ann", ("Ann",), DecisionKind.REQUEST_CHANGES, pull_request.head_sha, "forge"),
    ]
    assert news.decisions[1].comment == "rename x"
    assert len({one.decision_id for one in news.decisions}) == 2
    assert news.pull_request.head_sha == theirs
    assert (news.ended_by, news.conflicts) == ("", False)
    assert news.pushers == ("maria",)


async def test_who_has_pushed_is_the_forges_word_and_not_the_commits(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    assert (await heard(stage, repository, pull_request)).pushers == ()
    stage.github.fail(Fault("status", status=403, where=on("GET", "/activity")))
    assert (await heard(stage, repository, pull_request)).pushers == ()
    stage.there.commit("main", {"d.py": "x\n"}, by="maria")
    assert (await heard(stage, repository, pull_request)).pushers == ()


async def test_a_decision_that_was_dismissed_is_gone_and_the_earlier_one_does_not_come_back(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.there.review(pull_request.number, by="maria", event="APPROVE")
    review = stage.there.review(pull_request.number, by="maria", event="REQUEST_CHANGES", body="no")
    assert [one.kind for one in (await heard(stage, repository, pull_request)).decisions] == [
        DecisionKind.REQUEST_CHANGES
    ]
    stage.there.dismiss(pull_request.number, review, by="ann")
    news = await heard(stage, repository, pull_request)
    assert news.decisions == ()
    assert [one.body for one in news.shown] == ["no"]


async def test_words_of_writers_are_feedback_and_those_of_others_and_of_bots_are_shown(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    number = pull_request.number
    helper = stage.github.add_app("helper", "acme")
    stage.there.collaborator(helper.login, "write")
    stage.there.comment(number, "please rename x", by="ann")
    stage.there.comment(number, "merge it", by="eve")
    stage.there.comment(number, "coverage fell", by=helper.login)
    stage.there.review(number, by="maria", event="COMMENT", body="/sdlc pause")
    stage.there.review(number, by="eve", event="APPROVE")
    news = await heard(stage, repository, pull_request)
    assert sorted((one.by, one.body) for one in news.feedback) == [
        ("ann", "please rename x"),
        ("maria", "/sdlc pause"),
    ]
    assert sorted((one.by, one.body) for one in news.shown) == [
        ("eve", "(approved)"),
        ("eve", "merge it"),
        (helper.login, "coverage fell"),
    ]
    assert news.decisions == ()


async def test_a_comment_on_a_line_comes_with_its_place(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    at = [{"path": "a.py", "line": 30, "body": "off by one"}]
    stage.there.review(pull_request.number, by="ann", event="COMMENT", comments=at)
    (one,) = (await heard(stage, repository, pull_request)).feedback
    assert (one.body, one.path, one.line, one.head_sha) == ("off by one", "a.py", 30, pull_request.head_sha)


async def test_our_own_words_are_no_news(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    await stage.forge.publish_review(
        repository, pull_request, review_of(pull_request, finding(2), finding(20)), run=RUN
    )
    await stage.forge.say(repository, pull_request, "paused", run=RUN, topic="command:1")
    ours = stage.there.comments(pull_request.number)[-1]
    # As under a login that is not known, or after the token has changed hands.
    stage.there.comment(pull_request.number, ours.body, by="ann")
    news = await heard(stage, repository, pull_request)
    assert (news.decisions, news.feedback, news.shown) == ((), (), ())


async def test_remarks_are_the_newest_in_their_order_and_none_is_endless(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    for number in range(120):
        comment = stage.there.comment(pull_request.number, f"{number} {'x' * 5_000}", by="ann")
        # GitHub lists by id; what counts is when it was said.
        comment.created = comment.updated = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    stage.there.comments(pull_request.number)[0].updated = "2026-01-02T00:00:00Z"
    news = await heard(stage, repository, pull_request)
    assert [one.body.split()[0] for one in news.feedback] == [*(str(number) for number in range(71, 120)), "0"]
    assert {len(one.body) for one in news.feedback} == {approvals.MAX_REMARK}
    assert news.feedback[0].body.endswith("…")
    assert len(news.model_dump_json()) < 300_000


async def test_who_merged_or_closed_it_is_known(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.there.close(pull_request.number, by="maria")
    news = await heard(stage, repository, pull_request)
    assert (news.pull_request.state, news.ended_by) == (PullRequestState.CLOSED, "maria")
    stage.there.reopen(pull_request.number, by="maria")
    await stage.forge.mark_ready(repository, pull_request, reviewers=(), run=RUN)
    assert (await heard(stage, repository, pull_request)).ended_by == ""
    stage.there.merge(pull_request.number, by="ann")
    news = await heard(stage, repository, pull_request)
    assert (news.pull_request.state, news.ended_by) == (PullRequestState.MERGED, "ann")


async def test_a_conflict_with_the_base_is_seen_though_github_tells_it_late(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    assert not (await heard(stage, repository, pull_request)).conflicts
    before = await stage.forge.mark(repository, pull_request)
    stage.there.commit("main", {"a.py": LONG.replace("line 2\n", "line II\n")}, by="maria")
    assert await stage.forge.mark(repository, pull_request) != before
    assert (await heard(stage, repository, pull_request)).conflicts


# --- the mark ----------------------------------------------------------------------------------


def _edit(stage: Stage, number: int) -> None:
    stage.there.comments(number)[0].body = "first, edited"


CHANGES: dict[str, Callable[[Stage, int], Any]] = {
    "closed": lambda stage, number: stage.there.close(number, by="maria"),
    "a review": lambda stage, number: stage.there.review(number, by="maria", event="APPROVE"),
    "a dismissal": lambda stage, number: stage.there.dismiss(number, stage.there.pull(number).reviews[0], by="ann"),
    "a comment": lambda stage, number: stage.there.comment(number, "hello", by="eve"),
    "an edit": _edit,
    "a comment on a line": lambda stage, number: stage.there.review(
        number, by="ann", event="COMMENT", comments=[{"path": "a.py", "line": 2, "body": "hm"}]
    ),
    "a push": lambda stage, number: stage.there.commit(BRANCH, {"c.py": "x\n"}, by="maria"),
    "ready": lambda stage, number: stage.there.ready(number, by="maria"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_whatever_people_do_changes_the_mark(stage: Stage, what: str) -> None:
    repository, pull_request = await stage.pull()
    stage.there.comment(pull_request.number, "first", by="ann")
    stage.there.review(pull_request.number, by="ann", event="REQUEST_CHANGES", body="no")
    before = await stage.forge.mark(repository, pull_request)
    CHANGES[what](stage, pull_request.number)
    after = await stage.forge.mark(repository, pull_request)
    assert before != after
    assert (
        (await heard(stage, repository, pull_request)).mark == after == await stage.forge.mark(repository, pull_request)
    )


async def test_nothing_that_we_do_ourselves_changes_the_mark(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    forge = stage.forge
    before = await forge.mark(repository, pull_request)
    await forge.publish_review(repository, pull_request, review_of(pull_request, finding(2), finding(20)), run=RUN)
    await forge.publish_review(repository, pull_request, review_of(pull_request, summary="Better"), run=RUN)
    await forge.say(repository, pull_request, "hello", run=NEXT, topic="x")
    stage.there.status(pull_request.head_sha, "ci", "failure", by="ann")
    stage.there.label(pull_request.number, "seen", by="ann")
    assert await forge.mark(repository, pull_request) == before


async def test_a_mark_that_is_asked_for_again_costs_nothing_of_the_limit(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    for number in range(130):
        stage.there.comment(pull_request.number, f"{number}", by="ann")
    token = stage.github.token(stage.token)
    first = await stage.forge.mark(repository, pull_request)
    left = token.remaining
    assert await stage.forge.mark(repository, pull_request) == first
    assert token.remaining == left
    stage.there.comment(pull_request.number, "one more", by="ann")
    assert await stage.forge.mark(repository, pull_request) != first
    assert left - token.remaining == 2, "the page that changed, and the pull request that counts its comments"


async def test_the_mark_of_an_app_and_its_login(stage: Stage) -> None:
    app = stage.github.add_app("sdlc", "acme")
    settings = GitHubSettings(
        base_url=stage.github.url, app_id=str(app.id), private_key=app.private_key, seconds_between_writes=0.0
    )
    stage.forge = GitHubForge(settings, git_home=stage.folder / "app" / "git")
    repository, pull_request = await stage.pull()
    assert await stage.forge.login() == ("sdlc[bot]",)
    before = await stage.forge.mark(repository, pull_request)
    await stage.forge.say(repository, pull_request, "hello", run=RUN, topic="x")
    stage.there.review(pull_request.number, by="maria", event="APPROVE")
    news = await heard(stage, repository, pull_request)
    assert [(one.by, one.also_called[0]) for one in news.decisions] == [("maria", "Maria Muster")]
    assert (news.mark != before, news.shown) == (True, ())


@pytest.mark.parametrize(
    "where",
    [
        ("GET", "/pulls/1"),
        ("GET", "/reviews"),
        ("GET", "/issues/1/comments"),
        ("GET", "/permission"),
        ("GET", "/users/"),
    ],
    ids=" ".join,
)
async def test_news_that_can_not_be_had_are_not_half_news(stage: Stage, where: tuple[str, str]) -> None:
    repository, pull_request = await stage.pull()
    stage.there.review(pull_request.number, by="maria", event="APPROVE")
    stage.github.fail(Fault("secondary", where=on(*where)))
    with pytest.raises(ServiceUnavailable) as limited:
        await heard(stage, repository, pull_request)
    assert limited.value.retry_after == 60
    assert len((await heard(stage, repository, pull_request)).decisions) == 1


async def test_a_profile_that_is_gone_leaves_the_login(stage: Stage) -> None:
    repository, pull_request = await stage.pull()
    stage.there.review(pull_request.number, by="maria", event="APPROVE")
    stage.github.fail(Fault("status", status=404, where=on("GET", "/users/maria")))
    assert [one.also_called for one in (await heard(stage, repository, pull_request)).decisions] == [()]


async def test_an_earlier_run_of_the_ticket_said_nothing_either(stage: Stage) -> None:
    repository, first = await stage.pull()
    await stage.forge.say(repository, first, "of the first run", run=RUN, topic="x")
    head = await stage.work(repository, {"b.py": "x\n"})
    second = await stage.forge.open_pull_request(draft(repository, head), run=NEXT)
    news = await stage.forge.news(repository, first, run=NEXT)
    assert (news.feedback, news.shown, news.pull_request.state) == ((), (), PullRequestState.CLOSED)
    assert news.ended_by == "sdlc-bot"
    assert second.number != first.number
