"""What every request passes, over real HTTP: names, other sites, sizes, headers, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sdlc.config import Settings
from sdlc.config.web import LinkSettings, SignInSettings, WebSettings
from sdlc.web.guard import CSRF_FIELD, CSRF_HEADER, HEADERS, allowed_hosts
from sdlc.web.sign_in.tokens import MachineToken
from tests.test_sign_in import csrf_of, enter, session_cookie, site, small_app, with_web

PROGRAM = {"Accept": "application/json"}


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has signed in as operator."""
    settings = with_web(settings)
    async with site(settings) as opened:
        await enter(opened, settings)
        yield opened


async def token_of(client: httpx.AsyncClient) -> str:
    return csrf_of(await client.get("/"))


# --- other sites ------------------------------------------------------------------------------


async def test_a_form_of_ours_is_taken_with_all_that_it_says(client: httpx.AsyncClient) -> None:
    sent = {CSRF_FIELD: await token_of(client), "reason": "grün & <b>fett</b>\r\nzwei"}
    response = await client.post("/decide", data=sent)
    assert response.json()["reason"] == sent["reason"]


async def test_a_form_without_the_token_of_this_session_is_refused(client: httpx.AsyncClient) -> None:
    good = await token_of(client)
    for fields in ({}, {CSRF_FIELD: ""}, {CSRF_FIELD: "é"}, {CSRF_FIELD: good[:-1]}, {CSRF_FIELD: good + "x"}):
        response = await client.post("/decide", data={**fields, "reason": "x"})
        assert response.status_code == 403, fields
        assert "load it again" in response.text
    twice = f"{CSRF_FIELD}={good}&{CSRF_FIELD}={good}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.post("/decide", content=twice, headers=form)).status_code == 403
    many = "&".join(f"a{number}=b" for number in range(500)) + f"&{CSRF_FIELD}={good}"
    assert (await client.post("/decide", content=many, headers=form)).status_code == 403


async def test_every_letter_of_the_token_counts(client: httpx.AsyncClient) -> None:
    good = await token_of(client)
    for at in range(len(good)):
        changed = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :]
        response = await client.post("/decide", headers={CSRF_HEADER: changed})
        assert response.status_code == 403


async def test_the_token_of_another_session_is_worth_nothing(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as one:
        await enter(one, settings)
        foreign = await token_of(one)
        name, _ = session_cookie(one)
        one.cookies.clear()
        await enter(one, settings)
        assert (await one.post("/decide", data={CSRF_FIELD: foreign})).status_code == 403
        assert session_cookie(one)[0] == name
        one.cookies.clear()
        assert (await one.post("/decide", data={CSRF_FIELD: foreign})).status_code == 401


async def test_the_api_with_a_cookie_needs_the_header(client: httpx.AsyncClient) -> None:
    token = await token_of(client)
    response = await client.post("/api/v1/steer", json={"a": "ü"}, headers=PROGRAM)
    assert (response.status_code, response.headers["content-type"]) == (403, "application/problem+json")
    assert CSRF_HEADER in response.json()["detail"]
    plain = {"Content-Type": "text/plain", **PROGRAM}
    assert (await client.post("/api/v1/steer", content='{"a": 1}', headers=plain)).status_code == 403
    response = await client.post("/api/v1/steer", json={"a": "ü"}, headers={**PROGRAM, CSRF_HEADER: token})
    assert response.json()["said"] == {"a": "ü"}


async def test_a_form_of_parts_is_no_form_of_ours(client: httpx.AsyncClient) -> None:
    files = {CSRF_FIELD: (None, await token_of(client))}
    assert (await client.post("/decide", files=files)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://[::"},
        {"Origin": "file://"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
    ],
    ids=str,
)
async def test_what_another_site_sends_is_refused_even_with_the_token(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    sent = {CSRF_FIELD: await token_of(client), "reason": "x"}
    response = await client.post("/decide", data=sent, headers=headers)
    assert response.status_code == 403
    assert "Another site has sent this" in response.text


async def test_what_our_own_pages_send_is_taken_as_browsers_send_it(client: httpx.AsyncClient) -> None:
    root = str(client.base_url).rstrip("/")
    sent = {CSRF_FIELD: await token_of(client), "reason": "x"}
    for headers in (
        {"Origin": root, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},  # a form of a page without referrers
        {"Origin": "null"},  # the same, without https
        {"Sec-Fetch-Site": "none"},
        {},
    ):
        response = await client.post("/decide", data=sent, headers=headers)
        assert response.status_code == 200, headers


async def test_behind_a_proxy_the_origin_is_that_of_its_address(settings: Settings) -> None:
    settings = with_web(settings, url="https://sdlc.example.org")
    async with site(settings) as client:
        bearer = {"Authorization": f"Bearer {MachineToken(settings).make()}", **PROGRAM}
        for host, origin, status in (
            ("sdlc.example.org", "https://sdlc.example.org", 200),
            ("127.0.0.1:8080", "https://sdlc.example.org", 200),
            ("sdlc.example.org", "https://sdlc.example.org:8443", 403),
            ("sdlc.example.org", "https://evil.example", 403),
        ):
            headers = {**bearer, "Host": host, "Origin": origin}
            assert (await client.post("/api/v1/steer", json=1, headers=headers)).status_code == status, (host, origin)


async def test_no_get_decides(client: httpx.AsyncClient) -> None:
    token = await token_of(client)
    for method in ("GET", "HEAD"):
        response = await client.request(method, "/decide", params={CSRF_FIELD: token}, headers={CSRF_HEADER: token})
        assert response.status_code == 405


# --- names ------------------------------------------------------------------------------------


async def test_only_names_of_ours_are_answered_except_to_programs(settings: Settings) -> None:
    settings = with_web(settings, url="https://sdlc.example.org:8443", hosts=("inbox.example",))
    async with site(settings) as client:
        for host in ("sdlc.example.org", "SDLC.example.org:8443", "inbox.example:80", "localhost:1", "[::1]:8080"):
            assert (await client.get("/sign-in", headers={"Host": host})).status_code == 200, host
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "sdlc.example.org.evil",
            "",
            "192.0.2.1",
            "sdlc.example.org@x",
        ):
            response = await client.get("/sign-in", headers={"Host": host})
            assert response.status_code == 421, host
            assert "not called so" in response.text
            assert (await client.get("/healthz", headers={"Host": host})).status_code == 200
            hook = await client.post("/webhooks/github", content=b"{}", headers={"Host": host})
            assert hook.json() == {"bytes": 2}


def test_a_wildcard_is_no_name() -> None:
    for host in ("0.0.0.0", "::", "::1"):
        assert allowed_hosts(WebSettings(host=host)) == {"localhost", "127.0.0.1", "[::1]"}
    assert "192.0.2.5" in allowed_hosts(WebSettings(host="192.0.2.5"))
    assert "sdlc.example" in allowed_hosts(WebSettings(url="http://sdlc.example:80/"))


@pytest.mark.parametrize(
    "url", ["sdlc.example.org", "ftp://x", "https://a@x", "https://x/inbox", "https://x?a", "https://"]
)
def test_what_is_no_root_of_a_web_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        WebSettings(url=url)


# --- headers ----------------------------------------------------------------------------------


async def test_every_answer_has_the_headers_that_keep_it_safe(client: httpx.AsyncClient) -> None:
    stranger = {"Cookie": ""}
    for response in (
        await client.get("/"),
        await client.get("/", headers=stranger),
        await client.get("/sign-in"),
        await client.get("/api/v1/me"),
        await client.get("/nothing"),
        await client.get("/boom"),
        await client.get("/healthz"),
        await client.get("/sign-in", headers={"Host": "evil.example"}),
        await client.post("/webhooks/github"),
        await client.post("/decide"),
    ):
        for name, value in HEADERS.items():
            assert response.headers[name] == value, response.url
        assert response.headers["cache-control"] == "no-store"
        assert "server" not in response.headers


def test_the_policy_lets_in_nothing_but_our_own_files() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }


async def test_our_own_pages_keep_the_policy(settings: Settings) -> None:
    for kind in ("token", "none"):
        async with site(with_web(settings, sign_in=SignInSettings(kind=kind))) as client:
            for path in ("/sign-in", "/sign-in?next=%22%3E%3Cscript%3E", "/nothing"):
                page = (await client.get(path, follow_redirects=True)).text
                assert "<script" not in page
                assert "<style" not in page
                assert "style=" not in page
                assert " on" not in page.replace(" one", "")


# --- refusals ---------------------------------------------------------------------------------


async def test_a_stranger_is_sent_to_sign_in_or_told_so(settings: Settings) -> None:
    async with site(with_web(settings)) as client:
        page = await client.get("/runs?state=open")
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=%2Fruns%3Fstate%3Dopen")
        program = await client.get("/api/v1/me")
        assert (program.status_code, program.json()["detail"]) == (401, "Sign in first.")
        part = await client.get("/runs", headers={"HX-Request": "true", "Accept": "text/html, */*"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")
        form = await client.post("/decide", data={"reason": "long"})
        assert form.status_code == 401
        assert "sign in, and do it again" in form.text
        assert (await client.get("/static/x.css")).status_code == 404
        for path in (
            "/webhooksx",
            "/webhooks/../decide",
            "/sign-in/../decide",
            "/staticx",
            "/healthz/../decide",
            "//decide",
        ):
            response = await client.post(path, headers=PROGRAM)
            assert response.status_code in (401, 403, 404, 405), path
            assert "decided" not in response.text


async def test_a_fault_says_nothing_of_itself(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        page = await client.get("/boom")
        program = await client.get("/boom", headers=PROGRAM)
    assert (page.status_code, program.status_code) == (500, 500)
    assert "A fault in sdlc itself" in page.text
    assert program.json()["status"] == "refused"
    assert "words that nobody may see" not in page.text + program.text


async def test_a_very_long_reason_is_refused_with_a_sentence(client: httpx.AsyncClient) -> None:
    token = await token_of(client)
    response = await client.post("/decide", data={CSRF_FIELD: token, "reason": "x" * 1024**2})
    assert response.status_code == 413
    assert "at most 256 kB" in response.text

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 1_024

    response = await client.post("/api/v1/steer", content=endless(), headers={**PROGRAM, CSRF_HEADER: token})
    assert (response.status_code, "256 kB" in response.json()["detail"]) == (413, True)
    response = await client.post("/decide", data={CSRF_FIELD: token, "reason": "x" * 200_000})
    assert len(response.json()["reason"]) == 200_000


async def test_strangers_fill_no_memory_of_those_who_have_signed_in(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client, contextlib.AsyncExitStack() as stack:
        await enter(client, settings)
        assert (await client.post("/sign-in", data={"token": "x" * 20_000}, headers={"Cookie": ""})).status_code == 413
        host, port = client.base_url.host, client.base_url.port
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, port)
            stack.callback(writer.close)
            writer.write(
                f"POST /sign-in HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                "Content-Length: 16000\r\n\r\n".encode()
                + b"x" * 15_000
            )
            await writer.drain()
        await asyncio.sleep(0.3)
        sent = {CSRF_FIELD: await token_of(client), "reason": "x" * 200_000}
        assert (await client.post("/decide", data=sent)).status_code == 200


async def test_a_browser_that_goes_away_in_the_middle_changes_nothing(client: httpx.AsyncClient) -> None:
    name, value = session_cookie(client)
    token = await token_of(client)
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(
        f"POST /decide HTTP/1.1\r\nHost: {client.base_url.host}\r\nCookie: {name}={value}\r\n{CSRF_HEADER}: {token}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 500\r\n\r\nreason=half".encode()
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.get("/")).status_code == 200


async def test_links_are_open_to_strangers_only_where_links_alone_are_enough(settings: Settings) -> None:
    async with site(with_web(settings)) as client:
        assert (await client.get("/links/x")).status_code == 303
    alone: dict[str, Any] = {"links": LinkSettings(decide_without_sign_in=True)}
    async with site(with_web(settings, **alone)) as client:
        assert "<p>link</p>" in (await client.get("/links/x")).text
        assert client.cookies
        assert (await client.get("/")).status_code == 303
        assert (await client.post("/links/x", data={"reason": "x"})).status_code == 403


async def test_no_websocket_passes(settings: Settings) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await small_app(with_web(settings))({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
