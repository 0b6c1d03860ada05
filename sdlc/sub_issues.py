"""SubIssueWorkflow: one part of a ticket, as a child of the run or of a larger part."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sdlc.domain import Instruction
    from sdlc.loop_children import Children
    from sdlc.parts import Parts, PartsResult, PartsState, SubIssueRequest, planned
    from sdlc.progress import PartProgress
    from sdlc.run_payloads import ModelChosen, Spoken
    from sdlc.work_loop import WorkLoopResult


@workflow.defn
class SubIssueWorkflow:
    """One part of a ticket: split again where depth allows, else one work loop. Hears what a work loop hears."""

    @workflow.init
    def __init__(self, request: SubIssueRequest) -> None:
        self._children = Children(request.loop)
        self._parts: Parts | None = None

    @workflow.run
    async def run(self, request: SubIssueRequest) -> PartsResult:
        result = await self._run(request)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def _run(self, request: SubIssueRequest) -> PartsResult:
        loop, children = request.loop, self._children
        split, state, plan = loop.policy.plan, request.state, None
        if state is None and split.split != "never" and request.depth < split.max_depth:
            said = await planned(loop)
            children.ended.append(WorkLoopResult(change=loop.brief.change, usage=said.usage))
            plan = said.plan if said.plan.steps else None
            if said.parts:
                state = PartsState(parts=said.parts, change=loop.brief.change)
        if state is not None:
            self._parts = Parts(children, state, depth=request.depth)
            return await self._parts.work()
        asked = children.request(loop.brief.ticket, loop.brief.change, plan=plan)
        result = await children.run("WorkLoopWorkflow", asked, "loop", change=loop.brief.change, gives=WorkLoopResult)
        whole = children.summed(result.change)
        return PartsResult.model_validate({**result.model_dump(), "usage": whole.usage, "unheard": whole.unheard})

    # --- messages -------------------------------------------------------------------------------

    @workflow.signal
    async def pause(self, said: Spoken) -> None:
        await self._children.tell("pause", said)

    @workflow.signal
    async def resume(self, said: Spoken) -> None:
        await self._children.tell("resume", said)

    @workflow.signal
    async def inject_instruction(self, said: Instruction) -> None:
        await self._children.tell("inject_instruction", said)

    @workflow.signal
    async def escalate_model(self, said: ModelChosen) -> None:
        await self._children.tell("escalate_model", said)

    @workflow.query
    def progress(self) -> list[PartProgress]:
        """The parts of this part; empty where it is done in one piece."""
        return list(self._parts.progress()) if self._parts else []
