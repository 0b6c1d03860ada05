"""Panels as Check Runs with annotations, which GitHub takes from Apps only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from sdlc.config.github import GitHubSettings
from sdlc.domain import Finding, PullRequest, RunIdentity, Severity
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.checks import OURS
from sdlc.integrations.ports import Review
from sdlc.naming import counted
from sdlc.untrusted import visible_text

PER_REQUEST = 50
"""Annotations that GitHub takes at once; those of a further request are added to them."""
MAX_ANNOTATIONS = 500
_MAX_MESSAGE = 4_000
_MAX_TITLE = 255
_LEVELS = {
    Severity.BLOCKER: "failure",
    Severity.MAJOR: "failure",
    Severity.MINOR: "warning",
    Severity.INFO: "notice",
}
_SAME = ("path", "start_line", "end_line", "annotation_level", "message")

Annotation = dict[str, Any]

log = structlog.get_logger(__name__)


class CheckRuns:
    """One Check Run for each panel of a run on a head, found again by its name and `external_id`."""

    def __init__(self, api: Api, settings: GitHubSettings) -> None:
        self.api = api
        self.wished = settings.reviews == "checks" or (settings.reviews == "auto" and api.tokens.is_app)
        self._refused = False

    async def publish(self, repository: str, pull_request: PullRequest, review: Review, run: RunIdentity) -> bool:
        """False where Check Runs are not wished or GitHub does not take them from us; that is logged once."""
        if not self.wished or self._refused:
            return False
        doing = f"writing the checks of {review.head_sha[:10]} in {repository}"
        present = await self._present(repository, review.head_sha, doing)
        for context, (state, said) in review.statuses.items():
            identity = f"{run.marker} {context}"
            annotations, left_out = annotations_of(review.findings, context)
            output = _output(context, said, len(annotations) + left_out, left_out)
            wanted = {
                **_state(state),
                "name": context,
                "external_id": identity,
                "details_url": _details(pull_request, run),
            }
            wanted = {key: value for key, value in wanted.items() if value}
            known = next(
                (one for one in present if (one.get("name"), one.get("external_id")) == (context, identity)), None
            )
            shown = await self._annotations(repository, known, doing)
            if known is not None and any(one not in annotations for one in shown):
                # What is annotated stays so; a later Check Run of the same name takes the place of this one.
                known, shown = None, []
            missing = [one for one in annotations if one not in shown]
            if known is not None and not missing and _says(known, wanted, output):
                continue
            if not await self._write(repository, review.head_sha, known, wanted, output, missing, doing):
                self._refused = True
                log.warning("check_runs_refused", repository=repository, instead="statuses")
                return False
        return True

    async def _present(self, repository: str, head_sha: str, doing: str) -> list[dict[str, Any]]:
        path = f"/repos/{repository}/commits/{head_sha}/check-runs"
        first = await self.api.get(path, doing=doing, accept=(403, 404), per_page=100, page=1)
        if not first.ok:
            return []
        return await self.api.listed(path, doing=doing, key="check_runs", most=10)

    async def _annotations(self, repository: str, known: Mapping[str, Any] | None, doing: str) -> list[Annotation]:
        if known is None or not (known.get("output") or {}).get("annotations_count"):
            return []
        path = f"/repos/{repository}/check-runs/{known['id']}/annotations"
        listed = await self.api.listed(path, doing=doing, most=math.ceil(MAX_ANNOTATIONS / 100) + 1)
        return [{key: one.get(key) for key in (*_SAME, "title")} for one in listed]

    async def _write(
        self,
        repository: str,
        head_sha: str,
        known: Mapping[str, Any] | None,
        wanted: Mapping[str, Any],
        output: Mapping[str, Any],
        missing: Sequence[Annotation],
        doing: str,
    ) -> bool:
        """Made or updated with the first annotations, the rest page by page; False where we may not."""
        pages = [missing[at : at + PER_REQUEST] for at in range(0, len(missing), PER_REQUEST)] or [()]
        path = f"/repos/{repository}/check-runs"
        number = known["id"] if known is not None else 0
        for page in pages:
            body: dict[str, Any] = {**wanted, "output": {**output, **({"annotations": list(page)} if page else {})}}
            if number:
                answer = await self.api.call("PATCH", f"{path}/{number}", body=body, doing=doing, accept=(403,))
            else:
                body["head_sha"] = head_sha
                answer = await self.api.call("POST", path, body=body, doing=doing, accept=(403,))
            if not answer.ok:
                return False
            number = int(answer.data["id"])
        return True


def annotations_of(findings: Iterable[Finding], context: str) -> tuple[list[Annotation], int]:
    """Those of the context's panel (`sdlc/security`), the worst first, and how many more there are than GitHub gets.

    A finding about no file has no annotation: it stands in the summary below the pull request.
    """
    panel = context.removeprefix(OURS)
    ordered = sorted(
        (one for one in findings if one.panel.value == panel and one.file.strip()),
        key=lambda one: (one.severity.rank, one.file, one.line),
    )
    found: list[Annotation] = []
    for finding in ordered:
        made = {
            "path": finding.file,
            "start_line": finding.line,
            "end_line": max(finding.line, finding.end_line),
            "annotation_level": _LEVELS[finding.severity],
            "message": _plain(finding.message, _MAX_MESSAGE) or finding.rule,
            "title": _plain(f"{finding.severity.value}: {finding.rule}", _MAX_TITLE),
        }
        if made not in found:
            found.append(made)
    return found[:MAX_ANNOTATIONS], len(found[MAX_ANNOTATIONS:])


def _state(state: str) -> dict[str, str]:
    if state == "pending":
        return {"status": "in_progress"}
    return {"status": "completed", "conclusion": "success" if state == "success" else "failure"}


def _output(context: str, said: str, count: int, left_out: int) -> dict[str, str]:
    title = _plain(said, _MAX_TITLE) or context
    summary = [title, f"{counted(count, 'finding')} in files of this head." if count else ""]
    if left_out:
        summary.append(f"The {MAX_ANNOTATIONS} worst are annotated; {left_out} more are not.")
    return {"title": title, "summary": "\n\n".join(part for part in summary if part)}


def _says(known: Mapping[str, Any], wanted: Mapping[str, Any], output: Mapping[str, str]) -> bool:
    """Does a Check Run say all of this already?"""
    shown = known.get("output") or {}
    return (
        all(known.get(key) == value for key, value in wanted.items())
        and (known.get("conclusion") or None) == wanted.get("conclusion")
        and all(shown.get(key) == value for key, value in output.items())
    )


def _details(pull_request: PullRequest, run: RunIdentity) -> str:
    return next((url for url in (run.link, pull_request.url) if url.startswith(("https://", "http://"))), "")


def _plain(text: str, limit: int) -> str:
    line = visible_text(text)[0].strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
