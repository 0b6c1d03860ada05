"""One question to a model: the prompt, the call, and what is left of the answer."""

from __future__ import annotations

from dataclasses import replace

from sdlc.domain import Finding, SourceReport, SourceState, Usage
from sdlc.errors import ModelAnswerInvalid, ModelRefused
from sdlc.integrations.llm import spent
from sdlc.integrations.services import Services
from sdlc.review_graphs.answer import Judge, LensAnswer
from sdlc.review_graphs.collect import texts
from sdlc.review_graphs.declaration import Lens, prompt_text
from sdlc.review_graphs.merge import Found
from sdlc.review_graphs.paid import counting_earlier_attempts
from sdlc.review_graphs.prompting import ticket_text
from sdlc.review_graphs.scope import Scope, Slice, Task
from sdlc.untrusted import quoted


class LensCall:
    def __init__(self, services: Services, scope: Scope, lens: Lens, task: Task) -> None:
        self._services = services
        self._scope = scope
        self._lens = lens
        self._task = task
        self._slice: Slice = (scope.again if task.again else scope.slices)[task.slice]

    async def found(self) -> Found:
        """The lens's findings. An answer that can't be used is a failed lens, which is never a pass.

        Raises WorldError, for Temporal to try again; only before the answer is there, for an answer is paid for.
        """
        return await counting_earlier_attempts(self._found, _with_usage)

    async def _found(self) -> Found:
        messages = await self._messages()
        judge = await self._judge()
        try:
            answer, usage = await self._services.models.structured(
                role="reviewer", messages=messages, schema=LensAnswer
            )
        except (ModelAnswerInvalid, ModelRefused) as error:
            return Found(self._report(SourceState.FAILED, str(error), spent(error)))
        findings, dropped = judge.findings(answer)
        report = self._report(SourceState.OK, "", usage).model_copy(
            update={"found": len(findings), "dropped": len(dropped)}
        )
        return Found(report, tuple(findings), tuple(dropped))

    async def _judge(self) -> Judge:
        objects = await self._services.workspaces.objects(self._scope.change.repository)
        shown = {path: file for path in self._slice.files if (file := self._scope.file(path)) is not None}
        lines = await texts(objects, self._scope.change.head_sha, list(shown))
        return Judge(panel=self._scope.panel, lens=self._lens.name, files=shown, lines=lines)

    def _report(self, state: SourceState, note: str, usage: Usage) -> SourceReport:
        return SourceReport(name=self._task.label, kind="lens", state=state, note=note, usage=usage)

    async def _messages(self) -> list[dict[str, str]]:
        """What all lenses have in common comes first, so that the endpoint's prompt cache helps: rules, ticket, change.

        The lens itself comes last, where it also has the last word after the text of others.
        """
        artifacts = self._services.artifacts
        rules = await artifacts.text(self._scope.rules) if self._scope.rules else ""
        diff = await artifacts.text(self._slice.text)
        system = [prompt_text("frame.md")]
        if rules:
            system.append(quoted(rules, "the repository's own rules, as they were before this change"))
        user = [
            ticket_text(self._scope.ticket),
            _left_out(self._scope, self._task),
            quoted(diff, "the change, as a unified diff", code=True),
            self._earlier(),
            f"You are the {self._scope.panel.value} panel of a code review. Lens: {self._lens.name}.",
            self._lens.text(),
        ]
        return [
            {"role": "system", "content": "\n\n".join(system)},
            {"role": "user", "content": "\n\n".join(filter(None, user))},
        ]

    def _earlier(self) -> str:
        mine = [finding for finding in self._scope.previous if self._is_mine(finding)]
        if not mine:
            return ""
        rows = "\n".join(f"- {finding.file}:{finding.line} {finding.rule}: {finding.message}" for finding in mine)
        told = quoted(rows, "your findings on an earlier state of this change")
        return f"{told}\nReport again those that still hold, with the same `rule`, and leave out those that are mended."

    def _is_mine(self, finding: Finding) -> bool:
        rule = f"lens:{self._lens.name}"
        return (finding.rule == rule or finding.rule.startswith(f"{rule}/")) and finding.file in self._slice.files


def _with_usage(found: Found, before: Usage) -> Found:
    return replace(found, source=found.source.model_copy(update={"usage": before + found.source.usage}))


def _left_out(scope: Scope, task: Task) -> str:
    rows = [f"{file.path} ({file.unread})" for file in scope.files if file.unread]
    shown = rows[:20]
    if len(rows) > len(shown):
        shown.append(f"and {len(rows) - len(shown)} more")
    notes = [quoted("\n".join(shown), "files that changed as well and are not shown")] if rows else []
    if task.slices > 1:
        notes.append(f"This is part {task.slice + 1} of {task.slices} of the change; the others are read separately.")
    if task.again:
        notes.append("You have read this change before; these are the files that were changed since.")
    return "\n\n".join(notes)
