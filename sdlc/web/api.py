"""`/api/v1`: all that the pages know, as JSON, for whoever is signed in. An application of its own, to be mounted.

Whoever decides or steers is the one who is signed in; nobody can name somebody else. Errors are problem details.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from sdlc import __version__
from sdlc.domain import AttentionKind, RunState, TestReport
from sdlc.web import api_problems, events, views
from sdlc.web.events import Streams
from sdlc.web.gateway import Gateway
from sdlc.web.gateway.gateway import MOST_DAYS
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.door import signed_in
from sdlc.web.sign_in.identity import Identity, Role

ROOT = "/api/v1"
_MOST_ROWS = 200
_TEXT = 200
"""Characters of what is searched for."""


async def who(request: Request) -> Identity:
    """Whoever has signed in. Raises Refused (401)."""
    return signed_in(request)


def at_least(role: Role) -> Callable[[Identity], Identity]:
    """A dependency: who asks, if they have this role. Raises Refused (401, 403)."""

    async def allowed(identity: Annotated[Identity, Depends(who)]) -> Identity:
        _check(identity, role)
        return identity

    return allowed  # type: ignore[return-value]


def _check(identity: Identity, role: Role) -> None:
    if identity.role < role:
        raise Refused(403, f"This needs the role {role.words}; {identity.name} is {identity.role.words}.")


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def _streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


Viewer = Annotated[Identity, Depends(who)]
Approver = Annotated[Identity, Depends(at_least(Role.APPROVER))]
Operator = Annotated[Identity, Depends(at_least(Role.OPERATOR))]
Asked = Annotated[Gateway, Depends(_gateway)]
Key = Annotated[
    str,
    Path(min_length=1, max_length=200, pattern=r"^[^\s/\x00-\x1f\x7f]+$", description="Of a ticket, such as BUG-1."),
]
Sha = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Of a document's content.")]
Limit = Annotated[int, Query(ge=1, le=_MOST_ROWS)]
Text = Annotated[str, Query(max_length=_TEXT)]
State = Annotated[RunState | Literal[""], Query()]
LastId = Annotated[str, Header(alias="Last-Event-ID", max_length=64)]

router = APIRouter(responses=api_problems.documented())


# --- lists --------------------------------------------------------------------------------------


@router.get("/inbox", operation_id="inbox", tags=["lists"])
async def inbox(
    identity: Viewer,
    gateway: Asked,
    everything: bool = False,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    limit: Limit = 50,
) -> views.Inbox:
    """What waits for me, the longest first; with `everything` then what waits for others."""
    names = gateway.person(identity).names
    return await gateway.inbox(names, everything=everything, offset=offset, limit=limit)


@router.get("/runs", operation_id="runs", tags=["lists"])
async def runs(
    identity: Viewer,
    gateway: Asked,
    state: State = "",
    repository: Text = "",
    person: Text = "",
    text: Text = "",
    cursor: Annotated[str, Query(max_length=4_096)] = "",
    limit: Limit = 50,
) -> views.RunsPage:
    """Runs, the newest first. `person` has started them, or may decide by name; `text` stands in key or title."""
    wanted = views.RunFilter(state=state, repository=repository, person=person, text=text)
    return await gateway.runs(wanted, cursor, limit=limit, names=gateway.person(identity).names)


@router.get("/stats", operation_id="stats", tags=["lists"])
async def stats(
    _: Viewer,
    gateway: Asked,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS)] = 30,
    repository: Text = "",
    state: State = "",
) -> views.Stats:
    """How the runs of the last days went: over all, and by day."""
    return await gateway.stats(days, views.RunFilter(repository=repository, state=state))


# --- a run ----------------------------------------------------------------------------------------


@router.get("/runs/{key}", operation_id="run", tags=["run"])
async def run(key: Key, identity: Viewer, gateway: Asked) -> views.RunView:
    """A run as it stands."""
    return await gateway.run(key, gateway.person(identity).names)


@router.get("/runs/{key}/diff", operation_id="diff", tags=["run"])
async def diff(key: Key, _: Viewer, gateway: Asked) -> views.Diff:
    """The change by files, hunks and rows, with the findings at their rows."""
    return await gateway.diff(key)


@router.get("/runs/{key}/findings", operation_id="findings", tags=["run"])
async def findings(key: Key, _: Viewer, gateway: Asked) -> tuple[views.ReviewView, ...]:
    """The reviews, by panel."""
    return await gateway.reviews(key)


@router.get("/runs/{key}/tests", operation_id="tests", tags=["run"])
async def tests(key: Key, _: Viewer, gateway: Asked) -> tuple[TestReport, ...]:
    """Test reports about the present head."""
    return (await gateway.progress(key)).tests


@router.get("/runs/{key}/audit", operation_id="audit", tags=["run"])
async def audit(key: Key, _: Viewer, gateway: Asked) -> views.Audit:
    """Who decided what, when, from where, about which head; refused decisions too."""
    return await gateway.audit(key)


@router.get("/runs/{key}/conversation", operation_id="conversation", tags=["run"])
async def conversation(key: Key, _: Viewer, gateway: Asked) -> views.Conversation:
    """What the engine was told, said and did."""
    return await gateway.conversation(key)


@router.get("/runs/{key}/logs", operation_id="logs", tags=["run"])
async def logs(key: Key, _: Viewer, gateway: Asked) -> views.Documents:
    """The documents that the run has written."""
    return await gateway.logs(key)


@router.get("/runs/{key}/logs/{sha256}", operation_id="log", tags=["run"])
async def log(key: Key, sha256: Sha, _: Viewer, gateway: Asked) -> views.DocumentText:
    """One of them as text."""
    return await gateway.log(key, sha256)


@router.get("/runs/{key}/costs", operation_id="costs", tags=["run"])
async def costs(key: Key, _: Viewer, gateway: Asked) -> views.Costs:
    """What models were asked, by step."""
    return await gateway.costs(key)


# --- what people do -----------------------------------------------------------------------------


@router.post("/runs/{key}/decisions", operation_id="decide", tags=["deciding"])
async def decide(key: Key, said: views.Decide, identity: Approver, gateway: Asked) -> views.Receipt:
    """Approve, reject or request changes, about one head."""
    return await gateway.decide(key, identity, said)


@router.post("/runs/{key}/attention", operation_id="attend", tags=["deciding"])
async def attend(key: Key, said: views.Attend, identity: Approver, gateway: Asked) -> views.Receipt:
    """Answer a run that needs attention. `retry` and `abort` are for operators."""
    if said.kind is not AttentionKind.WAIVE:
        _check(identity, Role.OPERATOR)
    return await gateway.attend(key, identity, said)


@router.post("/runs/{key}/steering", operation_id="steer", tags=["deciding"])
async def steer(key: Key, said: views.Steer, identity: Operator, gateway: Asked) -> views.Receipt:
    """Pause, resume, instruct, escalate, reassign or cancel."""
    return await gateway.steer(key, identity, said)


# --- streams ---------------------------------------------------------------------------------------

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events.", "content": {events.MEDIA_TYPE: {"schema": {"type": "string"}}}},
    204: {"description": "The run is over, and who asks knows its end: there is no reason to come back."},
}


@router.get(
    "/runs/{key}/events", operation_id="run_events", tags=["streams"], responses=_STREAM, response_class=Response
)
async def run_events(
    key: Key, identity: Viewer, streams: Annotated[Streams, Depends(_streams)], last_id: LastId = ""
) -> Response:
    """Events `progress` as it changes, `trouble` while it can't be asked, `over` at the end."""
    return await streams.run(key, identity.name, last_id)


@router.get("/events", operation_id="inbox_events", tags=["streams"], responses=_STREAM, response_class=Response)
async def inbox_events(
    identity: Viewer, gateway: Asked, streams: Annotated[Streams, Depends(_streams)], last_id: LastId = ""
) -> Response:
    """Events `inbox`: how many wait for me, and for anybody."""
    return await streams.inbox(gateway.person(identity).names, identity.name, last_id)


# --- the application ------------------------------------------------------------------------------


def mount(app: FastAPI, api: FastAPI) -> None:
    """Have `api` answer everything below `ROOT`. `FastAPI.mount` leaves out paths with a line feed in them."""
    route = Mount(ROOT, app=api)
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
    app.router.routes.append(route)


def create_api(gateway: Gateway, streams: Streams) -> FastAPI:
    """For `mount`, behind the guard that knows who asks. Nothing is reached by making it."""
    app = FastAPI(
        title="sdlc",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway, app.state.streams = gateway, streams
    api_problems.install(app)
    app.include_router(router)

    @app.get("/openapi.json", include_in_schema=False)
    async def described(_: Viewer) -> dict[str, Any]:
        return description(app)

    return app


def description(app: FastAPI) -> dict[str, Any]:
    """The API in OpenAPI 3.1."""
    found = get_openapi(
        title="sdlc",
        version=__version__,
        description="Runs from ticket to merge: look, decide, steer. Every error is problem details (RFC 9457).",
        routes=app.routes,
        servers=[{"url": ROOT}],
    )
    schema = api_problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    kinds = found["components"].setdefault("schemas", {})
    kinds |= {**schema.pop("$defs", {}), "Problem": schema}
    found["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "The machine's token (web.sign_in.kind: token). Browsers have a session instead, and send "
            "X-CSRF-Token with what changes something.",
        }
    }
    found["security"] = [{"bearer": []}]
    return found
