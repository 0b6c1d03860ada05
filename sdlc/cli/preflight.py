"""What is looked at before a run starts, so that a mistake costs a sentence and not a run."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from sdlc.config import Settings
from sdlc.errors import ConfigurationError, ModelRefused, RepositoryInvalid, ServiceUnavailable
from sdlc.integrations.git import inspect_origin

_OPENAI = "https://api.openai.com/v1"


async def check_repository(repo: str, base: str, say: Callable[[str], None]) -> str:
    """The origin in full, after a look at it; RepositoryInvalid. Says what the run will leave out."""
    facts = await inspect_origin(repo)
    if facts.dirty:
        say(f"{facts.origin} has changes that are not committed; the run starts from the last commit without them.")
    if facts.has_submodules:
        say(f"{facts.origin} has submodules; they are left empty (forge.submodules in the configuration).")
    if facts.uses_lfs:
        say(f"{facts.origin} uses Git LFS; its large files stay pointers in the run.")
    if not base and not facts.default_branch:
        raise RepositoryInvalid(f"{repo} has no default branch to start from; name one with --base.")
    return facts.origin


async def check_model(settings: Settings) -> None:
    """One cheap request to the endpoint: ConfigurationError, ModelRefused or ServiceUnavailable, with the mend."""
    llm = settings.llm
    if not (llm.name or (llm.coder and llm.reviewer)):
        raise ConfigurationError(
            "No model is configured: set SDLC_MODEL, OPENAI_API_KEY and, for an endpoint of your own, OPENAI_BASE_URL; "
            "or try `sdlc demo`, which brings a scripted one."
        )
    url = (llm.base_url or _OPENAI).rstrip("/")
    headers = {"Authorization": f"Bearer {llm.api_key.get_secret_value()}"} if llm.api_key else {}
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{url}/models", headers=headers)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"OPENAI_BASE_URL is not a URL: {url}") from error
    except httpx.UnsupportedProtocol as error:
        raise ConfigurationError(f"OPENAI_BASE_URL is not an http or https URL: {url}") from error
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            f"The model endpoint {url} does not answer ({type(error).__name__}); "
            "is it running, is OPENAI_BASE_URL right?"
        ) from error
    if answer.status_code in (401, 403):
        raise ModelRefused(f"The model endpoint {url} refuses the key ({answer.status_code}); look at OPENAI_API_KEY.")
    # Other answers, 404 above all: many endpoints list no models and serve them all the same.
