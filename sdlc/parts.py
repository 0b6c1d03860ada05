"""The parts of a ticket at work: each is done on a branch of its own and merged, in order, into the run's line.

Parts that need nothing of each other are worked on at once. Each begins from the run's line as it is then. Conflicts go
to an engine, and what that can't resolve to the caller's people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from sdlc import splitting
    from sdlc.activities import MERGE_PART, PLAN_TICKET, MergePart, PartMerged, PlanTicket, TicketPlan
    from sdlc.activity_calls import call, why
    from sdlc.domain import ChangeSet, Instruction, Record, SubIssue
    from sdlc.loop_children import Children
    from sdlc.progress import PartProgress, Step, StepState
    from sdlc.work_loop import WorkLoopRequest, WorkLoopResult

RESOLVE_TRIES = 2
"""Engines that try to resolve the conflicts of one part before people are asked."""
_MERGE_SECONDS = 600
_PLAN_SECONDS = 900
MAX_SUMMARY = 500


class PartsState(Record):
    """What is done of a ticket's parts. Whoever keeps it and comes again does only what is missing."""

    parts: tuple[SubIssue, ...]
    """In merge order, as `splitting.checked` gives them."""
    change: ChangeSet
    """The run's line of work with everything that is merged."""
    begun: dict[str, ChangeSet] = {}
    """By part, what its engines have made so far."""
    finished: tuple[str, ...] = ()
    """Parts that are done; merged or waiting for it."""
    merged: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    """By part, why it failed the last time."""
    summaries: dict[str, str] = {}
    protected: tuple[str, ...] = ()
    """Protected paths that parts have changed, nobody having consented."""
    allowed: tuple[str, ...] = ()
    """Those that they have changed with consent."""
    below: dict[str, PartsState] = {}
    """Of parts that were split again."""


class PartsResult(WorkLoopResult):
    """As that of one loop: `ended` is `submitted`, `budget` or `failed`, `change` has everything that is merged."""

    parts: PartsState | None = None
    """None where nothing was split."""


class SubIssueRequest(Record):
    loop: WorkLoopRequest
    """As if the part were done in one piece: its ticket, and the change to begin from."""
    depth: int = 1
    """1: a part of the ticket itself."""
    state: PartsState | None = None
    """Of an earlier try, if the part was split then."""


class Parts:
    """The parts of one ticket at work. What people say meanwhile goes to `Children.tell`."""

    def __init__(
        self, children: Children, state: PartsState, *, depth: int = 0, changed: Callable[[], None] = lambda: None
    ) -> None:
        """`children` has the template of the whole ticket; `depth` is that of the ticket, 0 for a run's own.

        `changed` is called whenever `state` or `progress` has changed.
        """
        self.state = state.model_copy(update={"failed": {}})
        self._children = children
        self._depth = depth
        self._changed = changed
        self._at_work: set[str] = set()
        self._merging = ""
        self._out_of_budget = ""

    async def work(self) -> PartsResult:
        """Do and merge what is missing. A part that fails keeps back only those that need it."""
        tasks: list[asyncio.Task[None]] = []  # in order: a replay has to cancel them as they were cancelled
        try:
            while True:
                tasks += [asyncio.create_task(self._do(part)) for part in self._ready()]
                if part := self._next_to_merge():
                    self._merging = part.key
                    tasks.append(asyncio.create_task(self._merge(part)))
                self._changed()
                if not tasks:
                    return self._result()
                done, _ = await workflow.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    tasks.remove(task)
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def progress(self) -> tuple[PartProgress, ...]:
        """Where each part stands."""
        return tuple(PartProgress(key=part.key, title=part.title, **self._standing(part)) for part in self.state.parts)

    # --- one part -------------------------------------------------------------------------------

    def _ready(self) -> tuple[SubIssue, ...]:
        self._out_of_budget = self._out_of_budget or self._children.over_budget()
        if self._out_of_budget:
            return ()
        state = self.state
        ended = {*state.finished, *state.failed}
        at_once = self._children.template.policy.plan.at_once
        found = splitting.ready(state.parts, merged=state.merged, running=self._at_work, ended=ended, at_once=at_once)
        self._at_work |= {part.key for part in found}
        return found

    async def _do(self, part: SubIssue) -> None:
        try:
            failed = await self._done(part)
        finally:
            self._at_work.discard(part.key)
        if failed:
            self._keep(failed={**self.state.failed, part.key: failed})
        else:
            self._keep(finished=(*self.state.finished, part.key))

    async def _done(self, part: SubIssue) -> str:
        """Have one part done; why it failed, or an empty text."""
        key, whole = part.key, self._children.template.brief
        ticket = splitting.part_ticket(whole.ticket, part, self.state.parts)
        branch = splitting.part_branch(whole.change.branch, key)
        start = self.state.begun.get(key) or self.state.change.model_copy(update={"branch": branch})
        while True:
            loop = self._children.request(ticket, start, sharers=self._sharers())
            request = SubIssueRequest(loop=loop, depth=self._depth + 1, state=self.state.below.get(key))
            name = f"part-{key}"
            result = await self._children.run("SubIssueWorkflow", request, name, change=start, gives=PartsResult)
            self._note(part, start, result)
            start = result.change
            if not self._children.share_is_used(loop, result):
                break
        if result.ended in ("budget", "failed"):
            return result.reason or f"the engine ended with `{result.ended}`"
        if key in self.state.begun or (result.ended == "no_change" and result.summary):
            return ""  # that there was nothing left to do is an answer too, if it is given with a reason
        return result.reason or "the engine ended without a change"

    def _note(self, part: SubIssue, start: ChangeSet, result: WorkLoopResult) -> None:
        self._note_protected(result)
        if result.change.head_sha != start.head_sha:
            self._keep(begun={**self.state.begun, part.key: result.change})
        if result.summary:
            self._keep(summaries={**self.state.summaries, part.key: result.summary[:MAX_SUMMARY]})
        if isinstance(result, PartsResult) and result.parts is not None:
            self._keep(below={**self.state.below, part.key: result.parts})

    def _note_protected(self, result: WorkLoopResult) -> None:
        state = self.state
        self._keep(
            protected=tuple(sorted({*state.protected, *result.protected})),
            allowed=tuple(sorted({*state.allowed, *result.allowed})),
        )

    def _sharers(self) -> int:
        open_parts = len(self.state.parts) - len({*self.state.finished, *self.state.failed})
        return max(1, min(self._children.template.policy.plan.at_once, open_parts))

    # --- merging --------------------------------------------------------------------------------

    def _next_to_merge(self) -> SubIssue | None:
        state = self.state
        if self._merging:
            return None
        return splitting.next_to_merge(state.parts, merged=state.merged, finished=state.finished, failed=state.failed)

    async def _merge(self, part: SubIssue) -> None:
        try:
            failed = await self._merged(part)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            failed = f"it could not be merged: {why(error)}"
        finally:
            self._merging = ""
        if failed:
            self._keep(failed={**self.state.failed, part.key: failed})
        else:
            self._keep(merged=(*self.state.merged, part.key))

    async def _merged(self, part: SubIssue) -> str:
        """Merge one part, with an engine's help where there are conflicts; why not, or an empty text."""
        before = self.state.change
        offered = self.state.begun.get(part.key)
        if offered is None:
            return ""  # there was nothing to do
        merged = await self._try_merge(before, offered, part)
        for attempt in range(1, RESOLVE_TRIES + 1):
            if not merged.conflicts:
                break
            result = await self._resolve(part, merged, attempt)
            self._note_protected(result)
            if result.ended in ("budget", "failed"):
                return f"its conflicts are not resolved: {result.reason or result.ended}"
            if result.change.head_sha != merged.change.head_sha:
                merged = await self._try_merge(before, result.change, part)
        if merged.conflicts:
            return f"its conflicts with the parts before it are not resolved in {', '.join(merged.conflicts)}"
        self._keep(change=merged.change)
        return ""

    async def _try_merge(self, before: ChangeSet, offered: ChangeSet, part: SubIssue) -> PartMerged:
        template = self._children.template
        request = MergePart(run=template.brief.run, change=before, part=offered, title=f"{part.title} ({part.key})")
        return await call(
            MERGE_PART,
            request,
            step=Step.IMPLEMENT,
            policy=template.policy,
            timeout=_MERGE_SECONDS,
            summary=f"merge {part.key}",
        )

    async def _resolve(self, part: SubIssue, merged: PartMerged, attempt: int) -> WorkLoopResult:
        ticket = splitting.part_ticket(self._children.template.brief.ticket, part, self.state.parts)
        words = Instruction(text=splitting.conflict_words(part, merged.conflicts), by="sdlc")
        request = self._children.request(ticket, merged.change, sharers=self._sharers(), round=1, instructions=(words,))
        name = f"merge-{part.key}-{attempt}"
        return await self._children.run("WorkLoopWorkflow", request, name, change=merged.change, gives=WorkLoopResult)

    # --- what becomes of it ---------------------------------------------------------------------

    def _keep(self, **fields: object) -> None:
        self.state = self.state.model_copy(update=fields)
        self._changed()

    def _result(self) -> PartsResult:
        state = self.state
        missing = [part for part in state.parts if part.key not in state.merged]
        ended, reason = "submitted", ""
        if missing:
            ended = "budget" if self._out_of_budget else "failed"
            told = [
                f"Part {part.key} ({part.title}): {state.failed[part.key]}"
                for part in missing
                if part.key in state.failed
            ]
            waiting = [part.key for part in missing if part.key not in state.failed]
            told += [f"Not done yet: {', '.join(waiting)}"] if waiting else []
            reason = " ".join(f"{sentence.rstrip('.')}." for sentence in [self._out_of_budget, *told] if sentence)
        said = [f"- {part.title}: {state.summaries[part.key]}" for part in state.parts if part.key in state.summaries]
        title = self._children.template.brief.ticket.title
        summed = self._children.summed(state.change).model_dump()
        return PartsResult.model_validate(
            {
                **summed,
                "ended": ended,
                "reason": reason,
                "summary": "\n".join([f"{title}\n", *said])[:2_000] if state.merged else "",
                "plan": [part.title for part in state.parts],
                "protected": state.protected,
                "allowed": state.allowed,
                "parts": state,
            }
        )

    def _standing(self, part: SubIssue) -> dict[str, object]:
        state, key = self.state, part.key
        if key in state.merged:
            return {"state": StepState.DONE, "result": "merged" if key in state.begun else "nothing to do"}
        if key in state.failed:
            return {"state": StepState.FAILED, "result": state.failed[key]}
        if key == self._merging:
            return {"state": StepState.RUNNING, "result": "being merged"}
        if key in self._at_work:
            return {"state": StepState.RUNNING}
        if key in state.finished:
            return {"state": StepState.WAITING, "result": "done, waits for its turn to be merged"}
        return {"state": StepState.PENDING, "result": f"needs {', '.join(part.needs)}" if part.needs else ""}


async def planned(loop: WorkLoopRequest, *, instructions: tuple[Instruction, ...] = ()) -> TicketPlan:
    """The planner's word on the ticket of `loop`, its parts checked: none where it is done in one piece."""
    split = loop.policy.plan
    asked = PlanTicket(
        run=loop.brief.run,
        change=loop.brief.change,
        ticket=loop.brief.ticket,
        instructions=loop.brief.instructions + instructions,
        max_parts=split.max_parts,
        always=split.split == "always",
    )
    plan = await call(
        PLAN_TICKET, asked, step=Step.IMPLEMENT, policy=loop.policy, timeout=_PLAN_SECONDS, summary="plan"
    )
    if workflow.cancellation_reason() is not None:  # lost otherwise, as the activity has ended well
        raise asyncio.CancelledError("the run was stopped")
    checked = splitting.checked(plan.parts, max_parts=split.max_parts)
    parts = checked.parts if splitting.worth_splitting(checked.parts, split.split) else ()
    note = " ".join(text for text in (plan.note, checked.note) if text)
    return plan.model_copy(update={"parts": parts, "note": note})
