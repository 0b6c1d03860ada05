"""From a template to an answer: what every page has, and how moments, amounts and names are written."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from sdlc import __version__
from sdlc.progress import Step
from sdlc.web.pages.addresses import run_path
from sdlc.web.sign_in.door import form_token, visit_of
from sdlc.web.sign_in.sealing import Sealer, web_secret

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.web.gateway import Gateway

HERE = Path(__file__).parents[1]
STATIC = HERE / "static"
_SAID_SECONDS = 120
"""How long the sentence about what was done stands in an address."""
_STEPS = {step.key: step for step in Step}
_SAFE_ID = re.compile(r"[^A-Za-z0-9_-]+")
_TONES = {
    **dict.fromkeys(("closed", "done", "clean", "passed", "merged"), "good"),
    **dict.fromkeys(("needs_attention", "failed", "blocker", "rejected", "aborted", "timed_out"), "bad"),
    **dict.fromkeys(("awaiting_approval", "awaiting_merge", "waiting", "major", "incomplete", "findings"), "warn"),
    **dict.fromkeys(("running", "paused"), "live"),
}
_GLYPHS = {"done": "✓", "running": "●", "waiting": "◔", "failed": "✕", "skipped": "–", "pending": "○"}


class Site:
    """What pages are made with."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        """Raises ConfigurationError where there is no secret to seal with."""
        self.settings, self.gateway = settings, gateway
        self._said = Sealer(web_secret(settings), "what was done")
        self.templates = _environment()

    def seal_said(self, message: str) -> str:
        """For an address: the sentence about what was done, which nobody else can put on a page of ours."""
        return self._said.seal({"message": message[:1_000], "until": int(time.time()) + _SAID_SECONDS})

    def said(self, request: Request) -> str:
        found = self._said.open(request.query_params.get("said", ""))
        return str(found["message"]) if found and found["until"] > time.time() else ""

    def sign_in_page(self, *, kind: str, target: str, csrf: str, message: str = "") -> str:
        """As `sdlc.web.sign_in.routes.sign_in_page`."""
        page = self.templates.get_template("sign_in.html")
        return page.render(identity=None, csrf=csrf, kind=kind, target=target, message=message, path="/sign-in")

    def page(self, request: Request, template: str, status: int = 200, **shown: Any) -> Response:
        identity = visit_of(request).identity
        html = self.templates.get_template(template).render(
            identity=identity,
            role=identity.role.words if identity else "",
            csrf=form_token(request),
            once=secrets.token_urlsafe(12),
            path=request.url.path,
            said=self.said(request),
            **shown,
        )
        return HTMLResponse(html, status)


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


class Statics(StaticFiles):
    """Their addresses change with their content."""

    def file_response(self, *args: Any, **more: Any) -> Response:
        answer = super().file_response(*args, **more)
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    marks = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in STATIC.rglob("*.*")}
    made.globals.update(
        version=__version__,
        static=lambda path: f"/static/{path}?v={marks[path.rpartition('/')[2]]}",
        run_path=run_path,
        now=lambda: datetime.now(UTC),
    )
    made.filters.update(
        ago=ago,
        anchor=lambda text: _SAFE_ID.sub("-", str(text))[:80],
        duration=duration,
        glyph=lambda state: _GLYPHS.get(str(state), "○"),
        number=lambda value: f"{value:,}".replace(",", "\u2009"),
        step=step_title,
        tone=lambda state: _TONES.get(str(state), "calm"),
        usd=usd,
        when=when,
        words=lambda text: str(text).replace("_", " "),
    )
    return made


# --- how things are written -------------------------------------------------------------------


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `4 d 2 h`."""
    if seconds is None:
        return "–"
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s" if seconds >= 1 or not seconds else "under 1 s"
    for unit, smaller, size, part in (("min", "s", 60, 1), ("h", "min", 3_600, 60), ("d", "h", 86_400, 3_600)):
        if whole < {"min": 3_600, "h": 86_400}.get(unit, 10**12):
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest and whole // size < 10 else "")
    raise AssertionError(whole)


def ago(moment: datetime | None) -> str:
    """How long since."""
    return duration((datetime.now(UTC) - moment).total_seconds()) if moment else "–"


def when(moment: datetime | None) -> str:
    if moment is None:
        return "–"
    moment = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), f"{moment:%Y-%m-%d %H:%M} UTC")


def usd(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.4f}"


def step_title(key: str) -> str:
    step = _STEPS.get(key)
    return f"{step.number}. {step.title}" if step else key


@dataclass(frozen=True)
class Tab:
    """A part of a run's page, with an address of its own."""

    name: str
    title: str


TABS = (
    Tab("overview", "Overview"),
    Tab("diff", "Changes"),
    Tab("conversation", "Conversation"),
    Tab("costs", "Costs"),
    Tab("audit", "Audit"),
    Tab("logs", "Logs"),
)
