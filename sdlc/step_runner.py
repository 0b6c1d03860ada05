"""How a step runs: entered, tried, left; and when it fails for good, people are asked.

A run never dies of a hard problem. It keeps everything, tells people, and waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sdlc import activities as do
    from sdlc import activity_calls, budget
    from sdlc.activity_calls import is_passing, why
    from sdlc.domain import AttentionKind, GateDecision, GateVerdict, Instruction, RunRequest, RunState
    from sdlc.progress import Step, StepState
    from sdlc.run_view import RunView

T = TypeVar("T")

AGAIN_SECONDS = 3_600.0
"""An outage that is longer than an activity's attempts is over one day: nobody should have to say so to each run."""


@dataclass(frozen=True)
class AgainBy:
    """What besides a person lets a run try again."""

    seconds: float | None = None
    heals: Callable[[], bool] | None = None
    quiet: bool = False
    """People have been told of the same trouble."""

    def healed(self) -> bool:
        """Is there reason to try again by itself?"""
        return self.heals is not None and self.heals()


class StepRunner(RunView):
    """Between what a run shows (`RunView`) and what it does (`SdlcWorkflow`)."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self._telling: set[asyncio.Task[None]] = set()
        """What people are being told, beside the steps."""
        self._occasions = 0

    async def run_step(
        self,
        step: Step,
        do_it: Callable[[], Awaitable[T]],
        *,
        said: Callable[[T], str],
        ended: Callable[[T], StepState] | None = None,
        waived: T | None = None,
        obstacles: tuple[str, ...] = (),
        heals: Callable[[], bool] | None = None,
    ) -> T:
        """Run one step to its end; when it fails for good, people decide whether it is tried again.

        `waived` is the result if they let the failure stand; without one they can't. Where the world is at fault it is
        also tried again by itself, each hour, and whenever `heals` says that there is reason to.
        """
        told: set[str] = set()
        while True:
            await self.unpaused()
            self.enter(step)
            try:
                with workflow.create_event_group(step.key, label=f"{step.number} {step.title}").scope():
                    result = await do_it()
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                verdict = GateVerdict(decision=GateDecision.ASK, reasons=(why(error),), fingerprints=obstacles)
                again = AgainBy(AGAIN_SECONDS if is_passing(error) else None, heals, quiet=why(error) in told)
                told.add(why(error))
                if await self.ask_people(step, verdict, waivable=waived is not None, again=again) or waived is None:
                    continue
                if not self.waived.issuperset(obstacles):
                    continue  # something else was waived; the step's own trouble stands
                self.leave(step, StepState.SKIPPED, "waived")
                return waived
            self.leave(step, ended(result) if ended else StepState.DONE, said(result))
            return result

    async def ask_people(
        self, step: Step, verdict: GateVerdict, *, waivable: bool = True, again: AgainBy | None = None
    ) -> bool:
        """Wait until a person has answered; True for retry, False for waive. The run keeps everything meanwhile."""
        again = again if again is not None and workflow.patched("tries-again") else AgainBy()
        reason = " ".join(verdict.reasons)
        self.leave(step, StepState.WAITING, reason)
        self.state, self.reason = RunState.NEEDS_ATTENTION, reason
        choices = "retry, waive or abort" if waivable else "retry or abort"
        if self.out_of_budget:
            choices += "; retry grants as much again"
        by_itself = "; it also tries again by itself each hour" if again.seconds else ""
        self.waits_for = f"a person: {choices}{by_itself} ({step.title}: {reason})"
        self.answer, self.waivable = None, waivable
        if not again.quiet:
            self.asked += 1
        self.show()
        if not again.quiet:
            # With a number, so that being stuck in the same place again is told again.
            title = f"{self.request.ticket_key} needs a person ({self.asked}): {step.title}"
            await self.tell("needs_attention", title, reason)
        await self.wait_for_people(lambda: self.answer is not None or again.healed(), again.seconds)
        answer = self.answer
        self.answer = None
        self.state, self.reason, self.waits_for = RunState.RUNNING, "", ""
        if answer is None:
            self.record("retry", detail="by itself")
            return True
        if answer.kind is AttentionKind.WAIVE:
            self.waive_now(answer.fingerprints or verdict.fingerprints, answer.reason, answer.by)
            return False
        self.rounds_left = max(self.rounds_left, 1)
        if self.out_of_budget:
            self.portions += 1
            self.out_of_budget = False
        if answer.instruction:
            self.instructions.append(Instruction(text=answer.instruction, by=answer.by))
        return True

    async def within_budget(self, step: Step) -> None:
        """Before panels: where nothing is left, people decide whether the run goes on. Turns are the engine's alone."""
        if not workflow.patched("budget-watch"):
            return
        bounds = self.policy.budget.model_copy(update={"turns": None})
        while over := budget.over(self.spent(), bounds, portions=self.portions):
            self.out_of_budget = True
            self.enter(step)
            await self.ask_people(step, GateVerdict(decision=GateDecision.ASK, reasons=(over,)), waivable=False)

    async def watch_budget(self) -> None:
        """Tell people once for each portion that most of it is spent; for ever, as a task beside the run's steps."""
        while True:
            await workflow.wait_condition(lambda: self.portions > self.portions_told and bool(self.budget_runs_low()))
            self.portions_told, low = self.portions, self.budget_runs_low() or ""
            await self.tell("budget", f"{self.request.ticket_key}: {low}", "At 100 % the run waits for a person.")

    async def unpaused(self) -> None:
        if self.paused:
            before, self.state = self.state, RunState.PAUSED
            self.waits_for = "resume"
            self.show()
            await workflow.wait_condition(lambda: not self.paused)
            self.state, self.waits_for = before, ""
            self.show()

    async def call(
        self, activity: do.Activity[do.In, do.Out], request: do.In, step: Step, attempts: int | None = None
    ) -> do.Out:
        """Run an activity, and heed a stop that came meanwhile.

        The SDK waits for a cancelled activity and gives its result if it ended well: without a look of our own
        a cancellation that came during a short activity would be gone.
        """
        tidies_up = activity.name in (do.RELEASE_RUN.name, do.CLOSE_STORY.name)
        if activity.name != do.RELEASE_RUN.name:
            self.heed_stop()
        result = await activity_calls.call(activity, request, step=step, policy=self.policy, attempts=attempts)
        if not tidies_up:
            self.heed_stop()
        return result

    def heed_stop(self) -> None:
        """Raises CancelledError if the run was cancelled or aborted."""
        if self.abort_reason or workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError("the run was stopped")

    def meant(self, event: str) -> tuple[str, ...]:
        """Whom an event is for; nobody named: everybody."""
        approval = self.approval()
        if event == "escalation":
            return approval.escalate_to
        if event in ("needs_approval", "reminder", "ticket_changed"):
            return approval.approvers
        return (self.request.starter,)

    async def announce(self, event: str, title: str) -> None:
        """As `tell`, in the evidence's words."""
        if not workflow.patched("announce") or self.pull_request is None:
            return
        request = do.Announce(
            evidence=self.evidence(),
            event=event,
            title=title,
            pull_request=self.pull_request,
            people=self.meant(event),
            occasion=self._occasion(),
        )
        self._beside(do.ANNOUNCE, request, title)

    async def tell(self, event: str, title: str, body: str = "") -> None:
        """Tell people, while the run goes on; a channel that is down is a warning, and nobody waits for it."""
        request = do.TellPeople(
            run=self.identity(),
            event=event,
            title=title,
            body=body or self.waits_for,
            url=self.pull_request_url(),
            on_ticket=event == "needs_attention",
            repository=self.repository.name if self.repository else self.request.repository,
            people=self.meant(event),
            head_sha=self.change.head_sha if self.change else "",
            occasion=self._occasion(),
        )
        if workflow.patched("tell-beside"):
            self._beside(do.TELL_PEOPLE, request, title)
            return
        try:
            await self.call(do.TELL_PEOPLE, request, Step.REQUEST_APPROVAL, attempts=3)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.warn(f"People could not be told ({title}): {why(error)}")

    def _occasion(self) -> str:
        """Of this notice alone; another one after a reset, when people are asked anew."""
        self._occasions += 1
        return f"{workflow.info().run_id}/{self._occasions}"

    def _beside(self, activity: do.Activity[do.In, do.Nothing], request: do.In, title: str) -> None:
        telling = asyncio.create_task(self._told(activity, request, title))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _told(self, activity: do.Activity[do.In, do.Nothing], request: do.In, title: str) -> None:
        try:
            await activity_calls.call(activity, request, step=Step.REQUEST_APPROVAL, policy=self.policy, attempts=5)
        except ActivityError as error:
            if not is_cancelled_exception(error):
                self.warn(f"People could not be told ({title}): {why(error)}")

    async def all_told(self, seconds: float) -> None:
        """Give what is being told this long to arrive."""
        if self._telling:
            await workflow.wait([*self._telling], timeout=seconds)
