"""What went wrong, as a page: one sentence, and where to go on."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdlc.errors import ArtifactMissing, ConfigurationError, RunNotFound, SdlcError, UsageError
from sdlc.untrusted import escaped_text
from sdlc.web.guard import refusal
from sdlc.web.pages.rendering import site_of
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.door import Visit

_RETRY_SECONDS = "5"
_LONGEST = 1_000


def install(app: FastAPI) -> None:
    """For every page of this application; what is mounted has answers of its own."""
    app.add_exception_handler(SdlcError, _ours)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _ours(request: Request, error: Exception) -> Response:
    if isinstance(error, RunNotFound | ArtifactMissing):
        return told(request, 404, str(error))
    if isinstance(error, UsageError) and not isinstance(error, ConfigurationError):
        return told(request, 400, str(error))
    answer = told(request, 503, str(error))
    answer.headers["Retry-After"] = _RETRY_SECONDS
    return answer


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101  for mypy
    return refusal(request, error) if error.status == 401 else told(request, error.status, error.reason)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  for mypy
    said = "There is no such page." if error.status_code == 404 else str(error.detail)
    answer = told(request, error.status_code, said)
    answer.headers.update(error.headers or {})
    return answer


async def _invalid(request: Request, _: Exception) -> Response:
    return told(request, 422, "A part of this address, or a field, is not what it has to be.")


def told(request: Request, status: int, sentence: str) -> Response:
    """A page for who reads HTML and is known or is about to be, JSON for all others."""
    sentence = escaped_text(sentence[:_LONGEST])
    reads_html = "text/html" in request.headers.get("accept", "")
    if not (reads_html and isinstance(getattr(request.state, "visit", None), Visit)):
        return JSONResponse({"status": "refused", "reason": sentence}, status)
    return site_of(request).page(request, "problem.html", status, code=status, sentence=sentence)
