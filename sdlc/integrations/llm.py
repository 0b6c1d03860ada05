"""The models, behind any OpenAI-compatible endpoint: messages and answers in OpenAI's wire format.

Retrying is Temporal's: the client itself never repeats a call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from sdlc.config import ModelSettings
from sdlc.domain import Usage
from sdlc.errors import ConfigurationError, ModelAnswerInvalid, ModelRefused, SdlcError, ServiceUnavailable
from sdlc.integrations.llm_errors import StructuredOutputUnsupported, redacted, shown_url, translated
from sdlc.integrations.llm_wire import Wire, from_langchain, json_of, split_tool_calls, strict_schema, to_langchain

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_openai import ChatOpenAI

OPENAI = "https://api.openai.com/v1"
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
        # OPENAI_API_BASE is LangChain's older name; both at once are refused by the configuration.
        self._url = settings.base_url or os.environ.get("OPENAI_API_BASE") or OPENAI
        self._secret = settings.api_key.get_secret_value() if settings.api_key else ""
        self._clients: dict[str, ChatOpenAI] = {}
        self._without_schema: set[str] = set()

    def name(self, role: Role, model: str = "") -> str:
        """The model that a call with this role goes to; empty if none is configured."""
        of_role = self._settings.coder if role == "coder" else self._settings.reviewer
        return model or of_role or self._settings.name

    def configured(self, role: Role) -> bool:
        """Can this role be asked? True says nothing about the endpoint being up."""
        return bool(self.name(role)) and (bool(self._secret) or self._url != OPENAI)

    async def chat(
        self, *, role: Role, messages: Sequence[Wire], tools: Sequence[Wire] | None = None, model: str = ""
    ) -> Answer:
        """One call of a model with the conversation so far.

        Raises ServiceUnavailable (429, 5xx, time-out, connection), ModelRefused (key, model, content,
        context) and ConfigurationError (no model). A cut answer comes back with `finish_reason` `length`.
        """
        options: dict[str, Any] = {"tools": list(tools)} if tools else {}
        try:
            return await self._ask(self._named(role, model), messages, options)
        except StructuredOutputUnsupported as error:  # an endpoint that names these words for another reason
            raise ModelRefused(f"The model endpoint {self.url} refused the request: {error}") from None

    async def structured(
        self, *, role: Role, messages: Sequence[Wire], schema: type[Schema], model: str = ""
    ) -> tuple[Schema, Usage]:
        """One answer that is valid for `schema`, with one repair turn where the first is not.

        Raises as `chat` does, and ModelAnswerInvalid when the second answer is no better;
        `spent` tells what the calls have cost that were made before any of these.
        """
        name = self._named(role, model)
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
        for client in clients:
            await client.root_async_client.close()

    @property
    def url(self) -> str:
        """The endpoint as it may be printed."""
        return shown_url(self._url)

    def _named(self, role: Role, model: str) -> str:
        name = self.name(role, model)
        if not name:
            raise ConfigurationError(
                "No model is configured: set SDLC_MODEL and OPENAI_API_KEY, and OPENAI_BASE_URL for another "
                "endpoint than OpenAI's."
            )
        if not self._secret and self._url == OPENAI:
            raise ConfigurationError(
                "OPENAI_API_KEY is not set: set it, or OPENAI_BASE_URL for an endpoint that needs none."
            )
        return name

    async def _ask_for_json(self, name: str, messages: Sequence[Wire], schema: type[BaseModel]) -> Answer:
        wanted = schema.model_json_schema()
        mode = self._settings.structured_output
        if mode == "json_schema" or (mode == "auto" and name not in self._without_schema):
            described = {"name": schema.__name__, "schema": strict_schema(wanted), "strict": True}
            try:
                return await self._ask(
                    name, messages, {"response_format": {"type": "json_schema", "json_schema": described}}
                )
            except StructuredOutputUnsupported as error:
                if mode == "json_schema":
                    raise ModelRefused(
                        f"{self.url} takes no JSON schema for `{name}` ({error}); set llm.structured_output to prompt."
                    ) from None
                self._without_schema.add(name)
        try:
            return await self._ask(name, _with_schema(messages, wanted), {})
        except StructuredOutputUnsupported as error:
            raise ModelRefused(f"The model endpoint {self.url} refused the request: {error}") from None

    async def _ask(self, name: str, messages: Sequence[Wire], options: dict[str, Any]) -> Answer:
        """One HTTP request. Raises our errors, without the client's in their train: Temporal keeps causes."""
        import openai

        failure: Exception
        try:
            message = await self._client(name).ainvoke(to_langchain(messages), **options)
        except openai.LengthFinishReasonError as error:
            return self._cut(name, error.completion)
        except Exception as error:
            failure = translated(error, url=self.url, model=name, secret=self._secret) or self._of_body(name, error)
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
            said = redacted(str(error), self._secret, limit=160)
            return ModelRefused(f"{self.url} did not answer with a chat completion; check OPENAI_BASE_URL. ({said})")
        return error

    def _answer(self, name: str, message: AIMessage) -> Answer:
        facts = message.response_metadata
        used = message.usage_metadata
        usage = self._usage(name, (used["input_tokens"], used["output_tokens"]) if used else None)
        reason = facts.get("finish_reason") or ("length" if facts.get("status") == "incomplete" else "stop")
        refusal = message.additional_kwargs.get("refusal")
        if reason == "content_filter" or refusal:
            said = f": {redacted(str(refusal), self._secret)}" if refusal else ", stopped by the content filter"
            raise _with_usage(ModelRefused(f"`{name}` refused to answer{said}"), usage)
        return Answer(
            message=from_langchain(message),
            usage=usage,
            finish_reason=str(reason),
            model=str(facts.get("model_name") or name),
        )

    def _cut(self, name: str, completion: Any) -> Answer:
        used = completion.usage
        counts = (used.prompt_tokens, used.completion_tokens) if used else None
        return Answer({"role": "assistant", "content": ""}, self._usage(name, counts), "length", name)

    def _usage(self, name: str, counts: tuple[int, int] | None) -> Usage:
        """Tokens and USD; without the endpoint's own count the cost is unknown, whatever the price."""
        if counts is None:
            return Usage(model_calls=1, usd=None)
        price = self._settings.prices.get(name)
        usd = round((counts[0] * price.input + counts[1] * price.output) / 1_000_000, 6) if price else None
        return Usage(model_calls=1, input_tokens=counts[0], output_tokens=counts[1], usd=usd)

    def _client(self, name: str) -> ChatOpenAI:
        if name not in self._clients:
            self._clients[name] = _chat_openai(self._settings, name, self._url, self._secret)
        return self._clients[name]


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


def _chat_openai(settings: ModelSettings, name: str, url: str, secret: str) -> ChatOpenAI:
    """A client for one model. Imported here: LangChain takes longer to import than the command line may take."""
    import openai
    from langchain_core.outputs import ChatResult
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

    return Chat(
        model=name,
        base_url=url,
        api_key=SecretStr(secret or "none-needed"),
        timeout=settings.timeout_seconds,
        max_retries=0,
        max_completion_tokens=settings.max_output_tokens,
        # Other endpoints know chat completions alone; at OpenAI's own LangChain picks what the model has.
        use_responses_api=None if url == OPENAI else False,
        # LangChain shares one connection pool per process, also between event loops; ours lives with this object.
        http_async_client=openai.DefaultAsyncHttpxClient(timeout=settings.timeout_seconds),
    )
