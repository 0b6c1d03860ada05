"""The tool calls of one message, carried out in order on one workspace and kept as the next commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sdlc.activities import EngineRequest
from sdlc.engines import conversation
from sdlc.engines.batons import kept, submit_problem
from sdlc.engines.conversation import ToolCall
from sdlc.engines.tools import Toolbox, problem_with
from sdlc.untrusted import visible_text

if TYPE_CHECKING:
    from sdlc.integrations.services import Services
    from sdlc.integrations.workspace import Workspace

_MAX_SUMMARY = 2_000
_MAX_PLAN = 30
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
        self._ended = ""
        self._summary = ""
        self._plan: list[str] = []

    async def carry_out(self, calls: list[ToolCall]) -> None:
        problems = [problem_with(call) for call in calls[: conversation.MAX_CALLS]]
        if all(problems):
            self._answers = problems
        else:
            repository, run = self._request.change.repository, self._request.run
            async with self._services.workspaces.at(repository, self._head, run_id=run.run_id) as workspace:
                await self._on(workspace, calls, problems)
        left_out = f"Not done: at most {conversation.MAX_CALLS} calls in one message are carried out."
        self._answers += [left_out] * (len(calls) - len(self._answers))

    async def _on(self, workspace: Workspace, calls: list[ToolCall], problems: list[str]) -> None:
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
        for call, problem in zip(calls, problems, strict=False):
            if self._ended:
                self._answers.append("Not done: the work was submitted before.")
            elif problem:
                self._answers.append(problem)
            elif call.name == "submit":
                self._answers.append(await self._submit(call, workspace))
            else:
                self._answers.append(await toolbox.answer(call))
        note = await self._keep(workspace)
        if note:
            self._answers[-1] += f"\n{note}"

    async def _keep(self, workspace: Workspace) -> str:
        """Commit and publish; returns what the model should know about it."""
        self._head, note = await kept(workspace, self._head, self._turn, self._request.run)
        return note

    async def _submit(self, call: ToolCall, workspace: Workspace) -> str:
        note = await self._keep(workspace)
        if note:
            return f"Not submitted. {note}"
        reason, answer = await submit_problem(workspace, self._request, self._head)
        if reason and reason not in self._refused:
            self._refused.append(reason)
            return answer
        self._ended = "no_change" if reason == "no_change" else "submitted"
        self._summary = visible_text(call.arguments["summary"])[0].strip()[:_MAX_SUMMARY]
        plan = call.arguments.get("plan")
        steps = plan if isinstance(plan, list) else []
        self._plan = [" ".join(visible_text(str(step))[0].split())[:300] for step in steps[:_MAX_PLAN]]
        return "Submitted."

    def update(self, calls: list[ToolCall], marks: list[str]) -> dict[str, Any]:
        """The state after this batch."""
        marks = [*marks, conversation.mark_of(calls, self._answers)][-conversation.KEPT_MARKS :]
        answers, ended = list(self._answers), self._ended
        if not ended and conversation.in_circles(marks):
            ended = "stuck"
        elif conversation.repeats(marks) == 2:
            answers[-1] += "\n[This did the same as the turn before, with the same result. Do something else.]"
        update: dict[str, Any] = {
            "messages": [conversation.tool_message(*pair) for pair in zip(calls, answers, strict=True)],
            "pending": None,
            "head_sha": self._head,
            "marks": marks,
            "refused": self._refused,
            "ended": ended,
        }
        return {**update, "summary": self._summary, "plan": self._plan} if self._ended else update
