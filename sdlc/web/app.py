"""The web application of `sdlc serve` and `sdlc dev`: webhooks, health, the API, and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from sdlc.errors import ServiceUnavailable
from sdlc.runtime.deliveries import Deliveries
from sdlc.web.api import create_api, mount
from sdlc.web.body import Bodies
from sdlc.web.events import Streams
from sdlc.web.gateway import Gateway
from sdlc.web.pages import approval_link, failures, inbox, run, runs
from sdlc.web.pages.rendering import STATIC, Site, Statics
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.routes import install
from sdlc.web.webhooks import KeepsDeliveries, Receiver, webhooks_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from sdlc.config import Settings


def create_app(settings: Settings, deliveries: KeepsDeliveries, gateway: Gateway | None = None) -> FastAPI:
    """Nothing is reached by making it; `deliveries` and `gateway` connect when they have to.

    Whoever serves it closes `app.state.streams` before it stops. Raises ConfigurationError for ways to sign in that
    would let in anybody, and where the data folder takes no secret.
    """
    gateway = gateway or _own_gateway(settings, deliveries)
    streams = Streams(gateway)
    app = FastAPI(title="sdlc", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.site, app.state.streams = Site(settings, gateway), streams
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

    mount(app, create_api(gateway, streams))
    app.mount("/static", Statics(directory=STATIC))
    for page in (inbox, runs, run, approval_link):
        app.include_router(page.router)
    failures.install(app)
    install(app, settings, sign_in=app.state.site.sign_in_page)
    return app


def _own_gateway(settings: Settings, deliveries: KeepsDeliveries) -> Gateway:
    from sdlc.runtime.client import connect

    if isinstance(deliveries, Deliveries):
        return Gateway(deliveries.connection, settings)
    return Gateway(lambda: connect(settings), settings)
