"""How workflow code calls an activity of the catalogue: typed, with the step's limits."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from sdlc import policy as policies
    from sdlc.activities import Activity
    from sdlc.domain import Record, RunPolicy
    from sdlc.errors import PASSING
    from sdlc.progress import Step

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record | None)


async def call(
    activity: Activity[In, Out],
    request: In,
    *,
    step: Step,
    policy: RunPolicy,
    timeout: float | None = None,
    attempts: int | None = None,
    summary: str = "",
) -> Out:
    """Run an activity under its step's limits; `timeout` (s) and `attempts` set others for a small one within a step.

    Raises ActivityError when attempts ran out, the error is final, or the work was cancelled.
    """
    return await start(activity, request, step=step, policy=policy, timeout=timeout, attempts=attempts, summary=summary)


def start(
    activity: Activity[In, Out],
    request: In,
    *,
    step: Step,
    policy: RunPolicy,
    timeout: float | None = None,
    attempts: int | None = None,
    summary: str = "",
) -> workflow.ActivityHandle[Out]:
    """The same without waiting. Cancelling the handle asks the activity to end; what it then answers is its result."""
    limits = policies.limits_for(step, policy)
    if attempts is not None:
        limits = limits.model_copy(update={"attempts": attempts})
    return workflow.start_activity(
        activity.name,
        request,
        result_type=activity.gives,
        start_to_close_timeout=timedelta(seconds=timeout or limits.timeout_seconds),
        heartbeat_timeout=timedelta(seconds=policy.heartbeat_seconds),
        retry_policy=policies.retry_policy(limits, policy),
        # A cancelled activity is waited for: what undoes its effect must not run beside it.
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary or f"{step.number} {step.title}",
    )


def is_passing(error: BaseException) -> bool:
    """Is it the world's fault, so that time alone may mend it?"""
    while isinstance(error, ActivityError | ChildWorkflowError) and error.cause is not None:
        error = error.cause
    return isinstance(error, ApplicationError) and error.type in PASSING


def why(error: BaseException) -> str:
    """The innermost message of a failure: the sentence that the activity raised."""
    while isinstance(error, ActivityError | ChildWorkflowError) and error.cause is not None:
        error = error.cause
    return getattr(error, "message", "") or str(error) or type(error).__name__
