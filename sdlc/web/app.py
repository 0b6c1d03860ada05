"""The web application of `sdlc serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from sdlc.errors import ServiceUnavailable
from sdlc.web.body import Bodies
from sdlc.web.refusals import Refused
from sdlc.web.webhooks import KeepsDeliveries, Receiver, webhooks_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from sdlc.config import Settings


def create_app(settings: Settings, deliveries: KeepsDeliveries) -> FastAPI:
    """Webhooks and health. Nothing is reached by making it; `deliveries` connects when it has to."""
    app = FastAPI(title="sdlc", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    bodies = Bodies(settings.web.max_body_bytes)
    for webhook in webhooks_of(settings):
        app.add_route(webhook.path, Receiver(webhook, bodies, deliveries).answer, methods=["POST"])

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process is alive."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Temporal would keep a delivery."""
        try:
            await deliveries.check()
        except ServiceUnavailable as error:
            return Refused(503, str(error), retry_after=error.retry_after).answer()
        return JSONResponse({"status": "ready"})

    return app
