"""What the API answers where it can't do what was asked: problem details, RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sdlc.errors import ArtifactMissing, ConfigurationError, RunNotFound, SdlcError, ServiceUnavailable, UsageError
from sdlc.untrusted import escaped_text
from sdlc.web.gateway import Conflict
from sdlc.web.refusals import Refused

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5.0
_MOST_ERRORS = 20
_LONGEST = 2_000


class FieldProblem(BaseModel):
    where: str
    """Such as `body.comment`."""
    what: str


class Problem(BaseModel):
    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    """One sentence for a person."""
    errors: list[FieldProblem] = []


MEANINGS = {
    400: "It can't be read, or is no key or place in a list.",
    401: "Nobody has signed in.",
    403: "The role does not allow it, or no page of ours has sent it.",
    404: "There is no such run or document.",
    409: "The run refuses it as things stand; the detail says why.",
    413: "The body is too large.",
    422: "A field is missing, unknown, too long, or not what it has to be.",
    429: "Too many tries to sign in.",
    503: "Temporal or a worker does not answer, or too many streams are open; try again.",
}


def documented() -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI description of every operation."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": meaning, "content": content} for status, meaning in MEANINGS.items()}


def problem(
    status: int, detail: str, *, retry_after: float | None = None, errors: list[FieldProblem] | None = None
) -> Response:
    """An answer. `detail` may quote what was sent."""
    said = Problem(title=HTTPStatus(status).phrase, status=status, detail=_safe(detail), errors=errors or [])
    headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(said.model_dump(exclude_defaults=True), status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have every error of this application answered so."""
    app.add_exception_handler(SdlcError, _ours)
    app.add_exception_handler(Conflict, _conflict)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _ours(_: Request, error: Exception) -> Response:
    match error:
        case RunNotFound() | ArtifactMissing():
            return problem(404, str(error))
        case UsageError() if not isinstance(error, ConfigurationError):
            return problem(400, str(error))
        case ServiceUnavailable():
            return problem(503, str(error), retry_after=error.retry_after or RETRY_SECONDS)
    return problem(503, str(error), retry_after=RETRY_SECONDS)


async def _conflict(_: Request, error: Exception) -> Response:
    return problem(409, str(error))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101  for mypy
    return problem(error.status, error.reason, retry_after=error.retry_after)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  for mypy
    answer = problem(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  for mypy
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(400, "The body is no JSON.")
    errors = [
        FieldProblem(where=_safe(".".join(map(str, one["loc"])))[:200], what=_safe(str(one["msg"]))[:300])
        for one in found[:_MOST_ERRORS]
    ]
    return problem(422, "; ".join(f"{one.where}: {one.what}" for one in errors[:3]), errors=errors)


def _safe(text: str) -> str:
    """As UTF-8 and a terminal take it: what was sent may hold halves of surrogate pairs, and escape sequences."""
    return escaped_text(text[:_LONGEST])
