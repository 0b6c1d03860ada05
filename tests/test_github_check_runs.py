"""Panels as Check Runs, which an App may write and nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sdlc.domain import CiState, Panel, PullRequest, Repository, Severity
from sdlc.errors import ServiceUnavailable
from sdlc.integrations.github import GitHubForge, GitHubSettings
from sdlc.integrations.github.check_runs import MAX_ANNOTATIONS, annotations_of
from sdlc.integrations.ports import Review
from tests.fakes import openapi
from tests.fakes.faults import Fault, on
from tests.fakes.github_server import PERMISSIONS, GitHubServer
from tests.fakes.github_state import CheckRun
from tests.test_github_forge import RUN, Stage, finding


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with GitHubServer() as github:
        stage = Stage(github, tmp_path)
        stage.forge = as_app(stage)
        yield stage
    openapi.check(github.exchanges)


def as_app(stage: Stage, *, permissions: dict[str, str] | None = None, **more: Any) -> GitHubForge:
    app = stage.github.add_app("sdlc", "acme", permissions=permissions or PERMISSIONS)
    settings = GitHubSettings(
        base_url=stage.github.url,
        app_id=str(app.id),
        private_key=app.private_key,
        seconds_between_writes=0.0,
        checks_grace_seconds=0.0,
        **more,
    )
    return GitHubForge(settings, git_home=stage.folder / f"app-{app.id}" / "git")


async def publish(
    stage: Stage, at: tuple[Repository, PullRequest], *findings: Any, run: Any = RUN, **statuses: tuple[str, str]
) -> None:
    shown = statuses or {"quality": ("failure", "1 minor"), "security": ("success", "nothing found")}
    review = Review(
        head_sha=at[1].head_sha,
        summary="Summary",
        findings=findings,
        statuses={f"sdlc/{panel}": said for panel, said in shown.items()},
    )
    await stage.forge.publish_review(at[0], at[1], review, run=run)


def runs(stage: Stage) -> dict[str, CheckRun]:
    found = sorted(stage.there.state.check_runs.values(), key=lambda run: run.id)
    assert len({run.name for run in found}) == len(found), "one Check Run for each panel"
    return {run.name: run for run in found}


def calls(stage: Stage, verb: str) -> int:
    return sum(method == verb and "/check-runs" in path for method, path in stage.github.requests)


async def test_each_panel_is_one_check_run_with_its_findings_on_their_lines(stage: Stage) -> None:
    at = await stage.pull()
    other = finding(3, panel=Panel.SECURITY, severity=Severity.INFO)
    await publish(stage, at, finding(2, severity=Severity.BLOCKER), finding(20, end_line=22), other)
    found = runs(stage)
    quality, security = found["sdlc/quality"], found["sdlc/security"]
    assert (quality.status, quality.conclusion, security.conclusion) == ("completed", "failure", "success")
    assert quality.external_id == f"{RUN.marker} sdlc/quality"
    assert quality.details_url == at[1].url
    assert quality.output["title"] == "1 minor"
    assert [
        (one["path"], one["start_line"], one["end_line"], one["annotation_level"]) for one in quality.annotations
    ] == [("a.py", 2, 2, "failure"), ("a.py", 20, 22, "warning")]
    assert [one["annotation_level"] for one in security.annotations] == ["notice"]
    assert stage.there.state.statuses == []


async def test_a_repetition_writes_nothing_and_a_change_updates_the_same_ones(stage: Stage) -> None:
    at = await stage.pull()
    await publish(stage, at, quality=("pending", "at work"))
    begun = runs(stage)["sdlc/quality"]
    assert (begun.status, begun.conclusion) == ("in_progress", None)
    for _ in range(2):
        await publish(stage, at, finding(2), quality=("failure", "1 minor"))
    done = runs(stage)["sdlc/quality"]
    assert (done.id, done.status, done.conclusion, len(done.annotations)) == (begun.id, "completed", "failure", 1)
    assert (calls(stage, "POST"), calls(stage, "PATCH")) == (1, 1)


async def test_many_annotations_go_page_by_page_each_once_though_a_page_is_lost(stage: Stage) -> None:
    at = await stage.pull()
    listed = [finding(number, end_line=number) for number in range(1, 132)]
    stage.github.fail(Fault("status", status=502, after=True, where=on("PATCH", "/check-runs")))
    with pytest.raises(ServiceUnavailable):
        await publish(stage, at, *listed)
    assert len(runs(stage)["sdlc/quality"].annotations) == 100
    await publish(stage, at, *listed)
    lines = [one["start_line"] for one in runs(stage)["sdlc/quality"].annotations]
    assert sorted(lines) == list(range(1, 132))
    assert "131 findings" in runs(stage)["sdlc/quality"].output["summary"]


async def test_an_annotation_that_is_gone_is_not_left_standing(stage: Stage) -> None:
    at = await stage.pull()
    await publish(stage, at, finding(2), finding(20))
    await publish(stage, at, finding(20))
    found = [run for run in stage.there.state.check_runs.values() if run.name == "sdlc/quality"]
    # GitHub shows the last of a name, and takes nothing back that was annotated.
    assert [one["start_line"] for one in found[-1].annotations] == [20]
    await publish(stage, at, finding(20))
    assert len([run for run in stage.there.state.check_runs.values() if run.name == "sdlc/quality"]) == len(found) == 2


async def test_another_run_has_check_runs_of_its_own_and_does_not_touch_these(stage: Stage) -> None:
    at = await stage.pull()
    await publish(stage, at, finding(2), quality=("failure", "1 minor"))
    await publish(stage, at, run=RUN.model_copy(update={"run_id": "r2"}), quality=("success", "nothing"))
    assert [run.conclusion for run in stage.there.state.check_runs.values()] == ["failure", "success"]


async def test_the_links_of_a_run_are_its_details_where_there_is_one(stage: Stage) -> None:
    at = await stage.pull()
    await publish(stage, at, run=RUN.model_copy(update={"link": "https://temporal.example/r1"}))
    assert {run.details_url for run in runs(stage).values()} == {"https://temporal.example/r1"}


async def test_our_own_check_runs_and_statuses_are_not_the_projects_checks(stage: Stage) -> None:
    repository, pull_request = at = await stage.pull()
    await publish(stage, at, finding(2), quality=("failure", "1 minor"), security=("pending", "at work"))
    stage.there.status(pull_request.head_sha, "sdlc/techstack", "failure", by="sdlc-bot")
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.NONE
    stage.there.actions(pull_request.head_sha, by="ann", build=("success", ""))
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.GREEN
    # A job of the project's own is one, whatever it is called.
    stage.there.actions(pull_request.head_sha, by="ann", **{"sdlc/lint": ("failure", "boom\n")})
    assert (await stage.forge.checks(repository, pull_request)).state is CiState.RED


@pytest.mark.parametrize("reviews", ["checks", "auto", "statuses"])
async def test_with_a_personal_token_panels_are_statuses_and_the_refusal_is_said_once(
    stage: Stage, reviews: str
) -> None:
    stage.forge = stage.new_forge(reviews=reviews)
    at = await stage.pull()
    with capture_logs() as logs:
        for _ in range(2):
            await publish(stage, at, finding(2))
    assert {one.context: one.state for one in stage.there.state.statuses} == {
        "sdlc/quality": "failure",
        "sdlc/security": "success",
    }
    assert stage.there.state.check_runs == {}
    refused = [one for one in logs if one["event"] == "check_runs_refused"]
    assert (len(refused), calls(stage, "POST")) == ((1, 1) if reviews == "checks" else (0, 0))


async def test_an_app_that_may_not_write_checks_sets_statuses(stage: Stage) -> None:
    stage.forge = as_app(stage, permissions={**PERMISSIONS, "checks": "read"})
    at = await stage.pull()
    await publish(stage, at, finding(2))
    assert sorted(one.context for one in stage.there.state.statuses) == ["sdlc/quality", "sdlc/security"]
    assert stage.there.state.check_runs == {}


async def test_an_app_sets_statuses_where_those_are_wished(stage: Stage) -> None:
    stage.forge = as_app(stage, reviews="statuses")
    at = await stage.pull()
    await publish(stage, at)
    assert (len(stage.there.state.statuses), stage.there.state.check_runs) == (2, {})


async def test_a_limit_is_no_refusal(stage: Stage) -> None:
    at = await stage.pull()
    stage.github.fail(Fault("secondary", where=on("POST", "/check-runs")))
    with pytest.raises(ServiceUnavailable) as limited:
        await publish(stage, at)
    assert limited.value.retry_after == 60
    await publish(stage, at)
    assert set(runs(stage)) == {"sdlc/quality", "sdlc/security"}
    assert stage.there.state.statuses == []


def test_what_github_would_not_take_is_no_annotation() -> None:
    found, left_out = annotations_of([finding(1, ""), finding(5, end_line=2, message="\u202e ")], "sdlc/quality")
    assert left_out == 0
    assert [(one["start_line"], one["end_line"], one["message"]) for one in found] == [(5, 5, "ruff:B006")]
    long = [finding(number, message="x" * 9_000) for number in range(1, MAX_ANNOTATIONS + 8)]
    found, left_out = annotations_of(long, "sdlc/quality")
    assert (len(found), left_out) == (MAX_ANNOTATIONS, 7)
    assert len(json.dumps(found[0])) < 5_000
    assert annotations_of(long, "sdlc/security") == ([], 0)
