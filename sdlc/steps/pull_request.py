"""Steps 12 to 14: the pull request, the forge's own checks, the reviews on it; and what people do to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError
from temporalio import activity

from sdlc.activities import (
    CREATE_PULL_REQUEST,
    LOOK_AT_PULL_REQUEST,
    PUBLISH_REVIEWS,
    SAY_ON_PULL_REQUEST,
    WAIT_FOR_CI,
    Evidence,
    LookAtPullRequest,
    Nothing,
    OnPullRequest,
    SayOnPullRequest,
)
from sdlc.domain import CiReport, CiState, Finding, PanelReport, PullRequest, PullRequestNews
from sdlc.errors import FinalError, WorkspaceBroken
from sdlc.integrations.ports import PullRequestDraft, Review
from sdlc.naming import pull_request_title
from sdlc.people import by_login
from sdlc.steps.evidence import open_findings, pull_request_body, review_statuses, review_summary

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

FIRST_POLL = 1.0
"""Seconds; each wait is half as long again as the one before."""
PATIENCE = 60.0
"""Seconds. Checks that take longer are waited for by the run itself, which holds no place at a worker."""

log = structlog.get_logger(__name__)


class PullRequestSteps:
    """The activities of steps 12 to 14."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [
            self.create_pull_request,
            self.wait_for_ci,
            self.publish_reviews,
            self.look_at_pull_request,
            self.say_on_pull_request,
        ]

    @activity.defn(name=CREATE_PULL_REQUEST.name)
    async def create_pull_request(self, evidence: Evidence) -> PullRequest:
        """Branch and pull request brought to the evidence: found by the run's marker, else made. BranchConflict."""
        made = await self.services.forge.open_pull_request(self._draft(evidence), run=evidence.run)
        await self._link(evidence, made)
        return made

    def _draft(self, evidence: Evidence) -> PullRequestDraft:
        return draft_of(evidence, closes=self.services.settings.github.close_issues)

    async def _link(self, evidence: Evidence, made: PullRequest) -> None:
        """The ticket shows the pull request; where we may not link, its comments still name it."""
        try:
            await self.services.tracker.link(evidence.run.ticket_key, made.url, made.title, run=evidence.run)
        except FinalError as error:
            log.warning("pull_request_not_linked", reason=str(error))

    @activity.defn(name=WAIT_FOR_CI.name)
    async def wait_for_ci(self, request: OnPullRequest) -> CiReport:
        """Ask until the forge's checks have ended, for a minute; PENDING when they have not."""
        repository = request.evidence.change.repository
        wait, left = FIRST_POLL, PATIENCE
        while True:
            report = await self.services.forge.checks(repository, request.pull_request)
            if report.state is not CiState.PENDING or left <= 0:
                return report
            await asyncio.sleep(wait)
            left -= wait
            wait *= 1.5

    @activity.defn(name=LOOK_AT_PULL_REQUEST.name)
    async def look_at_pull_request(self, request: LookAtPullRequest) -> PullRequestNews:
        """What people did to the pull request, each under all the names that the configuration has for them."""
        news = await self.services.forge.news(request.repository, request.pull_request, run=request.run)
        people = self.services.settings.people
        decisions = []
        for decision in news.decisions:
            known = by_login(decision.by, people).names[1:]
            decisions.append(decision.model_copy(update={"aliases": known}))
        return news.model_copy(update={"decisions": tuple(decisions)})

    @activity.defn(name=SAY_ON_PULL_REQUEST.name)
    async def say_on_pull_request(self, request: SayOnPullRequest) -> Nothing:
        """One comment of this run for each topic."""
        await self.services.forge.say(
            request.repository, request.pull_request, request.body, run=request.run, topic=request.topic
        )
        return Nothing()

    @activity.defn(name=PUBLISH_REVIEWS.name)
    async def publish_reviews(self, request: OnPullRequest) -> Nothing:
        """Findings inline, one status per panel, one summary that is kept up to date."""
        evidence = request.evidence
        findings, note = await self._whole(evidence.panel_reports, open_findings(evidence))
        review = Review(
            head_sha=evidence.change.head_sha,
            summary=review_summary(evidence, note=note),
            findings=findings,
            statuses=review_statuses(evidence),
        )
        await self.services.forge.publish_review(
            evidence.change.repository, request.pull_request, review, run=evidence.run
        )
        return Nothing()

    async def _whole(
        self, reports: Iterable[PanelReport], findings: tuple[Finding, ...]
    ) -> tuple[tuple[Finding, ...], str]:
        """The findings with evidence and suggestion, and what is to be said if those can't be read."""
        whole: dict[str, Finding] = {}
        lost: list[str] = []
        for report in reports:
            if report.report is None or not report.findings:
                continue
            try:
                whole |= _findings_in(await self.services.artifacts.text(report.report))
            except (WorkspaceBroken, ValidationError, ValueError, TypeError, KeyError) as error:
                # What was found is in the history; only its evidence is missing. No reason to hold a run up.
                log.warning("report_not_read", panel=report.panel.value, reason=str(error))
                lost.append(report.panel.value)
        note = f"The evidence of these panels could not be read from the artifacts: {', '.join(lost)}." if lost else ""
        return tuple(whole.get(finding.fingerprint, finding) for finding in findings), note


def draft_of(evidence: Evidence, *, closes: bool = False) -> PullRequestDraft:
    """The pull request as the evidence wants it; `closes`: it says so where the ticket is an issue beside it."""
    change, ticket = evidence.change, evidence.ticket
    number = ticket.key.rpartition("-")[2]
    is_beside = bool(ticket.repository) and ticket.repository.casefold() == change.repository.name.casefold()
    return PullRequestDraft(
        repository=change.repository,
        branch=change.branch,
        head_sha=change.head_sha,
        title=pull_request_title(evidence.ticket),
        body=pull_request_body(evidence),
        labels=("sdlc",),
        issue=int(number) if closes and is_beside and number.isdecimal() else 0,
    )


def _findings_in(report: str) -> dict[str, Finding]:
    """By fingerprint, from a panel's report document: `{"findings": [Finding…], …}`."""
    listed = (Finding.model_validate(item) for item in json.loads(report)["findings"])
    return {finding.fingerprint: finding for finding in listed if finding.fingerprint}
