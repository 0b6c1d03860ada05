"""Models of other providers than OpenAI: who is asked with whose key, and the conversation in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError, ModelAPIError, ModelConnectionError, ModelTimeoutError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import BaseModel, PrivateAttr, SecretStr

from sdlc.config import ModelSettings, Price, load
from sdlc.errors import (
    ConfigurationError,
    ContentRefused,
    ContextTooLong,
    ModelKeyRefused,
    ModelRefused,
    ServiceUnavailable,
)
from sdlc.integrations import llm_providers
from sdlc.integrations.llm import Models
from sdlc.integrations.llm_providers import PROVIDERS, Account, Client, Provider, account

KEY = "planted-secret-value"
ASK = [{"role": "system", "content": "You judge."}, {"role": "user", "content": "Well?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "edit",
        "description": "Edit a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


class Verdict(BaseModel):
    score: float


class Said(BaseChatModel):
    """A chat model of no provider: says what it is told to, and keeps what it was asked."""

    _answers: list[AIMessage | Exception] = PrivateAttr(default_factory=list)
    _asked: list[tuple[list[BaseMessage], dict[str, Any]]] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "said"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[tool["function"]["name"] for tool in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self._asked.append((messages, kwargs))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer)])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """The model behind the provider `said`."""
    chat = Said()

    async def close() -> None:
        made.clear()

    made: list[str] = []

    def make(account: Account, name: str) -> Client:
        assert not made, "one client per model"
        made.append(name)
        return Client(chat, close)

    provider = Provider(
        module="json", extra="said", url="http://said.test", key_variable="SAID_KEY", url_variable="SAID_URL", make=make
    )
    monkeypatch.setitem(PROVIDERS, "said", provider)
    return chat


def models(provider: str = "said", **changes: Any) -> Models:
    given: dict[str, Any] = {"provider": provider, "api_key": SecretStr(KEY), "name": "wise", "timeout_seconds": 5}
    return Models(ModelSettings(**{**given, **changes}))


# --- who is asked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("nothere", r"`nothere`: install it with `pip install 'vishkar-sdlc\[extra\]'`"),
        ("some_cloud", r"`some_cloud`: install LangChain .* langchain-some-cloud`; or set it to `openai`"),
    ],
)
async def test_a_provider_that_is_not_installed_names_the_installation(
    monkeypatch: pytest.MonkeyPatch, provider: str, message: str
) -> None:
    missing = Provider("no_such_module", "extra", "http://x.test", "X_KEY", "X_URL", PROVIDERS["openai"].make)
    monkeypatch.setitem(PROVIDERS, "nothere", missing)
    monkeypatch.setattr(llm_providers, "find_spec", lambda name: None)
    client = models(provider)
    with pytest.raises(ConfigurationError, match=message):
        client.require("coder")
    with pytest.raises(ConfigurationError, match=message):
        await client.chat(role="coder", messages=ASK)


def test_the_key_and_the_endpoint_of_openai_are_for_openai_alone() -> None:
    environment = {
        "OPENAI_API_KEY": "of-openai",
        "OPENAI_BASE_URL": "http://openai.test/v1",
        "ANTHROPIC_API_KEY": "of-anthropic",
    }
    # As the configuration reads them, whoever the provider is.
    settings = ModelSettings(
        provider="anthropic", api_key=SecretStr("of-openai"), base_url="http://openai.test/v1", name="wise"
    )
    found = account(settings, environment)
    assert (found.url, found.secret) == ("https://api.anthropic.com", "of-anthropic")
    assert account(settings, {**environment, "ANTHROPIC_API_KEY": ""}).secret == ""
    own = settings.model_copy(update={"api_key": SecretStr("own"), "base_url": "http://own.test"})
    assert (account(own, environment).url, account(own, environment).secret) == ("http://own.test", "own")
    openai = settings.model_copy(update={"provider": "openai"})
    assert (account(openai, environment).url, account(openai, environment).secret) == (
        "http://openai.test/v1",
        "of-openai",
    )


def test_a_providers_own_endpoint_needs_a_key_and_another_one_does_not(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not models(api_key=None).configured("coder")
    with pytest.raises(ConfigurationError, match=r"SAID_KEY is not set.*SAID_URL"):
        models(api_key=None).require("coder")
    with pytest.raises(ConfigurationError, match="No model is configured: set SDLC_MODEL and SAID_KEY"):
        models(name="").require("coder")
    assert models(api_key=None, base_url="http://own.test").configured("coder")
    monkeypatch.setenv("SAID_KEY", "from the environment")
    assert models(api_key=None).require("coder") == "wise"


def test_the_example_of_the_docs_is_a_configuration(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "models.md").read_text()
    file = tmp_path / "sdlc.yaml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0])
    settings = load(file)
    assert settings.llm.prices["model-l"] == Price(input=2.0, output=8.0, cached_input=0.5)
    assert settings.run.budget.minutes == 120
    named = [provider.extra for name, provider in PROVIDERS.items() if name != "openai"]
    assert all(f"vishkar-sdlc[{extra}]" in text for extra in named)


# --- any provider -------------------------------------------------------------------------


async def test_answers_come_in_our_words_whatever_the_provider_calls_them(said: Said) -> None:
    said._answers = [
        AIMessage(
            content=[
                {"type": "text", "text": "I edit."},
                {"type": "tool_use", "id": "t1", "name": "edit", "input": {}},
            ],
            tool_calls=[{"name": "edit", "args": {"path": "a.py"}, "id": "t1"}],
            response_metadata={"model_name": "wise-2026", "stop_reason": "tool_use"},
            usage_metadata={
                "input_tokens": 1000,
                "output_tokens": 100,
                "total_tokens": 1100,
                "input_token_details": {"cache_read": 400},
            },
        )
    ]
    client = models(prices={"wise": Price(input=2.0, output=10.0)})
    answer = await client.chat(role="coder", messages=ASK, tools=[TOOL])
    call = {"id": "t1", "type": "function", "function": {"name": "edit", "arguments": '{"path": "a.py"}'}}
    assert answer.message == {"role": "assistant", "content": "I edit.", "tool_calls": [call]}
    assert (answer.finish_reason, answer.model, answer.usage.usd) == ("tool_calls", "wise-2026", 0.003)
    assert said._asked[0][1]["tools"] == ["edit"]

    said._answers = [AIMessage("Done.", response_metadata={"stop_reason": "end_turn"})]
    told = {"role": "tool", "tool_call_id": "t1", "content": "done"}
    answer = await client.chat(role="coder", messages=[*ASK, answer.message, told])
    assert (answer.finish_reason, answer.usage.usd, answer.usage.model_calls) == ("stop", None, 1)
    assert [message.type for message in said._asked[1][0]] == ["system", "human", "ai", "tool"]
    await client.close()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"finish_reason": "STOP"}, "stop"),
        ({}, "stop"),
    ],
)
async def test_how_an_answer_ended_is_told_in_openais_words(said: Said, facts: dict[str, str], reason: str) -> None:
    said._answers = [AIMessage("Well.", response_metadata=facts)]
    assert (await models().chat(role="coder", messages=ASK)).finish_reason == reason


@pytest.mark.parametrize(
    "facts", [{"stop_reason": "refusal"}, {"finish_reason": "SAFETY"}, {"prompt_feedback": {"block_reason": 1}}]
)
async def test_a_refusal_has_its_name_whatever_the_provider_calls_it(said: Said, facts: dict[str, Any]) -> None:
    said._answers = [AIMessage("", response_metadata=facts)]
    with pytest.raises(ContentRefused, match=r"`wise` at http://said\.test refused to answer.*llm\.name"):
        await models().chat(role="coder", messages=ASK)


async def test_json_is_asked_for_in_words(said: Said) -> None:
    said._answers = [AIMessage("I think so."), AIMessage('{"score": 0.5}')]
    verdict, usage = await models().structured(role="reviewer", messages=ASK, schema=Verdict)
    assert (verdict.score, usage.model_calls) == (0.5, 2)
    assert "valid for this JSON schema" in str(said._asked[0][0][0].content)
    assert "response_format" not in said._asked[0][1]


class _GoogleSays(Exception):
    """As `google.genai.errors.ClientError`: the status is called `code`, and the client's error has it as its cause."""

    code = 400
    details = {"error": {"code": 400, "message": f"API key not valid: {KEY}", "status": "INVALID_ARGUMENT"}}


class _Wrapped(Exception):
    def __init__(self) -> None:
        super().__init__("Error calling model")
        self.__cause__ = _GoogleSays()


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (ModelTimeoutError("slow"), ServiceUnavailable, "did not answer in time"),
        (ModelConnectionError("down"), ServiceUnavailable, "can't be reached; check SAID_URL"),
        (ModelAPIError("broken"), ServiceUnavailable, "broke off: broken"),
        (ContextOverflowError("10 > 9"), ContextTooLong, r"longer than `wise` takes.*context_tokens"),
        (_Wrapped(), ModelKeyRefused, r"refuses the key \(400\); check SAID_KEY"),
        (ValueError("two system messages"), ModelRefused, r"can't make or read the call.*two system"),
    ],
)
async def test_what_goes_wrong_has_our_names(
    said: Said, failure: Exception, error: type[Exception], message: str
) -> None:
    said._answers = [failure]
    with pytest.raises(error, match=message) as caught:
        await models().chat(role="coder", messages=ASK)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


# --- Anthropic ----------------------------------------------------------------------------


class Anthropic:
    """`/v1/messages` on a port of this machine: keeps what it was asked, and answers what it is given."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.requests.append((self.path, headers, body))
                status, answer, extra = fake.answers.pop(0)
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def says(self, *content: dict[str, Any], stop: str = "end_turn") -> None:
        usage = {"input_tokens": 600, "cache_read_input_tokens": 400, "output_tokens": 100}
        answer = {"id": "m1", "type": "message", "role": "assistant", "model": "wise-2026", "content": list(content)}
        self.answers.append((200, {**answer, "stop_reason": stop, "stop_sequence": None, "usage": usage}, {}))

    def fails(self, status: int, kind: str, message: str, **headers: str) -> None:
        error = {"type": "error", "error": {"type": kind, "message": message}}
        self.answers.append((status, error, {name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.fixture
def anthropic() -> Iterator[Anthropic]:
    pytest.importorskip("langchain_anthropic")
    fake = Anthropic()
    thread = Thread(target=fake.server.serve_forever, daemon=True)
    thread.start()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()
    thread.join(timeout=10)


async def test_anthropic_is_spoken_to_in_its_own_words(anthropic: Anthropic) -> None:
    client = models("anthropic", base_url=anthropic.url, prices={"wise": Price(input=2.0, output=10.0)})
    anthropic.says(
        {"type": "text", "text": "I edit."},
        {"type": "tool_use", "id": "t1", "name": "edit", "input": {"path": "a.py"}},
        {"type": "tool_use", "id": "t2", "name": "edit", "input": {}},
        stop="tool_use",
    )
    answer = await client.chat(role="coder", messages=ASK, tools=[TOOL])
    path, headers, body = anthropic.requests[0]
    assert (path, body["model"], body["max_tokens"]) == ("/v1/messages", "wise", 8192)
    # The first is how later versions of its client send a key.
    assert headers.get("authorization", f"Bearer {headers.get('x-api-key')}") == f"Bearer {KEY}"
    assert body["tools"][0]["input_schema"]["required"] == ["path"]
    assert (answer.finish_reason, answer.model, answer.message["content"]) == ("tool_calls", "wise-2026", "I edit.")
    assert (answer.usage.input_tokens, answer.usage.usd) == (1000, 0.003)

    broken = {"id": "t3", "type": "function", "function": {"name": "edit", "arguments": '{"path": "a'}}
    said = {**answer.message, "tool_calls": [*answer.message["tool_calls"], broken]}
    told = [{"role": "tool", "tool_call_id": f"t{number}", "content": "done"} for number in (1, 2, 3)]
    anthropic.says({"type": "text", "text": "Done."})
    answer = await client.chat(role="coder", messages=[*ASK, said, *told, {"role": "user", "content": "And?"}])
    assert answer.finish_reason == "stop"
    sent = anthropic.requests[1][2]["messages"]
    uses = [block for block in sent[1]["content"] if block["type"] == "tool_use"]
    assert [(use["id"], use["input"]) for use in uses] == [("t1", {"path": "a.py"}), ("t2", {}), ("t3", {})]
    assert [block.get("tool_use_id") for block in sent[2]["content"]] == ["t1", "t2", "t3", None]

    anthropic.says({"type": "text", "text": '{"score": 0.5}'})
    verdict, _ = await client.structured(role="reviewer", messages=ASK, schema=Verdict)
    assert verdict.score == 0.5
    await client.close()
    anthropic.says({"type": "text", "text": "Still here."})
    await client.chat(role="coder", messages=ASK)
    await client.close()


async def test_anthropics_failures_have_our_names_and_are_not_repeated(anthropic: Anthropic) -> None:
    client = models("anthropic", base_url=anthropic.url)
    cases: list[tuple[Callable[[], None], type[Exception], str]] = [
        (
            lambda: anthropic.fails(401, "authentication_error", "invalid x-api-key"),
            ModelKeyRefused,
            "ANTHROPIC_API_KEY",
        ),
        (lambda: anthropic.fails(403, "permission_error", "not yours"), ModelKeyRefused, "may use `wise`: not yours"),
        (lambda: anthropic.fails(404, "not_found_error", "model: wise"), ModelRefused, "knows no model `wise`"),
        (
            lambda: anthropic.fails(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            ContextTooLong,
            r"9 tokens > 8 maximum\.?\)$",
        ),
        (
            lambda: anthropic.fails(400, "invalid_request_error", "Your credit balance is too low"),
            ModelRefused,
            "billing",
        ),
        (lambda: anthropic.fails(529, "overloaded_error", "Overloaded"), ServiceUnavailable, "529: Overloaded$"),
        (lambda: anthropic.says(stop="refusal"), ContentRefused, "refused to answer"),
    ]
    for prepare, error, message in cases:
        prepare()
        with pytest.raises(error, match=message) as caught:
            await client.chat(role="coder", messages=ASK)
        assert not isinstance(caught.value, ModelRefused) or type(caught.value) is error
    anthropic.fails(429, "rate_limit_error", "slow down", retry_after="17")
    with pytest.raises(ServiceUnavailable, match="429") as limited:
        await client.chat(role="coder", messages=ASK)
    assert limited.value.retry_after == 17
    assert len(anthropic.requests) == len(cases) + 1
    await client.close()
    with pytest.raises(ServiceUnavailable, match="can't be reached; check ANTHROPIC_BASE_URL"):
        await models("anthropic", base_url="http://127.0.0.1:9").chat(role="coder", messages=ASK)
