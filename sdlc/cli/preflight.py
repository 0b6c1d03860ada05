"""What is looked at before a run starts, so that a mistake costs a sentence and not a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from sdlc import budget
from sdlc.cli.context import say
from sdlc.config import Settings
from sdlc.domain import Person, RunRequest, Ticket, Usage
from sdlc.errors import (
    ConfigurationError,
    EngineUnusable,
    ModelKeyRefused,
    RepositoryInvalid,
    ServiceUnavailable,
    TicketNotFound,
    UsageError,
)
from sdlc.integrations.git import inspect_origin
from sdlc.runtime.redaction import Redactor

_OPENAI = "https://api.openai.com/v1"


async def prepare(settings: Settings, ticket: Path | str, repo: str, *, base: str = "") -> RunRequest:
    """Look at everything that a person can have got wrong before anything is claimed.

    `ticket` is a Markdown file or a key of the tracker; `repo` may be empty where the ticket or the configuration
    says which it is. Raises UsageError (also its kinds), FinalError of tracker or forge, or ServiceUnavailable.
    """
    from sdlc.runtime.requests import request_for, with_bot

    found = await _ticket(settings, ticket)
    if not repo and not found.repository and not settings.intake.repositories:
        repo = "."
    request = request_for(settings, found, Person(name=settings.run.starter), repository=repo, base_branch=base)
    if settings.forge.kind == "local":
        origin = await check_repository(request.repository, request.base_branch, say)
        request = request.model_copy(update={"repository": origin})
    else:
        from sdlc.runtime.services import build_forge

        forge = build_forge(settings)
        opened = await forge.open_repository(request.repository, base_branch=request.base_branch)
        request = with_bot(request, await forge.login()).model_copy(update={"repository": opened.name})
    await check_model(settings)
    return request


async def _ticket(settings: Settings, ticket: Path | str) -> Ticket:
    from sdlc.integrations.local_tracker import LocalTracker
    from sdlc.runtime.services import build_tracker

    tracker = build_tracker(settings)
    if isinstance(ticket, Path):
        if not isinstance(tracker, LocalTracker):
            raise UsageError(f"Tickets are in {settings.tracker.kind} here, so {ticket} can't be one; name a key.")
        ticket = await tracker.import_ticket(ticket)
    try:
        return await tracker.ticket(ticket)
    except TicketNotFound as error:
        raise UsageError(str(error)) from error


async def check_repository(repo: str, base: str, say: Callable[[str], None]) -> str:
    """The origin in full, after a look at it; RepositoryInvalid. Says what the run will leave out."""
    facts = await inspect_origin(repo)
    if not base and not facts.default_branch:
        raise RepositoryInvalid(f"{repo} has no default branch to start from; name one with --base.")
    if base and base not in facts.branches:
        known = ", ".join(sorted(facts.branches)[:10])
        raise RepositoryInvalid(f"{repo} has no branch {base}; --base takes one of {known}.")
    if facts.dirty:
        say(f"{facts.origin} has changes that are not committed; the run starts from the last commit without them.")
    if facts.has_submodules:
        say(f"{facts.origin} has submodules; they are left empty (forge.submodules in the configuration).")
    if facts.uses_lfs:
        say(f"{facts.origin} uses Git LFS; its large files stay pointers in the run.")
    return facts.origin


def check_engine(settings: Settings) -> None:
    """Is the engine there, on a machine that works itself? UsageError with the mend."""
    from sdlc.activities import AGENT

    if settings.engine.name == AGENT:
        return
    from sdlc.steps.engine import installed

    try:
        installed(settings, settings.engine.name)
    except EngineUnusable as error:
        raise UsageError(str(error)) from error


def say_what_is_unchecked(settings: Settings, say: Callable[[str], None]) -> None:
    """A bound in USD that somebody has set and that can't hold is told before the run, not after it."""
    llm, bounds = settings.llm, settings.run.budget
    if "usd" in bounds.model_fields_set and not llm.prices:
        # As it will stand after the first call, whose cost nobody knows.
        spent = budget.Spent(usage=Usage(model_calls=1, input_tokens=1, usd=None))
        if told := budget.unchecked(spent, bounds, model=llm.coder or llm.name):
            say(told)


async def check_model(settings: Settings) -> None:
    """One cheap request to the endpoint: ConfigurationError, ModelRefused or ServiceUnavailable, with the mend."""
    llm = settings.llm
    if llm.provider != "openai":
        from sdlc.integrations.llm import Models

        Models(llm).require("coder")
        return
    if not (llm.name or (llm.coder and llm.reviewer)):
        raise ConfigurationError(
            "No model is configured: set SDLC_MODEL, OPENAI_API_KEY and, for an endpoint of your own, OPENAI_BASE_URL; "
            "`sdlc setup` asks for it; or try `sdlc demo`, which brings a scripted one."
        )
    url = (llm.base_url or _OPENAI).rstrip("/")
    shown = Redactor.of(settings)(url)
    if not llm.api_key and not llm.base_url:
        raise ConfigurationError(
            "OPENAI_API_KEY is not set, and OpenAI takes no request without it; "
            "set OPENAI_BASE_URL for an endpoint of your own."
        )
    headers = {"Authorization": f"Bearer {llm.api_key.get_secret_value()}"} if llm.api_key else {}
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{url}/models", headers=headers)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ConfigurationError(f"OPENAI_BASE_URL is not an http or https URL: {shown}") from error
    except UnicodeEncodeError as error:
        raise ConfigurationError("OPENAI_API_KEY has characters that a key can't have; copy it again.") from error
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            f"The model endpoint {shown} does not answer ({type(error).__name__}); "
            "is it running, is OPENAI_BASE_URL right?"
        ) from error
    if answer.status_code in (401, 403):
        raise ModelKeyRefused(
            f"The model endpoint {shown} refuses the key ({answer.status_code}); look at OPENAI_API_KEY."
        )
    # Other answers, 404 above all: many endpoints list no models and serve them all the same.
