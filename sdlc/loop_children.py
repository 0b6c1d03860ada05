"""Work loops as children of a workflow that people steer: what is said to it is said to all of them."""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sdlc import budget, ladder
    from sdlc.activity_calls import why
    from sdlc.domain import ChangeSet, Instruction, Plan, Record, Ticket, Usage
    from sdlc.run_payloads import ModelChosen
    from sdlc.splitting import with_share
    from sdlc.work_loop import WorkLoopRequest, WorkLoopResult


class Children:
    """Starts children, passes on what people say, and adds up what they cost.

    `template` is the request with which the whole ticket would be done in one piece; each child's is made from it.
    """

    def __init__(self, template: WorkLoopRequest) -> None:
        self.template = template
        self.ended: list[WorkLoopResult] = []
        self.waiting: list[Instruction] = []
        """Words that no child has heard; the next one to begin does."""
        self._paused = template.paused
        self._paused_since = workflow.time()
        self._paused_seconds = 0.0
        self._model = template.model
        self._said: list[Instruction] = []
        self._log: list[tuple[str, Record]] = []
        self._running: dict[str, workflow.ChildWorkflowHandle[Any, WorkLoopResult]] = {}
        self._began = workflow.time()

    async def tell(self, signal: str, payload: Record) -> bool:
        """Pass a signal of a work loop on to every child, also to those that begin later. Always taken up."""
        self._take_up(signal, payload)
        self._log.append((signal, payload))
        if isinstance(payload, Instruction):
            self.waiting.append(payload)
        for handle in list(self._running.values()):
            if await self._send(handle, signal, payload):
                self._is_heard(payload)
        return True

    def request(
        self,
        ticket: Ticket,
        change: ChangeSet,
        *,
        sharers: int = 1,
        round: int = 0,
        plan: Plan | None = None,
        instructions: tuple[Instruction, ...] = (),
    ) -> WorkLoopRequest:
        """A child's request as things stand now. `sharers`: how many work at the same time, for the budget."""
        template = self.template
        words = template.brief.instructions + tuple(self._said) + instructions
        brief = {"ticket": ticket, "change": change, "round": round, "plan": plan, "instructions": words}
        share = with_share(self.spent(), template.policy.budget, portions=template.portions, sharers=sharers)
        return template.model_copy(
            update={
                "brief": template.brief.model_copy(update=brief),
                "spent": share.usage,
                "turns_spent": share.turns,
                "minutes_spent": share.minutes,
                "model": self._model,
                "paused": self._paused,
                "report_to": "",
            }
        )

    async def run(
        self, kind: str, request: Record, name: str, *, change: ChangeSet, gives: type[WorkLoopResult]
    ) -> WorkLoopResult:
        """Run a child workflow `<own id>/<name>` to its end. A request made just before holds all that was said.

        One that fails gives a result that says so, with `change`; a cancellation is waited for and raised.
        """
        told = len(self._log)
        self.waiting.clear()
        try:
            handle = await workflow.start_child_workflow(
                kind,
                request,
                id=f"{workflow.info().workflow_id}/{name}",
                result_type=gives,
                cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                static_summary=name,
            )
            while told < len(self._log):
                signal, payload = self._log[told]
                told += 1
                if await self._send(handle, signal, payload):
                    self._is_heard(payload)
            self._running[name] = handle
            result: WorkLoopResult = await handle
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            result = WorkLoopResult(change=change, ended="failed", reason=why(error))
        finally:
            self._running.pop(name, None)
        if not self._running:  # others have heard the same words
            self.waiting += [word for word in result.unheard if word not in self.waiting]
        self.ended.append(result)
        return result

    def spent(self) -> budget.Spent:
        """Of the run until now, children at work not counted."""
        template = self.template
        return budget.Spent(
            usage=template.spent + Usage.total(result.usage for result in self.ended),
            turns=template.turns_spent + sum(result.turns for result in self.ended),
            minutes=template.minutes_spent + (workflow.time() - self._began - self.paused_seconds) / 60,
        )

    def share_is_used(self, request: WorkLoopRequest, result: WorkLoopResult) -> bool:
        """Has a child ended at the bound that its request gave it, while the run has some left?"""
        usage, turns = request.spent + result.usage, request.turns_spent + result.turns
        mine = budget.Spent(usage=usage, turns=turns, minutes=request.minutes_spent)
        at_bound = budget.over(mine, request.policy.budget, portions=request.portions)
        return bool(result.ended == "budget" and result.turns and at_bound and not self.over_budget())

    def over_budget(self) -> str:
        """Which bound is reached, in a sentence; empty if none is."""
        return budget.over(self.spent(), self.template.policy.budget, portions=self.template.portions) or ""

    @property
    def paused_seconds(self) -> float:
        since = workflow.time() - self._paused_since if self._paused else 0.0
        return self._paused_seconds + since

    def summed(self, change: ChangeSet) -> WorkLoopResult:
        """What all children together did and cost, with `change` as the result."""
        ended = self.ended
        return WorkLoopResult(
            change=change,
            iterations=sum(result.iterations for result in ended),
            turns=sum(result.turns for result in ended),
            usage=Usage.total(result.usage for result in ended),
            unheard=tuple(self.waiting),
            engine=next((result.engine for result in reversed(ended) if result.engine), ""),
            models=tuple(dict.fromkeys(model for result in ended for model in result.models)),
            chosen_model=self._model,
            sandboxed=all(result.sandboxed for result in ended),
            taken_over=sum(result.taken_over for result in ended),
        )

    def _take_up(self, signal: str, payload: Record) -> None:
        if isinstance(payload, Instruction):
            self._said.append(payload)
        elif isinstance(payload, ModelChosen):
            chosen = payload.model or ladder.next_model(self.template.policy.ladder, self._model)
            self._model = chosen or self._model
        elif signal == "pause" and not self._paused:
            self._paused, self._paused_since = True, workflow.time()
        elif signal == "resume" and self._paused:
            self._paused_seconds, self._paused = self.paused_seconds, False

    def _is_heard(self, payload: Record) -> None:
        self.waiting = [word for word in self.waiting if word is not payload]

    async def _send(
        self, handle: workflow.ChildWorkflowHandle[Any, WorkLoopResult], signal: str, payload: Record
    ) -> bool:
        try:
            await handle.signal(signal, payload)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return False  # it has just ended
        return True
