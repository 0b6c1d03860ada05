"""Who serves the models: where, with whose key, and how a client for one model is made.

A client never repeats a call (Temporal does), gives up after the time-out, and has an end. LangChain is imported when
a client is made: it takes longer than the command line may take to start.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from sdlc.config import ModelSettings
from sdlc.errors import ConfigurationError
from sdlc.integrations.answers import shown_url
from sdlc.integrations.llm_wire import split_tool_calls

if TYPE_CHECKING:
    import openai
    from langchain_core.language_models import BaseChatModel
    from langchain_core.outputs import ChatResult

OPENAI = "https://api.openai.com/v1"
_NO_KEY = "none-needed"
"""The clients refuse to be made without a key; endpoints of one's own often need none."""


@dataclass(frozen=True)
class Account:
    """Where the calls go, with which key, and the settings by which a person can change both."""

    provider: str
    url: str
    secret: str = field(repr=False)
    key_setting: str
    url_setting: str
    needs_key: bool
    timeout: float
    """Seconds."""
    max_output_tokens: int

    @property
    def shown(self) -> str:
        """The endpoint as it may be printed."""
        return shown_url(self.url) or self.provider


@dataclass(frozen=True)
class Client:
    """A chat model, and what closes its connections."""

    chat: BaseChatModel
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Provider:
    """What a provider's own package needs; `module` is its import name, `extra` ours that brings it."""

    module: str
    extra: str
    url: str
    key_variable: str
    url_variable: str
    make: Callable[[Account, str], Client]


def account(settings: ModelSettings, environment: Mapping[str, str] = os.environ) -> Account:
    """Endpoint and key of the settings; what they leave open comes from the provider's own variables."""
    secret = settings.api_key.get_secret_value() if settings.api_key else ""
    url, known = settings.base_url, PROVIDERS.get(settings.provider)
    if settings.provider == "openai":
        # OPENAI_API_BASE is LangChain's older name; both at once are refused by the configuration.
        url = url or environment.get("OPENAI_API_BASE") or OPENAI
    else:
        # The configuration reads OpenAI's variables whoever the provider is, and no other one may see OpenAI's key.
        secret = "" if secret == environment.get("OPENAI_API_KEY") else secret
        url = "" if url == environment.get("OPENAI_BASE_URL") else url
        if known is not None:
            secret = secret or environment.get(known.key_variable, "")
            url = url or environment.get(known.url_variable) or known.url
    return Account(
        provider=settings.provider,
        url=url,
        secret=secret,
        key_setting=known.key_variable if known else "llm.api_key",
        url_setting=known.url_variable if known else "llm.base_url",
        needs_key=known is not None and url == known.url,
        timeout=settings.timeout_seconds,
        max_output_tokens=settings.max_output_tokens,
    )


def check_installed(provider: str) -> None:
    """Raises ConfigurationError, with what to install, where the provider's package is missing. Imports nothing."""
    known = PROVIDERS.get(provider)
    if known is None and find_spec("langchain") is None:
        raise ConfigurationError(
            f"llm.provider is `{provider}`: install LangChain and its package for it, such as "
            f"`pip install langchain langchain-{provider.replace('_', '-')}`; or set it to `openai` for an "
            "OpenAI-compatible endpoint."
        )
    if known is not None and find_spec(known.module) is None:
        raise ConfigurationError(
            f"llm.provider is `{provider}`: install it with `pip install 'vishkar-sdlc[{known.extra}]'`."
        )


def client(account: Account, name: str) -> Client:
    """A client for one model. Raises ConfigurationError for a provider that isn't there."""
    check_installed(account.provider)
    known = PROVIDERS.get(account.provider)
    return known.make(account, name) if known else _by_langchain(account, name)


def _openai(account: Account, name: str) -> Client:
    import openai
    from langchain_openai import ChatOpenAI

    class Chat(ChatOpenAI):
        def _create_chat_result(
            self, response: dict[str, Any] | openai.BaseModel, generation_info: dict[str, Any] | None = None
        ) -> ChatResult:
            """Takes the tool calls out before LangChain parses them: it fails on arguments that are no object."""
            if not isinstance(response, dict | openai.BaseModel):
                return super()._create_chat_result(response, generation_info)
            body = response if isinstance(response, dict) else response.model_dump(warnings=False)
            said = [choice.get("message") or {} for choice in body.get("choices") or ()]
            calls = [message.pop("tool_calls", None) or () for message in said]
            result = super()._create_chat_result(body, generation_info)
            for generation, raw, message in zip(result.generations, calls, said, strict=False):
                valid, invalid = split_tool_calls(raw)
                generation.message.tool_calls = valid  # type: ignore[attr-defined]
                generation.message.invalid_tool_calls = invalid  # type: ignore[attr-defined]
                if message.get("refusal"):
                    generation.message.additional_kwargs["refusal"] = message["refusal"]
            return result

    chat = Chat(
        model=name,
        base_url=account.url,
        api_key=SecretStr(account.secret or _NO_KEY),
        timeout=account.timeout,
        max_retries=0,
        max_completion_tokens=account.max_output_tokens,
        # Other endpoints know chat completions alone; at OpenAI's own LangChain picks what the model has.
        use_responses_api=None if account.url == OPENAI else False,
        # LangChain shares one connection pool per process, also between event loops; ours lives with this object.
        http_async_client=openai.DefaultAsyncHttpxClient(timeout=account.timeout),
    )
    return Client(chat, chat.root_async_client.close)


def _anthropic(account: Account, name: str) -> Client:
    chat = import_module("langchain_anthropic").ChatAnthropic(
        model=name,
        # The client adds the version of the API itself.
        base_url=account.url.rstrip("/").removesuffix("/v1"),
        **_common(account),
    )
    # As above, a pool of our own: the one that LangChain keeps per process can't be closed without breaking it.
    connection = import_module("anthropic").AsyncAnthropic(**chat._client_params)
    chat.__dict__["_async_client"] = connection
    return Client(chat, connection.close)


def _google(account: Account, name: str) -> Client:
    chat = import_module("langchain_google_genai").ChatGoogleGenerativeAI(
        model=name, base_url=account.url, **_common(account)
    )
    return Client(chat, chat.aclose)


def _by_langchain(account: Account, name: str) -> Client:
    """Any other provider that LangChain knows; keys that we were not given are its package's to find."""
    given = {**_common(account), **({"base_url": account.url} if account.url else {})}
    try:
        chat = import_module("langchain.chat_models").init_chat_model(name, model_provider=account.provider, **given)
    except (ImportError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(f"llm.provider is `{account.provider}`: {said}") from None
    return Client(chat, getattr(chat, "aclose", _nothing_to_close))


async def _nothing_to_close() -> None:
    pass


def _common(account: Account) -> dict[str, Any]:
    """The parameters that LangChain's chat models share."""
    key = {"api_key": SecretStr(account.secret or _NO_KEY)} if account.secret or account.provider in PROVIDERS else {}
    return {"timeout": account.timeout, "max_retries": 0, "max_tokens": account.max_output_tokens, **key}


_ANTHROPIC, _GOOGLE = "https://api.anthropic.com", "https://generativelanguage.googleapis.com"
PROVIDERS: dict[str, Provider] = {
    "openai": Provider("langchain_openai", "openai", OPENAI, "OPENAI_API_KEY", "OPENAI_BASE_URL", _openai),
    "anthropic": Provider(
        "langchain_anthropic", "anthropic", _ANTHROPIC, "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", _anthropic
    ),
    "google_genai": Provider(
        "langchain_google_genai", "google", _GOOGLE, "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", _google
    ),
}
"""Providers that are known here by name; every other one goes through LangChain's `init_chat_model`."""
