"""What is answered to a command in a comment. Pure: short Markdown, with nothing of the comment's own text in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdlc.comment_commands import Verb
from sdlc.domain import RunRequest, RunState
from sdlc.errors import SdlcError
from sdlc.markdown import code, inline, link
from sdlc.progress import RunProgress, Step
from sdlc.runtime.runs import Look, Started
from sdlc.steps.evidence import cost

if TYPE_CHECKING:
    from sdlc.config.intake import IntakeSettings

_MOST_NAMES = 10
_WORDS = 400
"""Characters of a sentence that somebody else wrote."""
_HELP = {
    Verb.START: "starts a run for this ticket",
    Verb.STATUS: "says how it stands",
    Verb.PAUSE: "halts it before its next step",
    Verb.RESUME: "lets it go on after a pause",
    Verb.RETRY: "lets it go on after trouble; a text behind it is an instruction",
    Verb.INSTRUCT: "passes a text on to the engine",
    Verb.CANCEL: "ends it for good; a text behind it is the reason",
    Verb.APPROVE: "approves the head whose sha stands behind it",
    Verb.REQUEST_CHANGES: "sends the change back with the text behind it",
    Verb.REJECT: "rejects it for good; the text behind it is the reason",
}


def help_text() -> str:
    lines = [f"- `/sdlc {verb.value}` {what}" for verb, what in _HELP.items()]
    ends = "A review of the pull request decides as well."
    return "\n".join(["I don't know that command. There are:", "", *lines, "", ends])


def may_not(settings: IntakeSettings, *, writers_may: bool) -> str:
    """Who may, in a sentence; mail addresses are left out, for a ticket may be public."""
    names = [name for name in (*settings.commanders, *settings.commander_groups) if "@" not in name.strip().lstrip("@")]
    listed = ", ".join(inline(name, 100) for name in names[:_MOST_NAMES])
    if names:
        left_out = len(settings.commanders) + len(settings.commander_groups) > len(names[:_MOST_NAMES])
        return f"That is for those who may command runs here: {listed}{' and others' if left_out else ''}."
    if settings.commanders:
        return "That is for those who may command runs here; the configuration names them."
    if writers_may:
        return "That is for those who may write to the repository."
    return "Nobody may command runs here yet; `intake.commanders` or `intake.commander_groups` has to name them."


def no_run(key: str) -> str:
    return f"There is no run for {inline(key)}; `/sdlc start` starts one."


def over(key: str) -> str:
    return f"The run for {inline(key)} is over; `/sdlc status` says how it ended, `/sdlc start` starts another."


def refused(error: SdlcError, hint: str = "") -> str:
    return " ".join(filter(None, (f"That was not done. {inline(str(error), 2_000)}", hint)))


def started(key: str, run: Started, request: RunRequest, namespace: str) -> str:
    name = inline(f"The run for {key}")
    if request.ui_url:
        name = link(
            f"The run for {key}", f"{request.ui_url}/namespaces/{namespace}/workflows/{run.workflow_id}/{run.run_id}"
        )
    return f"{name} has started, in {code(request.repository, 200)}. `/sdlc status` says how it stands."


def joined(key: str) -> str:
    return f"A run for {inline(key)} is at work; `/sdlc status` says how it stands."


def waits(progress: RunProgress) -> str:
    """For whom it waits; empty while it works by itself."""
    return f"It waits for {inline(progress.waits_for, _WORDS).rstrip('.')}." if progress.waits_for else ""


def status(look: Look) -> str:
    progress = look.progress
    state = progress.state.value.replace("_", " ")
    pull_request = progress.pull_request
    lines = [
        f"The run for {inline(progress.ticket_key)} is {state}{_at(progress)}.",
        waits(progress),
        f"{link(f'Pull request {pull_request.number}', pull_request.url)}." if pull_request else "",
        f"{_approves(progress)} it." if progress.state is RunState.AWAITING_APPROVAL else "",
        *_troubles(look),
        f"Warning: {inline(progress.warnings[-1], _WORDS)}" if progress.state.is_over and progress.warnings else "",
        f"Until now: {cost(progress.usage)}.",
    ]
    return "\n\n".join(filter(None, lines))


def _at(progress: RunProgress) -> str:
    if progress.state.is_over:
        return ""
    step = Step.of(progress.step)
    return f", at step {step.number} of {len(Step)}: {step.title}"


def _troubles(look: Look) -> Sequence[str]:
    return [
        f"{code(one.activity, 100)} is tried again (attempt {one.attempt}): {inline(one.message, _WORDS)}"
        for one in look.troubles[:3]
    ]


def which_head(progress: RunProgress) -> str:
    if progress.state is not RunState.AWAITING_APPROVAL or progress.change is None:
        return f"It does not wait for an approval now; it is {progress.state.value.replace('_', ' ')}."
    return f"Say which head: {_approves(progress)} what waits now. Look at it first."


def say_why(verb: Verb) -> str:
    return f"Say why: the text behind {code(f'/sdlc {verb.value}')} goes to the engine and into the audit trail."


def _approves(progress: RunProgress) -> str:
    head = progress.change.head_sha[:10] if progress.change else ""
    return f"{code(f'/sdlc approve {head}')} approves"


def waits_for_a_review(progress: RunProgress) -> str:
    if progress.state is not RunState.AWAITING_APPROVAL:
        return ""
    return "Changes are asked for by a review of the pull request."
