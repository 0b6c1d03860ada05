"""AloneWorkflow: a work loop without a run around it. What comes of it is a branch, and nothing else is touched."""

from __future__ import annotations

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from sdlc.activities import OPEN_REPOSITORY, PUBLISH_BRANCH, OpenRepository, PublishBranch
    from sdlc.activity_calls import call
    from sdlc.domain import ChangeSet, RunIdentity
    from sdlc.naming import branch_name
    from sdlc.progress import Step
    from sdlc.work_loop import WorkLoopRequest, WorkLoopResult, WorkLoopWorkflow


class AloneResult(WorkLoopResult):
    branch: str = ""
    """Empty: nothing has changed, so there is none."""
    url: str = ""
    """Where the branch can be looked at or checked out."""


@workflow.defn
class AloneWorkflow(WorkLoopWorkflow):
    """A work loop that opens its repository first and shows its branch at the end.

    It is a work loop, so it hears and answers what one does. Of the request's change only `repository.origin` (what a
    person gave), `repository.base_branch` and the ticket's key count: the rest is found out when it begins.
    """

    @workflow.run
    async def run(self, request: WorkLoopRequest) -> AloneResult:
        self._request = await self._opened(request)
        result = await super().run(self._request)
        change, more = result.change, {}
        if result.protected:
            named = ", ".join(result.protected)
            kept = (
                f"`git fetch {change.repository.url} refs/sdlc/{self._request.brief.run.run_id}/{change.head_sha[:16]}`"
            )
            more["reason"] = f"It changes {named}, which only a person may. To look at it: {kept}."
        elif change.head_sha != change.base_sha:
            published = await call(
                PUBLISH_BRANCH,
                PublishBranch(run=self._request.brief.run, change=change),
                step=Step.CREATE_PULL_REQUEST,
                policy=request.policy,
                summary="publish the branch",
            )
            more |= {"branch": published.branch, "url": published.url}
        return AloneResult.model_validate({**result.model_dump(), **more})

    async def _opened(self, request: WorkLoopRequest) -> WorkLoopRequest:
        given = request.brief.change.repository
        repository = await call(
            OPEN_REPOSITORY,
            OpenRepository(origin=given.origin, base_branch=given.base_branch),
            step=Step.SELECT_TASK,
            policy=request.policy,
            summary="open the repository",
        )
        if workflow.cancellation_reason() is not None:  # lost otherwise, as the activity has ended well
            raise asyncio.CancelledError("the loop was stopped")
        info, ticket = workflow.info(), request.brief.ticket
        brief = request.brief.model_copy(
            update={
                "run": RunIdentity(workflow_id=info.workflow_id, run_id=info.run_id, ticket_key=ticket.key),
                "change": ChangeSet(
                    repository=repository,
                    base_sha=repository.base_sha,
                    head_sha=repository.base_sha,
                    branch=branch_name(ticket),
                ),
            }
        )
        return request.model_copy(update={"brief": brief})
