"""The tool calls of one message, carried out on one workspace and kept as the next commit.

In order, but for those that only read: such calls beside each other run at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sdlc.activities import EngineRequest
from sdlc.engines import conversation
from sdlc.engines.batons import kept, submit_problem
from sdlc.engines.conversation import ToolCall
from sdlc.engines.tool_definitions import READING, WITHOUT_FILES, problem_with
from sdlc.engines.tools import Toolbox
from sdlc.untrusted import visible_text

if TYPE_CHECKING:
    from sdlc.integrations.services import Services
    from sdlc.integrations.workspace import Workspace

_MAX_SUMMARY = 2_000
_MAX_PLAN = 30
_DONE = "✓ "
_BATCH_SECONDS = 3_300.0
"""For all commands of one message together, a little less than the activity has."""


class Batch:
    """The calls of one message, carried out in order on one workspace."""

    def __init__(
        self, services: Services, request: EngineRequest, *, turn: int, head_sha: str, refused: Sequence[str]
    ) -> None:
        self._services = services
        self._request = request
        self._turn = turn
        self._refused = list(refused)
        self._head = head_sha
        self._answers: list[str] = []
        self._began_at = head_sha
        self._ended = ""
        self._reason = ""
        self._summary = ""
        self._plan: list[str] | None = None

    async def carry_out(self, calls: list[ToolCall]) -> None:
        tried = calls[: conversation.MAX_CALLS]
        problems = [problem_with(call) for call in tried]
        if all(problem or call.name in WITHOUT_FILES for call, problem in zip(tried, problems, strict=True)):
            self._answers = [problem or self._planned(call) for call, problem in zip(tried, problems, strict=True)]
        else:
            repository, run = self._request.change.repository, self._request.run
            async with self._services.workspaces.at(repository, self._head, run_id=run.run_id) as workspace:
                await self._on(workspace, list(zip(tried, problems, strict=True)))
        left_out = f"Not done: at most {conversation.MAX_CALLS} calls in one message are carried out."
        self._answers += [left_out] * (len(calls) - len(self._answers))

    async def _on(self, workspace: Workspace, tried: list[tuple[ToolCall, str]]) -> None:
        services = self._services
        settings = services.settings.engine
        toolbox = Toolbox(
            workspace,
            services.sandbox,
            services.environments,
            settings,
            max(_BATCH_SECONDS, settings.command_seconds),
            scratch=self._request.run.run_id,
        )
        for reading, group in groupby(tried, key=lambda pair: pair[0].name in READING and not pair[1]):
            if reading and not self._ended:
                self._answers += await _at_once(toolbox.answer(call) for call, _ in group)
            else:
                for call, problem in group:
                    self._answers.append(await self._one(call, problem, workspace, toolbox))
        if all(problem or call.name in READING | WITHOUT_FILES for call, problem in tried):
            return
        note = await self._keep(workspace)
        if note:
            self._answers[-1] += f"\n{note}"

    async def _one(self, call: ToolCall, problem: str, workspace: Workspace, toolbox: Toolbox) -> str:
        if self._ended:
            return "Not done: the work was submitted before."
        if problem:
            return problem
        if call.name == "plan":
            return self._planned(call)
        return await (self._submit(call, workspace) if call.name == "submit" else toolbox.answer(call))

    def _planned(self, call: ToolCall) -> str:
        self._plan = _steps_of(call.arguments["steps"])
        done = sum(step.startswith(_DONE) for step in self._plan)
        return f"Kept: {done} of {len(self._plan)} steps done."

    async def _keep(self, workspace: Workspace) -> str:
        """Commit and publish; returns what the model should know about it."""
        self._head, note = await kept(workspace, self._head, self._turn, self._request.run)
        return note

    async def _submit(self, call: ToolCall, workspace: Workspace) -> str:
        note = await self._keep(workspace)
        if note:
            return f"Not submitted. {note}"
        reason, answer = await submit_problem(workspace, self._request, self._head, guard=self._services.settings.guard)
        if reason and reason not in self._refused:
            self._refused.append(reason)
            return answer
        self._ended = "no_change" if reason == "no_change" else "submitted"
        if self._ended == "no_change":
            self._reason = "It said twice that it was done, and had changed nothing."
        self._summary = visible_text(call.arguments["summary"])[0].strip()[:_MAX_SUMMARY]
        plan = call.arguments.get("plan")
        if isinstance(plan, list) and plan:
            self._plan = _steps_of(plan)
        return "Submitted."

    def update(self, calls: list[ToolCall], marks: list[str]) -> dict[str, Any]:
        """The state after this batch."""
        marks = [*marks, conversation.mark_of(calls, self._answers)][-conversation.KEPT_MARKS :]
        answers, ended, reason = list(self._answers), self._ended, self._reason
        if not ended and conversation.in_circles(marks):
            ended, reason = "stuck", "It did the same again and again, with the same result."
        elif conversation.repeats(marks) == 2:
            answers[-1] += "\n[This did the same as the turn before, with the same result. Do something else.]"
        update: dict[str, Any] = {
            "messages": [conversation.tool_message(*pair) for pair in zip(calls, answers, strict=True)],
            "pending": None,
            "head_sha": self._head,
            "marks": marks,
            "refused": self._refused,
            "ended": ended,
            "reason": reason,
        }
        if self._head != self._began_at:
            update["changed"] = self._turn
        if self._plan is not None:
            update["plan"] = self._plan
        return {**update, "summary": self._summary} if self._ended else update


async def _at_once(work: Iterable[Coroutine[Any, Any, str]]) -> list[str]:
    """The answers in order; the workspace isn't left while one is under way, whatever became of the others."""
    answers = await asyncio.gather(*work, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if isinstance(answer, str)]


def _steps_of(given: list[Any]) -> list[str]:
    """Steps as one line each; `{"step": …, "state": "done"}` and what models make of it, also plain texts."""
    steps = []
    for item in given[:_MAX_PLAN]:
        facts = item if isinstance(item, dict) else {"step": item}
        text = " ".join(visible_text(str(facts.get("step") or facts.get("text") or ""))[0].split())[:300]
        plain = text.removeprefix(_DONE)
        if plain:
            steps.append(f"{_DONE}{plain}" if facts.get("state") == "done" or plain != text else plain)
    return steps
