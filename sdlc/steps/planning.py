"""Before step 2: the planner, a model that says how a ticket is to be done, and in which parts if it is a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from temporalio import activity

from sdlc.activities import PLAN_TICKET, PlanTicket, TicketPlan
from sdlc.domain import Plan, SubIssue, Usage
from sdlc.errors import ConfigurationError, ModelAnswerInvalid, ModelRefused
from sdlc.integrations.llm import spent
from sdlc.review_graphs.paid import counting_earlier_attempts
from sdlc.review_graphs.prompting import ticket_text
from sdlc.steps.brief import RULE_FILES
from sdlc.untrusted import fenced, quoted, visible_text

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

MAX_FILES = 1_500
"""Paths that the planner is shown; of a repository with more it is shown the folders."""
_RULE_NAMES = frozenset(name.lower() for name in RULE_FILES)
MAX_FOLDERS = 300
MAX_SUMMARY = 1_000
MAX_STEPS = 10
MAX_STEP = 300

_ALWAYS = "Split the ticket into parts wherever that can be done, into 2 to {most}. Where it can't, give no parts."
_AUTO = (
    "Give parts, 2 to {most}, only if the ticket is too large for one engine: several changes that could be reviewed "
    "apart, in places that have little to do with each other, more than an engineer would do in two days. Most tickets "
    "are not, and get no parts."
)


class PlannedPart(BaseModel):
    key: str
    title: str
    description: str = ""
    acceptance_criteria: list[str] = []
    needs: list[str] = []


class PlanAnswer(BaseModel):
    summary: str
    steps: list[str] = []
    parts: list[PlannedPart] = []
    why: str = ""


class PlanningSteps:
    """The activity PLAN_TICKET."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def activities(self) -> Sequence[Callable[..., Any]]:
        return [self.plan_ticket]

    @activity.defn(name=PLAN_TICKET.name)
    async def plan_ticket(self, request: PlanTicket) -> TicketPlan:
        """The planner's word, its parts as it gave them. A planner that has none to say is a note, never a failure.

        Raises ServiceUnavailable and WorkspaceBroken, for Temporal to try again.
        """
        return await counting_earlier_attempts(lambda: self._planned(request), _with_usage)

    async def _planned(self, request: PlanTicket) -> TicketPlan:
        models = self._services.models
        if not (request.model or models.configured("planner")):
            return TicketPlan(note="No planner: no model is configured for it (llm.planner).")
        messages = await self._messages(request)
        try:
            answer, usage = await models.structured(
                role="planner", messages=messages, schema=PlanAnswer, model=request.model
            )
        except (ConfigurationError, ModelRefused, ModelAnswerInvalid) as error:
            return TicketPlan(usage=spent(error), note=f"The planner had nothing to say: {error}")
        return TicketPlan(
            plan=Plan(
                summary=_line(answer.summary, MAX_SUMMARY),
                steps=tuple(filter(None, (_line(step, MAX_STEP) for step in answer.steps[:MAX_STEPS]))),
            ),
            parts=tuple(SubIssue.model_validate(part.model_dump()) for part in answer.parts),
            usage=usage,
            note=_line(answer.why, MAX_STEP),
        )

    async def _messages(self, request: PlanTicket) -> list[dict[str, str]]:
        objects = await self._services.workspaces.objects(request.change.repository)
        files = await objects.list_files(request.change.head_sha)
        rules = [path for path in files if path.lower() in _RULE_NAMES]
        wanted = _ALWAYS if request.always else _AUTO
        user = [
            ticket_text(request.ticket),
            _instructions(request),
            quoted(_listing(files), f"the {len(files)} files of the repository"),
            f"The engines are given the repository's rules ({', '.join(rules)}) in full." if rules else "",
            wanted.format(most=request.max_parts),
        ]
        return [
            {"role": "system", "content": prompt()},
            {"role": "user", "content": "\n\n".join(filter(None, user))},
        ]


def prompt() -> str:
    """What the planner is told first; its first line is what a scripted model knows it by."""
    return resources.files("sdlc.steps").joinpath("prompts", "plan.md").read_text(encoding="utf-8").strip()


def _instructions(request: PlanTicket) -> str:
    if not request.instructions:
        return ""
    said = [fenced(instruction.text)[0] for instruction in request.instructions]
    return "\n\n".join(["Instructions of the people who steer this run; they count above the ticket:", *said])


def _listing(files: Sequence[str]) -> str:
    """The paths, or, in a large repository, the folders with how many files lie directly in each."""
    if len(files) <= MAX_FILES:
        return "\n".join(files)
    folders: dict[str, int] = {}
    for file in files:
        folder = file.rpartition("/")[0] or "."
        folders[folder] = folders.get(folder, 0) + 1
    # The shallow ones first: they show how the repository is made.
    chosen = sorted(folders, key=lambda folder: (folder.count("/"), folder))[:MAX_FOLDERS]
    lines = [f"{folder}/ ({folders[folder]} files)" for folder in sorted(chosen)]
    left = len(folders) - len(chosen)
    return "\n".join([*lines, f"and {left} more folders"] if left else lines)


def _line(text: str, limit: int) -> str:
    line = " ".join(visible_text(text)[0].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _with_usage(plan: TicketPlan, before: Usage) -> TicketPlan:
    return plan.model_copy(update={"usage": before + plan.usage})
