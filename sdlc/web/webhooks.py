"""`POST /webhooks/jira` and `/webhooks/github`: whoever has signed it is heard, and what they say is kept.

Answers, within a second of the whole body: 202 with `{"status": "taken" | "repeated" | "ignored"}`, else a refusal
with a reason: 400 signed nonsense, 401 not signed by the secret, 404 not ours or not configured, 408 and 413 a body
too slow or too large, 503 Temporal is not there, so try again. Nothing is parsed before its signature is checked.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import structlog
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from sdlc.deliveries import Delivery
from sdlc.errors import ServiceUnavailable
from sdlc.web.body import Bodies
from sdlc.web.github_events import GitHubScope, github_delivery
from sdlc.web.jira_events import JiraScope, jira_delivery
from sdlc.web.payload import Nonsense, NotOurs, Payload, parsed
from sdlc.web.refusals import Refused
from sdlc.web.signatures import is_signed, stated_digest

if TYPE_CHECKING:
    from pydantic import SecretStr

    from sdlc.config import Settings

log = structlog.get_logger(__name__)


class KeepsDeliveries(Protocol):
    """`sdlc.runtime.deliveries.Deliveries`."""

    async def keep(self, delivery: Delivery) -> bool: ...

    async def check(self) -> None: ...


Read = Callable[[Payload, Headers, bytearray], Delivery | None]


@dataclass(frozen=True)
class Webhook:
    """One of the two, as this installation has it."""

    source: Literal["jira", "github"]
    signature_header: str
    secret: bytes
    off: str
    """Why it takes nothing, and what to do; empty: it is on."""
    read: Read

    @property
    def path(self) -> str:
        return f"/webhooks/{self.source}"


def webhooks_of(settings: Settings) -> tuple[Webhook, ...]:
    """Both, on or off by tracker, forge and secrets."""

    def read_jira(payload: Payload, headers: Headers, body: bytearray) -> Delivery | None:
        return jira_delivery(payload, headers.get("x-atlassian-webhook-identifier"), body, jira)

    def read_github(payload: Payload, headers: Headers, _: bytearray) -> Delivery | None:
        return github_delivery(headers.get("x-github-event", ""), payload, headers.get("x-github-delivery"), github)

    tracker, forge = settings.tracker.kind, settings.forge.kind
    jira, github = JiraScope.of(settings), GitHubScope.of(settings)
    unused_jira = "" if tracker == "jira" else "tracker.kind is not jira"
    unused_github = "" if "github" in (tracker, forge) else "neither tracker.kind nor forge.kind is github"
    return (
        _webhook("jira", "x-hub-signature", settings.jira.webhook_secret, unused_jira, read_jira),
        _webhook("github", "x-hub-signature-256", settings.github.webhook_secret, unused_github, read_github),
    )


def _webhook(
    source: Literal["jira", "github"], header: str, given: SecretStr | None, unused: str, read: Read
) -> Webhook:
    secret = given.get_secret_value().strip().encode() if given is not None else b""
    setting = f"{source}.webhook_secret (SDLC_{source.upper()}__WEBHOOK_SECRET)"
    no_secret = "" if secret else f"there is no secret; set {setting} to that of the webhook"
    return Webhook(source, header, secret, unused or no_secret, read)


class Receiver:
    """Answers the requests to one webhook."""

    def __init__(self, webhook: Webhook, bodies: Bodies, deliveries: KeepsDeliveries) -> None:
        self.webhook = webhook
        self._bodies = bodies
        self._deliveries = deliveries

    async def answer(self, request: Request) -> Response:
        """Never raises, and never says or logs what was sent: it may be anything, from anybody."""
        try:
            status = await self._take(request)
        except Refused as refused:
            log.warning(
                "a webhook's request was refused",
                webhook=self.webhook.source,
                status=refused.status,
                reason=refused.reason,
                client=request.client.host if request.client else "",
            )
            return refused.answer()
        except Exception as error:
            # Without the error's own words, which may quote the body.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("a webhook's request failed", webhook=self.webhook.source, error=type(error).__name__, at=frames)
            return Refused(500, "A fault in sdlc itself; its log says where.").answer()
        return JSONResponse({"status": status}, 202)

    async def _take(self, request: Request) -> str:
        webhook = self.webhook
        if webhook.off:
            raise Refused(404, f"This webhook is off: {webhook.off}.")
        self._bodies.check_length(request)
        digest = stated_digest(request.headers.getlist(webhook.signature_header))
        if digest is None:
            raise Refused(401, f"One header {webhook.signature_header} with `sha256=<hex>` is needed.")
        with await self._bodies.read(request) as body:
            if not is_signed(webhook.secret, body, digest):
                raise Refused(401, "The signature is not that of this body with the secret that is configured here.")
            delivery = self._read(request.headers, body)
        if delivery is None:
            return "ignored"
        try:
            new = await self._deliveries.keep(delivery)
        except ServiceUnavailable as error:
            raise Refused(
                503, "Deliveries can't be kept now; try again.", retry_after=error.retry_after or 10
            ) from None
        log.info("delivery", id=delivery.workflow_id, kind=delivery.kind, new=new)
        return "taken" if new else "repeated"

    def _read(self, headers: Headers, body: bytearray) -> Delivery | None:
        try:
            return self.webhook.read(parsed(body), headers, body)
        except NotOurs as error:
            raise Refused(404, str(error)) from None
        except Nonsense as error:
            raise Refused(400, str(error)) from None
