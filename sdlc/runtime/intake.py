"""The activities by which work comes in: handle what was delivered, look for what was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from temporalio import activity

from sdlc.deliveries import Delivery, Handled
from sdlc.intake import HANDLE_DELIVERY, POLL, Poll
from sdlc.runtime.intake_commands import Commands
from sdlc.runtime.intake_news import nudge, tell_runs
from sdlc.runtime.intake_poll import Polling
from sdlc.runtime.intake_starts import Starts, tells

if TYPE_CHECKING:
    from sdlc.integrations.services import Services

log = structlog.get_logger(__name__)


class IntakeSteps:
    """They reach Temporal by the worker's own client."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def activities(self) -> list[Callable[..., Any]]:
        return [self.handle_delivery, self.poll]

    @activity.defn(name=HANDLE_DELIVERY.name)
    async def handle_delivery(self, delivery: Delivery) -> Handled:
        """Ask how the thing stands that a delivery names, and start, signal or answer. A repetition does no harm."""
        starts = Starts(self.services, activity.client())
        if delivery.kind in ("pull_request", "checks"):
            did = await tell_runs(starts.runs, delivery)
        elif delivery.source != self.services.settings.tracker.kind:
            did = ("tickets are kept elsewhere",)
        elif delivery.kind == "ticket":
            did = (await self._ticket(delivery, starts),)
        else:
            did = await self._comment(delivery, starts)
        log.info("delivery_handled", delivery=delivery.workflow_id, did=did)
        return Handled(did=did)

    @activity.defn(name=POLL.name)
    async def poll(self, request: Poll) -> Handled:
        """Find what no delivery has told."""
        did = await Polling(self.services, Starts(self.services, activity.client())).once()
        if did:
            log.info("polled", did=did)
        return Handled(did=did)

    async def _ticket(self, delivery: Delivery, starts: Starts) -> str:
        key = delivery.ticket_key
        if await starts.runs.knows(key) and await nudge(starts.runs, key, "ticket_changed", delivery.source):
            return f"told the run for {key}"
        tracker = tells(self.services)
        if tracker is None or not self.services.settings.intake.take_next or not await tracker.is_wanted(key):
            return f"{key} is not to be taken"
        return await starts.unasked(key)

    async def _comment(self, delivery: Delivery, starts: Starts) -> tuple[str, ...]:
        tracker = tells(self.services)
        if tracker is None:
            return ("this tracker knows no commands",)
        comment = await tracker.comment_on(delivery.ticket_key, delivery.comment_id)
        if comment is None:
            return (f"comment {delivery.comment_id} is gone",)
        return await Commands(self.services, tracker, starts).obey(comment)
