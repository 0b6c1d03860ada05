"""What Temporal learns of an error in an activity: the sentence for a person, when to try again, and no secret."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import structlog
from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from sdlc.errors import FinalError, SdlcError, ServiceUnavailable, UsageError
from sdlc.integrations.heartbeat import heartbeats
from sdlc.runtime.redaction import Redactor

LONGEST_DELAY = 3_600.0
"""Seconds. A service that names a later moment is asked again after this: a run should not sleep on one bad header."""

_LONGEST_MESSAGE = 2_000

_log = logging.getLogger(__name__)


class ActivityInterceptor(Interceptor):
    """For the worker: activities show that they live, their errors become failures that Temporal retries rightly,
    and log lines say whose they are."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Inbound(next, self._redactor)


class _Outbound(ActivityOutboundInterceptor):
    """A heartbeat that says nothing repeats what was said last, also by an earlier attempt: details are all that a
    successor learns."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        super().__init__(next)
        self._said = tuple(activity.info().heartbeat_details)

    def heartbeat(self, *details: Any) -> None:
        self._said = details or self._said
        super().heartbeat(*self._said)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, redactor: Redactor) -> None:
        super().__init__(next)
        self._redactor = redactor

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        with structlog.contextvars.bound_contextvars(
            workflow_id=info.workflow_id, run_id=info.workflow_run_id, activity=info.activity_type, attempt=info.attempt
        ):
            try:
                async with heartbeats():  # around every activity, so that none can forget to show that it lives
                    return await super().execute_activity(input)
            except asyncio.CancelledError:
                raise
            except FailureError as error:
                raise _redacted(error, self._redactor) from None
            except Exception as error:
                if not isinstance(error, SdlcError):
                    # The failure keeps no cause, so this is where the whole story is.
                    _log.warning("Unexpected error in %s", info.activity_type, exc_info=True)
                failure = as_failure(error, self._redactor)
                raise failure.with_traceback(error.__traceback__) from None


def as_failure(error: Exception, redactor: Redactor) -> ApplicationError:
    """The failure that stands for an error: its class name as type, its sentence, its delay; never its causes."""
    if isinstance(error, SdlcError):
        message = str(error)
    elif isinstance(error, ValidationError):
        # Without the input: that may be text of the repository.
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        message = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems[:5])
        message = f"{error.title} is not valid: {message}"
    else:
        message = f"{type(error).__name__}: {error}"
    return ApplicationError(
        redactor(message)[:_LONGEST_MESSAGE],
        type=type(error).__name__,
        non_retryable=isinstance(error, UsageError | FinalError),
        next_retry_delay=_delay(error),
    )


def _delay(error: Exception) -> timedelta | None:
    wanted = error.retry_after if isinstance(error, ServiceUnavailable) else None
    # Zero would mean "unset" to the server, and the policy's own interval is the better answer then anyway.
    return timedelta(seconds=min(wanted, LONGEST_DELAY)) if wanted and wanted > 0 else None


def _redacted(error: FailureError, redactor: Redactor) -> FailureError:
    if not isinstance(error, ApplicationError) or redactor(error.message) == error.message:
        return error
    return ApplicationError(
        redactor(error.message),
        *error.details,
        type=error.type,
        non_retryable=error.non_retryable,
        next_retry_delay=error.next_retry_delay,
        category=error.category,
    )
