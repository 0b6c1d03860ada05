"""The models, of any OpenAI-compatible endpoint or another provider: messages and answers in OpenAI's wire format.

Retrying is Temporal's: the client itself never repeats a call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from sdlc.config import ModelSettings
from sdlc.domain import Usage
from sdlc.errors import ConfigurationError, ModelAnswerInvalid, ModelRefused, SdlcError, ServiceUnavailable
from sdlc.integrations.answers import redacted
from sdlc.integrations.llm_errors import Asked, StructuredOutputUnsupported, refused, translated
from sdlc.integrations.llm_prices import cost, price_of
from sdlc.integrations.llm_providers import Client, account, check_installed, client
from sdlc.integrations.llm_wire import Wire, finish_reason, from_langchain, json_of, strict_schema, to_langchain

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

Role = Literal["planner", "coder", "reviewer", "verifier"]
Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    message: Wire
    """OpenAI's assistant message, JSON-native and fit to be sent again.

    The arguments of a tool call are as the model wrote them, also where they are not valid JSON.
    """
    usage: Usage
    finish_reason: str
    """`stop`, `tool_calls`, or `length`: the answer was cut, so nothing in it may be acted upon."""
    model: str


class Models:
    """The models of the settings, by role. One instance per worker; a client is made at the first call."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._account = account(settings)
        self._secret = self._account.secret
        self._clients: dict[str, Client] = {}
        self._without_schema: set[str] = set()

    def name(self, role: Role, model: str = "") -> str:
        """The model that a call with this role goes to; empty if none is configured."""
        settings = self._settings
        of_role = {
            "planner": settings.planner or settings.coder,
            "coder": settings.coder,
            "reviewer": settings.reviewer,
            "verifier": settings.verifier or settings.reviewer,
        }
        return model or of_role[role] or settings.name

    def configured(self, role: Role) -> bool:
        """Can this role be asked? True says nothing about the endpoint being up."""
        return bool(self.name(role)) and (bool(self._secret) or not self._account.needs_key)

    def require(self, role: Role, model: str = "") -> str:
        """The model's name, after a look at what can be missing on this machine; no request is made.

        Raises ConfigurationError: no model, no key, or the package of `llm.provider` isn't installed.
        """
        name, place = self.name(role, model), self._account
        if not name:
            raise ConfigurationError(
                f"No model is configured: set SDLC_MODEL and {place.key_setting}, and {place.url_setting} for "
                "another endpoint than the provider's own."
            )
        if not self._secret and place.needs_key:
            raise ConfigurationError(
                f"{place.key_setting} is not set: set it, or {place.url_setting} for an endpoint that needs none."
            )
        check_installed(place.provider)
        return name

    async def chat(
        self, *, role: Role, messages: Sequence[Wire], tools: Sequence[Wire] | None = None, model: str = ""
    ) -> Answer:
        """One call of a model with the conversation so far.

        Raises ServiceUnavailable (429, 5xx, time-out, connection), ModelRefused (and its kinds: key, content,
        context) and ConfigurationError (no model). A cut answer comes back with `finish_reason` `length`.
        """
        try:
            return await self._ask(self.require(role, model), messages, tools=tools)
        except StructuredOutputUnsupported as error:  # an endpoint that names these words for another reason
            raise ModelRefused(f"The model endpoint {self.url} refused the request: {error}") from None

    async def structured(
        self, *, role: Role, messages: Sequence[Wire], schema: type[Schema], model: str = ""
    ) -> tuple[Schema, Usage]:
        """One answer that is valid for `schema`, with one repair turn where the first is not.

        Raises as `chat` does, and ModelAnswerInvalid when the second answer is no better;
        `spent` tells what the calls have cost that were made before any of these.
        """
        name = self.require(role, model)
        conversation, usage, reason = list(messages), Usage(), ""
        for _ in range(2):
            try:
                answer = await self._ask_for_json(name, conversation, schema)
            except SdlcError as error:
                raise _with_usage(error, usage + spent(error)) from None
            usage = usage + answer.usage
            try:
                return _validated(answer, schema), usage
            except ValueError as error:
                reason = redacted(str(error), self._secret)
                conversation += _repair(answer, reason)
        raise _with_usage(ModelAnswerInvalid(f"`{name}` did not answer as asked, also when told: {reason}"), usage)

    async def close(self) -> None:
        """Close the connections; the next call opens them again."""
        clients = list(self._clients.values())
        self._clients.clear()
        for one in clients:
            await one.close()

    @property
    def url(self) -> str:
        """The endpoint as it may be printed."""
        return self._account.shown

    async def _ask_for_json(self, name: str, messages: Sequence[Wire], schema: type[BaseModel]) -> Answer:
        wanted = schema.model_json_schema()
        mode = self._settings.structured_output
        # Of other providers' models, those that take no schema say so each in a way of its own.
        tried = mode == "auto" and self._account.provider == "openai" and name not in self._without_schema
        if mode == "json_schema" or tried:
            described = {"name": schema.__name__, "schema": strict_schema(wanted), "strict": True}
            try:
                return await self._ask(
                    name, messages, response_format={"type": "json_schema", "json_schema": described}
                )
            except StructuredOutputUnsupported as error:
                if mode == "json_schema":
                    raise ModelRefused(
                        f"{self.url} takes no JSON schema for `{name}` ({error}); set llm.structured_output to prompt."
                    ) from None
                self._without_schema.add(name)
        try:
            return await self._ask(name, _with_schema(messages, wanted))
        except StructuredOutputUnsupported as error:
            raise ModelRefused(f"The model endpoint {self.url} refused the request: {error}") from None

    async def _ask(
        self, name: str, messages: Sequence[Wire], *, tools: Sequence[Wire] | None = None, **options: Any
    ) -> Answer:
        """One HTTP request. Raises our errors, without the client's in their train: Temporal keeps causes."""
        import openai

        failure: Exception
        try:
            message = await self._model(name, tools).ainvoke(to_langchain(messages), **options)
        except openai.LengthFinishReasonError as error:
            return self._cut(name, error.completion)
        except SdlcError:
            raise
        except Exception as error:
            failure = translated(error, self._asked(name)) or self._of_body(name, error)
        else:
            return self._answer(name, message)
        raise failure from None

    def _of_body(self, name: str, error: Exception) -> Exception:
        """The client has no one error for a body that is not a chat completion: each kind of junk has its own."""
        if isinstance(error, json.JSONDecodeError):
            return ServiceUnavailable(f"The answer of {self.url} broke off in the middle; it is asked again.")
        if isinstance(error, IndexError):
            return ModelAnswerInvalid(f"`{name}` at {self.url} answered with nothing.")
        if isinstance(error, ValueError | KeyError | TypeError | AttributeError):
            said, setting = redacted(str(error), self._secret, limit=160), self._account.url_setting
            if self._account.provider == "openai":
                return ModelRefused(f"{self.url} did not answer with a chat completion; check {setting}. ({said})")
            return ModelRefused(f"The client for {self.url} can't make or read the call; check {setting}. ({said})")
        return error

    def _answer(self, name: str, message: AIMessage) -> Answer:
        facts, used = message.response_metadata, message.usage_metadata
        model = str(facts.get("model_name") or facts.get("model") or name)
        usage = Usage(model_calls=1, usd=None)
        if used is not None:
            kept = used.get("input_token_details", {}).get("cache_read", 0)
            usage = self._usage(name, model, used["input_tokens"], used["output_tokens"], kept)
        refusal = message.additional_kwargs.get("refusal")
        if refusal or (reason := finish_reason(facts)) == "content_filter":
            said = redacted(str(refusal), self._secret) if refusal else "stopped by the content filter"
            raise _with_usage(refused(self._asked(name), said), usage)
        return Answer(message=from_langchain(message), usage=usage, finish_reason=reason, model=model)

    def _cut(self, name: str, completion: Any) -> Answer:
        used, usage = completion.usage, Usage(model_calls=1, usd=None)
        if used is not None:
            kept = getattr(used.prompt_tokens_details, "cached_tokens", None) or 0
            usage = self._usage(name, completion.model, used.prompt_tokens, used.completion_tokens, kept)
        return Answer({"role": "assistant", "content": ""}, usage, "length", name)

    def _usage(self, name: str, answered: str, read: int, written: int, kept: int) -> Usage:
        price = price_of(self._settings.prices, answered, name)
        usd = cost(price, input_tokens=read, output_tokens=written, cached_tokens=kept)
        return Usage(model_calls=1, input_tokens=read, output_tokens=written, usd=usd)

    def _model(self, name: str, tools: Sequence[Wire] | None) -> Runnable[LanguageModelInput, AIMessage]:
        if name not in self._clients:
            self._clients[name] = client(self._account, name)
        chat = self._clients[name].chat
        # LangChain puts the tools into the provider's own form.
        return chat.bind_tools(tools) if tools else chat

    def _asked(self, name: str) -> Asked:
        return Asked(self.url, name, self._secret, self._account.key_setting, self._account.url_setting)


def spent(error: BaseException) -> Usage:
    """What the calls cost that ended in this error of `Models`."""
    usage = vars(error).get("usage")
    return usage if isinstance(usage, Usage) else Usage()


def _with_usage(error: SdlcError, usage: Usage) -> SdlcError:
    vars(error)["usage"] = usage
    return error


def _validated(answer: Answer, schema: type[Schema]) -> Schema:
    if answer.finish_reason == "length":
        raise ValueError("the answer was longer than allowed and was cut off; be briefer")
    try:
        return schema.model_validate(json_of(str(answer.message["content"])))
    except ValidationError as error:
        places = (f"{'.'.join(map(str, item['loc'])) or 'answer'}: {item['msg']}" for item in error.errors()[:5])
        raise ValueError("; ".join(places)) from None


def _repair(answer: Answer, reason: str) -> list[Wire]:
    said = [] if answer.finish_reason == "length" else [{**answer.message, "content": answer.message["content"] or "-"}]
    return [
        *({key: value for key, value in message.items() if key != "tool_calls"} for message in said),
        {
            "role": "user",
            "content": f"That can't be used: {reason}\nAnswer again with the JSON object alone, valid for the schema.",
        },
    ]


def _with_schema(messages: Sequence[Wire], schema: dict[str, Any]) -> list[Wire]:
    """The conversation with the schema in the system message: it is part of what stays the same between calls."""
    asked = (
        "Answer with one JSON object and nothing else, valid for this JSON schema:\n"
        f"{json.dumps(schema, separators=(',', ':'))}"
    )
    first, *rest = messages
    if first.get("role") != "system":
        return [{"role": "system", "content": asked}, *messages]
    return [{**first, "content": f"{first['content']}\n\n{asked}"}, *rest]
