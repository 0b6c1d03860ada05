"""The second look: each finding of a lens is put before a model that tries to refute it on the code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from sdlc.domain import ArtifactRef, Finding, Record, SourceState, Usage
from sdlc.errors import ModelAnswerInvalid, ModelRefused
from sdlc.integrations.llm import spent
from sdlc.integrations.services import Services
from sdlc.review_graphs.collect import CONTEXT_LINES, texts
from sdlc.review_graphs.declaration import Lens, prompt_text
from sdlc.review_graphs.paid import counting_earlier_attempts
from sdlc.review_graphs.prompting import numbered, ticket_text
from sdlc.review_graphs.scope import Scope
from sdlc.untrusted import quoted, visible_text

MOST_CHALLENGED = 12
"""Findings of one answer, the worst first: twice what a panel publishes. What is over that is not published."""
AROUND = 60
"""Lines of the head before and after the finding's."""
SURE = 0.6
"""From this confidence on a refutation takes the finding out; below it, the finding stays as a doubtful one."""
DOUBTFUL = 0.4
"""Confidence of a finding that was refuted by half: people see it, the engine isn't sent back for it."""
LONGEST_DIFF = 24_000
"""Characters of the file's change."""
LONGEST_WHY = 400


class ChallengeAnswer(BaseModel):
    refuted: bool
    why: str = ""
    confidence: float = Field(ge=0.0, le=1.0)


class Challenge(Record):
    """What became of one finding when it was challenged; the words are behind `result`."""

    fingerprint: str
    state: SourceState = SourceState.OK
    note: str = ""
    """Why it could not be challenged."""
    usage: Usage = Usage()
    seconds: float = 0.0
    result: ArtifactRef | None = None
    """`ChallengeAnswer` as JSON."""


@dataclass(frozen=True)
class Challenged:
    """A challenge with its words."""

    challenge: Challenge
    answer: ChallengeAnswer | None = None

    @property
    def refuted(self) -> bool:
        return self.answer is not None and self.answer.refuted and self.answer.confidence >= SURE

    @property
    def doubted(self) -> bool:
        return self.answer is not None and self.answer.refuted and not self.refuted

    @property
    def why(self) -> str:
        return " ".join(visible_text(self.answer.why)[0].split())[:LONGEST_WHY] if self.answer else ""


def to_challenge(findings: Sequence[Finding], scope: Scope) -> list[Finding]:
    """Those that need a second look, the worst first; what stood it in an earlier round has had it."""
    known = {finding.fingerprint for finding in scope.previous}
    return [finding for finding in worst(findings)[:MOST_CHALLENGED] if finding.fingerprint not in known]


def worst(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of one answer, the worst first."""
    return sorted(
        findings, key=lambda finding: (finding.severity.rank, -finding.confidence, finding.file, finding.line)
    )


class ChallengeCall:
    def __init__(self, services: Services, scope: Scope, lens: Lens, finding: Finding) -> None:
        self._services = services
        self._scope = scope
        self._lens = lens
        self._finding = finding

    async def made(self) -> Challenged:
        """The model's word. Where it can't be used, the finding stays as it is, and the note says so.

        Raises WorldError, for Temporal to try again.
        """
        return await counting_earlier_attempts(self._made, _with_usage)

    async def _made(self) -> Challenged:
        fingerprint = self._finding.fingerprint
        try:
            answer, usage = await self._services.models.structured(
                role="verifier", messages=await self._messages(), schema=ChallengeAnswer
            )
        except (ModelAnswerInvalid, ModelRefused) as error:
            failed = Challenge(
                fingerprint=fingerprint, state=SourceState.FAILED, note=str(error)[:300], usage=spent(error)
            )
            return Challenged(failed)
        return Challenged(Challenge(fingerprint=fingerprint, usage=usage), answer)

    async def _messages(self) -> list[dict[str, str]]:
        """As for a lens, what other calls have in common comes first; the finding comes last."""
        finding, change = self._finding, self._scope.change
        objects = await self._services.workspaces.objects(change.repository)
        lines = (await texts(objects, change.head_sha, [finding.file])).get(finding.file, [])
        file = self._scope.file(finding.file)
        paths = dict.fromkeys(path for path in (file.on_base if file else "", finding.file) if path)
        diff = await objects.diff(change.base_sha, change.head_sha, *paths, context=CONTEXT_LINES)
        system = (
            f"You are the {self._scope.panel.value} panel of a code review. "
            f"Verify one finding of the lens {self._lens.name}.\n\n{prompt_text('verify.md')}"
        )
        user = [
            ticket_text(self._scope.ticket),
            quoted(numbered(lines, finding.line - AROUND, finding.end_line + AROUND), finding.file, code=True),
            quoted(_cut(diff), f"the change of {finding.file}, as a unified diff", code=True),
            quoted(_told(finding), "the finding"),
        ]
        return [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(user)}]


def _with_usage(challenged: Challenged, before: Usage) -> Challenged:
    usage = before + challenged.challenge.usage
    return Challenged(challenged.challenge.model_copy(update={"usage": usage}), challenged.answer)


def _cut(diff: str) -> str:
    """The change of the file; where it is very long, what is near the finding stands in the code before it anyway."""
    if len(diff) <= LONGEST_DIFF:
        return diff
    return f"{diff[:LONGEST_DIFF]}\n[{len(diff) - LONGEST_DIFF} more characters of this file's change]"


def _told(finding: Finding) -> str:
    rows = [
        f"{finding.file}:{finding.line}" + (f"-{finding.end_line}" if finding.end_line > finding.line else ""),
        f"Severity: {finding.severity.value}. Rule: {finding.rule}.",
        finding.message,
    ]
    if finding.evidence:
        rows.append(f"Evidence: {finding.evidence}")
    return "\n".join(rows)
