"""What GitHub knows of a head: its checks, asked for with whatever the token may read."""

from __future__ import annotations

import time
from typing import Any

import structlog

from sdlc.config.github import GitHubSettings
from sdlc.domain import ArtifactRef, CiReport, CiState, PullRequest
from sdlc.errors import SdlcError, ServiceUnavailable
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.github import checks
from sdlc.integrations.github.api import Api, segment
from sdlc.integrations.github.checks import Check, Seen
from sdlc.integrations.github.job_log import failing_part

MAX_LOGS = 3
"""Jobs whose log is fetched; the rest fail of the same, mostly."""

log = structlog.get_logger(__name__)


class Ci:
    def __init__(self, api: Api, settings: GitHubSettings, artifacts: ArtifactStore | None) -> None:
        self.api = api
        self.settings = settings
        self.artifacts = artifacts
        self._first_asked: dict[tuple[str, str], float] = {}

    async def report(self, repository: str, pull_request: PullRequest) -> CiReport:
        """How the checks of the pull request's head stand; of red ones with the part of the log that matters."""
        seen = await self._seen(repository, pull_request)
        key = repository, pull_request.head_sha
        asked = self._first_asked.setdefault(key, time.monotonic())
        waited = time.monotonic() - asked >= self.settings.checks_grace_seconds
        found = checks.report(seen, which=self.settings.checks, waited=waited)
        if found.state is not CiState.PENDING:
            self._first_asked.pop(key, None)
        if found.state is not CiState.RED:
            return found
        logs, notes = await self._logs(repository, checks.red_of(seen, which=self.settings.checks))
        note = "; ".join(part for part in (found.note, *notes) if part)[:1_000]
        return found.model_copy(update={"log": await self._kept(logs), "note": note})

    async def _seen(self, repository: str, pull_request: PullRequest) -> Seen:
        head, base = pull_request.head_sha, pull_request.base_branch
        doing = f"reading the checks of {head[:10]} in {repository}"
        found, notes = await self._check_runs(repository, head, doing)
        path = f"/repos/{repository}/commits/{head}/statuses"
        found += checks.of_statuses(await self.api.listed(path, doing=doing, most=10))
        return Seen(head, tuple(found), await self._required(repository, base, doing), tuple(notes))

    async def _check_runs(self, repository: str, head: str, doing: str) -> tuple[list[Check], list[str]]:
        path = f"/repos/{repository}/commits/{head}/check-runs"
        first = await self.api.get(path, doing=doing, accept=(403, 404), per_page=100, page=1)
        if first.ok:
            return checks.of_check_runs(await self.api.listed(path, doing=doing, key="check_runs", most=10)), []
        # Fine-grained personal tokens can't read checks at all; the runs of Actions say nearly the same.
        path = f"/repos/{repository}/actions/runs"
        runs = await self.api.get(path, doing=doing, accept=(403, 404), head_sha=head, per_page=100)
        if runs.ok:
            listed = (runs.data or {}).get("workflow_runs") or []
            return checks.of_workflow_runs(listed), [
                "the token may not read checks; the runs of Actions and the statuses were read instead"
            ]
        return [], ["the token may read neither checks nor the runs of Actions; only statuses were read"]

    async def _required(self, repository: str, base: str, doing: str) -> frozenset[str]:
        path = f"/repos/{repository}/branches/{segment(base)}"
        branch = await self.api.get(path, doing=doing, accept=(403, 404))
        # Older Enterprise servers have no rule sets.
        path = f"/repos/{repository}/rules/branches/{segment(base)}"
        rules = await self.api.get(path, doing=doing, accept=(403, 404), per_page=100)
        return checks.required_of(
            branch.data if branch.ok and isinstance(branch.data, dict) else {},
            rules.data if rules.ok and isinstance(rules.data, list) else (),
        )

    # --- logs -----------------------------------------------------------------------------------

    async def _logs(self, repository: str, red: list[Check]) -> tuple[list[tuple[str, str]], list[str]]:
        """Name and failing part of each job, and what could not be had. A log that is away is no reason to wait."""
        logs: list[tuple[str, str]] = []
        notes: list[str] = []
        seen: set[int] = set()
        for check in red:
            try:
                for name, job in await self._jobs(repository, check):
                    if job in seen or len(logs) >= MAX_LOGS:
                        continue
                    seen.add(job)
                    doing = f"reading the log of {name} in {repository}"
                    text = await self.api.download(f"/repos/{repository}/actions/jobs/{job}/logs", doing=doing)
                    if text is None:
                        notes.append(f"GitHub does not keep the log of {name} any more")
                    else:
                        logs.append((name, failing_part(text, limit=self.settings.max_log_chars)))
            except ServiceUnavailable as error:
                if error.retry_after is not None:
                    raise
                notes.append(str(error))
            except SdlcError as error:
                notes.append(str(error))
        return logs, notes

    async def _jobs(self, repository: str, check: Check) -> list[tuple[str, int]]:
        if check.job:
            return [(check.name, check.job)]
        if not check.run:
            return []
        listed: list[Any] = await self.api.listed(
            f"/repos/{repository}/actions/runs/{check.run}/jobs",
            doing=f"reading the jobs of {check.name} in {repository}",
            key="jobs",
            most=5,
        )
        return [
            (str(job.get("name") or check.name), int(job["id"]))
            for job in listed
            if job.get("conclusion") in ("failure", "timed_out", "cancelled")
        ]

    async def _kept(self, logs: list[tuple[str, str]]) -> ArtifactRef | None:
        if not logs or self.artifacts is None:
            return None
        text = "\n\n".join(f"== {name} ==\n{part}" for name, part in logs)
        return await self.artifacts.put(text, name="ci.log")
