"""The model client against an endpoint that answers in every way an endpoint can answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import respx
from pydantic import BaseModel, Field, SecretStr
from respx.mocks import HTTPCoreMocker

from sdlc.config import ModelSettings, Price
from sdlc.domain import Usage
from sdlc.errors import (
    ConfigurationError,
    ContentRefused,
    ContextTooLong,
    ModelAnswerInvalid,
    ModelKeyRefused,
    ModelRefused,
    ServiceUnavailable,
)
from sdlc.integrations.answers import LONGEST_RETRY_AFTER, redacted
from sdlc.integrations.llm import Models, Role, spent
from sdlc.integrations.llm_errors import retry_delay
from sdlc.integrations.llm_prices import cost
from sdlc.review_graphs.challenge import ChallengeAnswer, ChallengeCall

# The client sends through httpx2, which respx does not know by itself.
HTTPCoreMocker.add_targets(*(target.replace("httpcore.", "httpcore2.") for target in HTTPCoreMocker.targets))

URL = "http://models.test/v1"
KEY = "planted-secret-value"
ASK = [{"role": "system", "content": "You judge."}, {"role": "user", "content": "Well?"}]


class Verdict(BaseModel):
    score: float = Field(ge=0, le=1)
    title: str = ""


@pytest.fixture
def endpoint() -> Iterator[respx.Route]:
    with respx.mock(assert_all_called=False) as router:
        yield router.post(f"{URL}/chat/completions")


def models(**changes: Any) -> Models:
    given: dict[str, Any] = {"base_url": URL, "api_key": SecretStr(KEY), "name": "small", "timeout_seconds": 5}
    return Models(ModelSettings(**{**given, **changes}))


def reply(content: str | None = "Fine.", *, finish: str = "stop", status: int = 200, **message: Any) -> httpx.Response:
    return httpx.Response(
        status,
        json={
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "small-2026",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": content, **message},
                }
            ],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
        },
    )


def failure(status: int, message: str = "no", *, code: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(
        status,
        json={"error": {"message": message, "code": code}},
        headers={k.replace("_", "-"): v for k, v in headers.items()},
    )


def sent(endpoint: respx.Route, number: int = -1) -> dict[str, Any]:
    body = json.loads(endpoint.calls[number].request.content)
    assert isinstance(body, dict)
    return body


def tool_call(arguments: str, name: str = "edit", identity: str = "c1") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


# --- chat ---------------------------------------------------------------------------------


async def test_an_answer_comes_with_its_tokens_and_their_price(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply())
    answer = await models(prices={"small": Price(input=2.0, output=10.0)}).chat(role="coder", messages=ASK)
    assert answer.message == {"role": "assistant", "content": "Fine."}
    assert (answer.finish_reason, answer.model) == ("stop", "small-2026")
    assert answer.usage.model_dump() == {"model_calls": 1, "input_tokens": 1000, "output_tokens": 100, "usd": 0.003}
    assert sent(endpoint)["messages"] == ASK


async def test_a_price_that_is_not_known_is_not_nothing(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply())
    assert (await models().chat(role="coder", messages=ASK)).usage.usd is None


async def test_a_model_that_does_not_count_costs_an_unknown_amount(endpoint: respx.Route) -> None:
    body = json.loads(reply().content)
    del body["usage"]
    endpoint.mock(return_value=httpx.Response(200, json=body))
    usage = (await models(prices={"small": Price(input=1, output=1)}).chat(role="coder", messages=ASK)).usage
    assert (usage.model_calls, usage.input_tokens, usage.usd) == (1, 0, None)


@pytest.mark.parametrize(
    ("role", "model", "expected"), [("coder", "", "big"), ("reviewer", "", "small"), ("coder", "huge", "huge")]
)
async def test_each_role_has_its_model(endpoint: respx.Route, role: Any, model: str, expected: str) -> None:
    endpoint.mock(return_value=reply())
    await models(coder="big").chat(role=role, messages=ASK, model=model)
    assert sent(endpoint)["model"] == expected


def test_a_role_without_a_model_of_its_own_has_that_of_its_neighbour() -> None:
    roles: list[Role] = ["planner", "coder", "reviewer", "verifier"]

    def names(**settings: str) -> list[str]:
        return [models(**settings).name(role) for role in roles]

    assert names() == ["small"] * 4
    assert names(coder="c", reviewer="r") == ["c", "c", "r", "r"]
    assert names(planner="p", verifier="v") == ["p", "small", "small", "v"]
    assert models(planner="p", verifier="v").name("planner", "huge") == "huge"


async def test_the_second_look_is_the_verifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Verifier:
        async def structured(self, *, role: str, messages: Any, schema: Any) -> Any:
            asked.append(role)
            return ChallengeAnswer(refuted=False, confidence=0.5), Usage()

    async def no_messages(self: ChallengeCall) -> list[dict[str, str]]:
        return []

    monkeypatch.setattr(ChallengeCall, "_messages", no_messages)
    services: Any = SimpleNamespace(models=Verifier())
    nothing: Any = None
    finding: Any = SimpleNamespace(fingerprint="f")
    assert not (await ChallengeCall(services, nothing, nothing, finding).made()).refuted
    assert asked == ["verifier"]


def counted(cached: int, model: str = "small-2026") -> httpx.Response:
    body = json.loads(reply().content)
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
    return httpx.Response(200, json={**body, "model": model})


@pytest.mark.parametrize(
    ("price", "usd"),
    [(Price(input=2.0, output=10.0, cached_input=0.5), 0.0024), (Price(input=2.0, output=10.0), 0.003)],
    ids=["with its own price", "without"],
)
async def test_input_that_the_endpoint_had_kept_has_its_own_price(
    endpoint: respx.Route, price: Price, usd: float
) -> None:
    endpoint.mock(return_value=counted(400))
    assert (await models(prices={"small": price}).chat(role="coder", messages=ASK)).usage.usd == usd


async def test_the_price_of_a_dated_name_comes_before_that_of_the_name_that_was_asked(endpoint: respx.Route) -> None:
    prices = {"small": Price(input=2.0, output=10.0), "small-2026": Price(input=1.0, output=5.0)}
    endpoint.mock(return_value=counted(0))
    assert (await models(prices=prices).chat(role="coder", messages=ASK)).usage.usd == 0.0015
    endpoint.mock(return_value=counted(0, "small-2027"))
    assert (await models(prices=prices).chat(role="coder", messages=ASK)).usage.usd == 0.003


def test_no_more_input_is_cached_than_there_is() -> None:
    free = Price(input=2.0, output=10.0, cached_input=0.0)
    assert cost(free, input_tokens=1000, output_tokens=0, cached_tokens=9000) == 0
    assert cost(free, input_tokens=1000, output_tokens=0, cached_tokens=-5) == 0.002
    assert cost(None, input_tokens=1, output_tokens=1) is None


@pytest.mark.parametrize("arguments", ['{"path": "a.py", "te', "[1, 2]", "null", "edit it please", '{"a": 1}', ""])
async def test_a_tool_call_comes_through_and_back_whatever_its_arguments_are(
    endpoint: respx.Route, arguments: str
) -> None:
    endpoint.mock(return_value=reply(None, finish="tool_calls", tool_calls=[tool_call(arguments)]))
    client = models()
    answer = await client.chat(role="coder", messages=ASK, tools=[{"type": "function", "function": {"name": "edit"}}])
    call = answer.message["tool_calls"][0]
    assert (call["id"], call["function"]["name"]) == ("c1", "edit")
    assert json.loads(json.dumps(answer.message)) == answer.message
    if arguments not in ("", '{"a": 1}'):
        assert call["function"]["arguments"] == arguments
    told = {"role": "tool", "tool_call_id": "c1", "content": "the arguments are not a JSON object"}
    endpoint.mock(return_value=reply())
    await client.chat(role="coder", messages=[*ASK, answer.message, told])
    assert sent(endpoint)["messages"][2]["tool_calls"] == answer.message["tool_calls"]
    assert sent(endpoint)["messages"][3] == told


async def test_a_cut_answer_says_so(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply("half a", finish="length"))
    assert (await models().chat(role="coder", messages=ASK)).finish_reason == "length"


@pytest.mark.parametrize(
    "answer", [reply(None, refusal="I will not."), reply("", finish="content_filter")], ids=["refusal", "filter"]
)
async def test_a_refusal_is_final(endpoint: respx.Route, answer: httpx.Response) -> None:
    endpoint.mock(return_value=answer)
    with pytest.raises(ContentRefused, match=r"`small` at http://models\.test/v1 refused to answer.*llm\.name"):
        await models().chat(role="coder", messages=ASK)


# --- errors -------------------------------------------------------------------------------


async def test_429_with_seconds_says_when_to_come_back(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=failure(429, retry_after="17"))
    with pytest.raises(ServiceUnavailable, match="429") as caught:
        await models().chat(role="coder", messages=ASK)
    assert caught.value.retry_after == 17
    assert endpoint.call_count == 1


async def test_429_with_a_date_says_when_to_come_back(endpoint: respx.Route) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    endpoint.mock(return_value=failure(429, retry_after=moment))
    with pytest.raises(ServiceUnavailable) as caught:
        await models().chat(role="coder", messages=ASK)
    assert caught.value.retry_after is not None
    assert 60 < caught.value.retry_after <= 90


@pytest.mark.parametrize("header", ["soon", "", "inf", "nan", "-"])
async def test_a_retry_after_that_says_nothing_is_left_out(endpoint: respx.Route, header: str) -> None:
    endpoint.mock(return_value=failure(429, retry_after=header))
    with pytest.raises(ServiceUnavailable) as caught:
        await models().chat(role="coder", messages=ASK)
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [408, 500, 502, 503, 529])
async def test_a_server_at_fault_is_asked_again_by_temporal_alone(endpoint: respx.Route, status: int) -> None:
    endpoint.mock(return_value=failure(status))
    with pytest.raises(ServiceUnavailable, match=str(status)):
        await models().chat(role="coder", messages=ASK)
    assert endpoint.call_count == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "90000"}, 90),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "9", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 9),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9999h"}, LONGEST_RETRY_AFTER),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1700000000"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({}, None),
    ],
)
def test_when_to_come_back_is_read_from_every_usual_header(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_delay(headers) == seconds


QUOTA = "You exceeded your current quota"
LONG = "This model's maximum context length is 8192 tokens"


@pytest.mark.parametrize(
    ("answer", "error", "named"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), ModelKeyRefused, r"models\.test/v1 .*OPENAI_API_KEY\.$"),
        (failure(403, "no access"), ModelKeyRefused, "OPENAI_API_KEY, and that it may use `small`: no access"),
        (failure(400, "API key not valid. Please pass a valid one."), ModelKeyRefused, "OPENAI_API_KEY"),
        (failure(400, "no", code="invalid_api_key"), ModelKeyRefused, "OPENAI_API_KEY"),
        (failure(404, "The model does not exist"), ModelRefused, "`small`.*SDLC_MODEL and OPENAI_BASE_URL"),
        (failure(429, QUOTA, code="insufficient_quota"), ModelRefused, f"no quota left .*billing.*{QUOTA}"),
        (failure(402, "Insufficient Balance"), ModelRefused, "billing"),
        (failure(400, "too long", code="context_length_exceeded"), ContextTooLong, r"`small` takes; .*context_tokens"),
        (failure(400, LONG), ContextTooLong, "longer than `small` takes"),
        (failure(400, "flagged by our content management policy"), ContentRefused, r"content filter.*llm\.name"),
        (failure(403, "Your input was flagged by moderation"), ContentRefused, "flagged"),
        (
            failure(422, f"key={KEY} Authorization: Bearer {KEY}xyz sk-abcdefgh1234"),
            ModelRefused,
            "refused the request",
        ),
        (httpx.Response(400, json={"detail": "no tools here"}), ModelRefused, r"\(400\): no tools here$"),
        (httpx.Response(400, json={"error": "no tools here"}), ModelRefused, r"\(400\): no tools here$"),
        (httpx.Response(400, text="<html>Sorry</html>"), ModelRefused, "refused the request.*Sorry"),
    ],
)
async def test_what_would_fail_again_is_final_and_names_the_mend_but_no_secret(
    endpoint: respx.Route, answer: httpx.Response, error: type[ModelRefused], named: str
) -> None:
    endpoint.mock(return_value=answer)
    with pytest.raises(ModelRefused, match=named) as caught:
        await models().chat(role="coder", messages=ASK)
    assert type(caught.value) is error
    assert endpoint.call_count == 1
    assert KEY not in str(caught.value)
    assert "abcdefgh1234" not in str(caught.value)
    assert caught.value.__cause__ is None, "a cause would be written into the history with its own text"


async def test_a_rate_limit_that_is_called_a_quota_is_asked_again(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=failure(429, QUOTA, code="rate_limit_exceeded", retry_after_ms="2500"))
    with pytest.raises(ServiceUnavailable) as caught:
        await models().chat(role="coder", messages=ASK)
    assert caught.value.retry_after == 2.5


async def test_a_time_out_is_the_worlds_fault(endpoint: respx.Route) -> None:
    endpoint.mock(side_effect=httpx.ReadTimeout("slow"))
    with pytest.raises(ServiceUnavailable, match=r"models\.test"):
        await models().chat(role="coder", messages=ASK)


async def test_an_endpoint_that_hangs_is_left_after_the_time_out() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(20)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ServiceUnavailable, match="did not answer in time"):
        await models(base_url=f"http://127.0.0.1:{port}/v1", timeout_seconds=0.2).chat(role="coder", messages=ASK)
    server.close()


async def test_nobody_at_home_names_the_url() -> None:
    with pytest.raises(ServiceUnavailable, match=r"http://127\.0\.0\.1:9/v1.*OPENAI_BASE_URL"):
        await models(base_url="http://user:pw@127.0.0.1:9/v1").chat(role="coder", messages=ASK)


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"<html>Log in</html>", "text/html", ModelRefused),
        (b'{"id": "1", "choices": [{"mess', "application/json", ServiceUnavailable),
        (b'{"id": "1", "choices": []}', "application/json", ModelAnswerInvalid),
        (b'{"id": "1", "choices": null}', "application/json", ModelRefused),
        (b'{"error": "out of memory"}', "application/json", ModelRefused),
        (b"[]", "application/json", ModelRefused),
    ],
)
async def test_a_body_that_is_no_chat_completion_is_one_of_our_errors(
    endpoint: respx.Route, body: bytes, kind: str, error: type[Exception]
) -> None:
    endpoint.mock(return_value=httpx.Response(200, content=body, headers={"content-type": kind}))
    with pytest.raises(error, match=r"models\.test"):
        await models().chat(role="coder", messages=ASK)


async def test_without_a_model_the_variables_are_named() -> None:
    client = models(name="")
    assert not client.configured("reviewer")
    with pytest.raises(ConfigurationError, match=r"SDLC_MODEL.*OPENAI_API_KEY.*OPENAI_BASE_URL"):
        await client.chat(role="coder", messages=ASK)


async def test_openai_itself_needs_a_key_and_another_endpoint_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        await models(base_url="", api_key=None).chat(role="coder", messages=ASK)
    assert models(api_key=None).configured("coder")


async def test_each_model_has_one_client_until_it_is_closed(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply())
    client = models()
    for name in ("", "huge", "", "huge"):
        await client.chat(role="coder", messages=ASK, model=name)
    made = dict(client._clients)
    assert sorted(made) == ["huge", "small"]
    await client.close()
    assert not client._clients
    assert all(one.chat.root_async_client.is_closed() for one in made.values())  # type: ignore[attr-defined]


def test_looking_at_the_models_imports_no_langchain() -> None:
    code = (
        "import sys\n"
        "from sdlc.config import ModelSettings\n"
        "from sdlc.integrations.llm import Models\n"
        "Models(ModelSettings(base_url='http://models.test/v1', name='small')).require('coder')\n"
        "print(*(name for name in ('langchain_core', 'langchain_openai', 'openai') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_the_key_is_not_shown_by_what_carries_it() -> None:
    client = models()
    assert KEY not in f"{client._account} {client._asked('small')}"


async def test_closing_is_no_end(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply())
    client = models()
    for _ in range(2):
        await client.chat(role="coder", messages=ASK)
        await client.close()
    assert endpoint.call_count == 2


# --- structured ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 0.5}',
        '```json\n{"score": 0.5}\n```',
        'Here you are:\n\n```\n{"score": 0.5}\n```\nAnything else?',
        '<think>Is {"score": 1} right? No.</think>\n{"score": 0.5}',
    ],
)
async def test_json_is_read_as_models_write_it(endpoint: respx.Route, text: str) -> None:
    endpoint.mock(return_value=reply(text))
    verdict, usage = await models().structured(role="reviewer", messages=ASK, schema=Verdict)
    assert verdict == Verdict(score=0.5)
    assert usage.model_calls == 1


async def test_the_schema_goes_by_the_api_in_its_strict_form(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply('{"score": 0.5, "title": ""}'))
    await models().structured(role="reviewer", messages=ASK, schema=Verdict)
    described = sent(endpoint)["response_format"]["json_schema"]
    assert described["strict"] is True
    assert described["schema"]["required"] == ["score", "title"]
    assert described["schema"]["additionalProperties"] is False
    assert "maximum" not in described["schema"]["properties"]["score"]


async def test_an_endpoint_without_json_schemas_is_asked_by_the_prompt_from_then_on(endpoint: respx.Route) -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if "response_format" in json.loads(request.content):
            return failure(400, "'response_format' of type 'json_schema' is not supported")
        return reply('{"score": 1}')

    endpoint.mock(side_effect=answers)
    client = models()
    for _ in range(2):
        verdict, _usage = await client.structured(role="reviewer", messages=ASK, schema=Verdict)
        assert verdict.score == 1
    assert endpoint.call_count == 3
    assert sent(endpoint)["messages"][0]["content"].startswith("You judge.\n\nAnswer with one JSON object")


async def test_a_json_schema_that_was_asked_for_by_the_settings_is_not_given_up_in_silence(
    endpoint: respx.Route,
) -> None:
    endpoint.mock(return_value=failure(400, "response_format is not supported"))
    with pytest.raises(ModelRefused, match="structured_output"):
        await models(structured_output="json_schema").structured(role="reviewer", messages=ASK, schema=Verdict)


BAD = {
    "prose": reply("It looks good to me, I approve."),
    "nan": reply('{"score": NaN}'),
    "infinite": reply('{"score": 1e999}'),
    "out of bounds": reply('{"score": 7}'),
    "another schema": reply('{"verdict": "approve"}'),
    "empty": reply(""),
    "nothing": reply(None),
    "cut": reply('{"score": 0.5}', finish="length"),
    "list": reply("[]"),
    "deep": reply("[" * 100_000),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_a_bad_answer_is_repaired_once(endpoint: respx.Route, answer: httpx.Response) -> None:
    endpoint.mock(side_effect=[answer, reply('{"score": 0.25}')])
    verdict, usage = await models().structured(role="reviewer", messages=ASK, schema=Verdict)
    assert verdict.score == 0.25
    assert usage.model_calls == 2
    assert sent(endpoint)["messages"][-1]["content"].startswith("That can't be used: ")


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_a_second_bad_answer_is_the_end_and_never_a_verdict(
    endpoint: respx.Route, answer: httpx.Response
) -> None:
    endpoint.mock(return_value=answer)
    with pytest.raises(ModelAnswerInvalid, match="did not answer as asked") as caught:
        await models().structured(role="reviewer", messages=ASK, schema=Verdict)
    assert endpoint.call_count == 2
    assert spent(caught.value).model_calls == 2


@pytest.mark.parametrize(
    ("second", "error", "calls"),
    [
        (failure(503), ServiceUnavailable, 1),
        (failure(401), ModelRefused, 1),
        (reply(None, refusal="I will not."), ModelRefused, 2),
        (httpx.Response(200, json={"id": "1", "choices": []}), ModelAnswerInvalid, 1),
    ],
    ids=["down", "key", "refusal", "nothing"],
)
async def test_what_the_first_answer_cost_is_told_when_the_second_call_fails(
    endpoint: respx.Route, second: httpx.Response, error: type[Exception], calls: int
) -> None:
    endpoint.mock(side_effect=[reply("It looks good to me."), second])
    with pytest.raises(error) as caught:
        await models(prices={"small": Price(input=2.0, output=10.0)}).structured(
            role="reviewer", messages=ASK, schema=Verdict
        )
    assert spent(caught.value).model_calls == calls
    assert spent(caught.value).usd == 0.003 * calls


@pytest.mark.parametrize(
    "answer", [failure(400, "maximum context length is 8192 tokens"), failure(413, "Request too large")]
)
async def test_a_conversation_that_is_too_long_is_told_apart_from_a_refusal(
    endpoint: respx.Route, answer: httpx.Response
) -> None:
    endpoint.mock(return_value=answer)
    with pytest.raises(ContextTooLong):
        await models().chat(role="coder", messages=ASK)


def test_what_an_endpoint_says_can_not_steer_a_terminal() -> None:
    said = f"\x1b]0;owned\x07\x1b[31mno\x1b[2J \u202eyek {KEY[:8]}\x1b[0m{KEY[8:]} sk-abc\x1b[1mdefgh\x9b"
    assert redacted(said, KEY) == "no yek [secret] [secret]"


async def test_a_refusal_is_no_verdict(endpoint: respx.Route) -> None:
    endpoint.mock(return_value=reply(None, refusal=f"I can't; {KEY}"))
    with pytest.raises(ModelRefused) as caught:
        await models().structured(role="reviewer", messages=ASK, schema=Verdict)
    assert endpoint.call_count == 1
    assert KEY not in str(caught.value)
