"""Signing in over real HTTP: by the machine's token, by a proxy's headers, at an OpenID provider, and not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import html
import json
import re
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import Depends, FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from sdlc.config import Settings
from sdlc.config.intake import PersonSettings
from sdlc.config.web import HeaderSettings, OidcSettings, RoleSettings, SignInSettings, WebSettings
from sdlc.errors import ConfigurationError
from sdlc.web.guard import CSRF_FIELD
from sdlc.web.refusals import Refused
from sdlc.web.server import listening
from sdlc.web.sign_in.door import form_token, needs, signed_in
from sdlc.web.sign_in.identity import Claim, Identity, Role, Roles, groups_of, name_of
from sdlc.web.sign_in.oidc import Provider
from sdlc.web.sign_in.routes import install
from sdlc.web.sign_in.sessions import Sessions
from sdlc.web.sign_in.throttle import MOST_ADDRESSES, Throttle
from sdlc.web.sign_in.tokens import MachineToken, sign_in_link

SHARED = "-".join(("planted", "secret", "shared", "with", "the", "proxy"))
CLIENT_SECRET = "-".join(("planted", "client", "secret"))
PAGE = {"Accept": "text/html,application/xhtml+xml"}
PATIENCE = 20.0


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def with_web(settings: Settings, **web: Any) -> Settings:
    return settings.model_copy(update={"web": WebSettings(**web)})


def small_app(settings: Settings, clock: Callable[[], float] = time.time) -> FastAPI:
    """A few pages such as the real ones are."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)

    @app.get("/")
    async def first(request: Request, who: Annotated[Identity, Depends(signed_in)]) -> Response:
        field = f'<input name="{CSRF_FIELD}" value="{form_token(request)}">'
        return HTMLResponse(f"<p id=who>{html.escape(who.name)}, {who.role.words}</p>{field}")

    @app.post("/decide")
    async def decide(request: Request, who: Annotated[Identity, Depends(needs(Role.APPROVER))]) -> Response:
        form = await request.form()
        return JSONResponse({"decided": who.name, "reason": form.get("reason")})

    @app.get("/api/v1/me")
    async def me(who: Annotated[Identity, Depends(signed_in)]) -> dict[str, Any]:
        return {"name": who.name, "email": who.email, "groups": who.groups, "role": who.role.words, "via": who.via}

    @app.post("/api/v1/steer")
    async def steer(request: Request, who: Annotated[Identity, Depends(needs(Role.OPERATOR))]) -> dict[str, Any]:
        return {"steered": who.name, "said": await request.json()}

    @app.get("/boom")
    async def boom() -> Response:
        raise RuntimeError("words that nobody may see")

    @app.get("/links/{link}")
    async def link(request: Request, link: str) -> Response:
        return HTMLResponse(f"<p>link</p><input value='{form_token(request)}'>")

    @app.post("/webhooks/github")
    async def webhook(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    install(app, settings, clock=clock)
    return app


@asynccontextmanager
async def site(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at our pages."""
    async with (
        listening(small_app(settings, clock), "127.0.0.1", 0) as root,
        httpx.AsyncClient(base_url=root, timeout=PATIENCE, headers=PAGE, trust_env=False) as client,
    ):
        yield client


def csrf_of(response: httpx.Response) -> str:
    found = re.search(rf'name="{CSRF_FIELD}" value="([^"]+)"', response.text)
    assert found, response.text
    return found[1]


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


async def enter(client: httpx.AsyncClient, settings: Settings) -> httpx.Response:
    """By the link that `sdlc serve` prints; gives the first page."""
    link = sign_in_link(settings, str(client.base_url).rstrip("/"))
    response = await client.get(path_of(link))
    assert response.status_code == 303, response.text
    return await client.get("/")


def session_cookie(client: httpx.AsyncClient) -> tuple[str, str]:
    [found] = [(cookie.name, cookie.value or "") for cookie in client.cookies.jar if "sdlc-" in cookie.name]
    return found


# --- token ------------------------------------------------------------------------------------


async def test_the_printed_link_lets_in_and_leaves_no_token_in_the_address(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        before = await client.get("/")
        assert (before.status_code, before.headers["location"]) == (303, "/sign-in?next=%2F")
        response = await client.get(path_of(sign_in_link(settings, str(client.base_url))) + "&next=/api/v1/me")
        assert (response.status_code, response.headers["location"]) == (303, "/api/v1/me")
        assert MachineToken(settings).make() not in response.text + str(response.headers)
        cookie = response.headers["set-cookie"]
        assert "; HttpOnly" in cookie
        assert "; SameSite=Lax" in cookie
        assert "Secure" not in cookie
        me = (await client.get("/api/v1/me")).json()
        assert me == {"name": settings.run.starter, "email": "", "groups": [], "role": "operator", "via": "token"}


async def test_the_token_is_kept_for_its_owner_alone_and_is_in_no_page(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        token = MachineToken(settings).make()
        file = settings.data_dir / "web" / "token"
        assert file.read_text().strip() == token
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        first = await enter(client, settings)
        secret = (settings.data_dir / "web" / "secret").read_text().strip()
        for page in (first, await client.get("/sign-in"), await client.get("/api/v1/me"), await client.get("/nothing")):
            assert token not in page.text + str(page.headers)
            assert secret not in page.text + str(page.headers)


async def test_the_token_can_be_given_to_a_form_as_well(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        page = await client.get("/sign-in?next=/api/v1/me")
        sent = {CSRF_FIELD: csrf_of(page), "token": MachineToken(settings).make(), "next": "/api/v1/me"}
        response = await client.post("/sign-in", data=sent)
        assert (response.status_code, response.headers["location"]) == (303, "/api/v1/me")
        assert (await client.get("/api/v1/me")).json()["role"] == "operator"


async def test_another_site_can_t_send_the_sign_in_form(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        response = await client.post("/sign-in", data={"token": MachineToken(settings).make()})
        assert response.status_code == 403
        assert (await client.get("/api/v1/me", headers={"Accept": "*/*"})).status_code == 401


async def test_a_wrong_token_lets_nobody_in(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        token = MachineToken(settings).make()
        for wrong in ("", "x", token[:-1], token + "x", token.swapcase(), "é", "%00"):
            response = await client.get("/sign-in", params={"token": wrong})
            assert response.status_code == 401
            assert "not right" in response.text
            assert (await client.get("/api/v1/me", headers={"Accept": "*/*"})).status_code == 401


async def test_removing_the_token_s_file_ends_the_sessions_that_came_by_it(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        await enter(client, settings)
        (settings.data_dir / "web" / "token").unlink()
        assert (await client.get("/")).status_code == 303
        assert MachineToken(settings).make()
        assert (await client.get("/")).status_code == 303
        assert "operator" in (await enter(client, settings)).text


async def test_a_token_that_others_can_read_lets_nobody_in(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        link = path_of(sign_in_link(settings, "http://x"))
        (settings.data_dir / "web" / "token").chmod(0o644)
        assert (await client.get(link)).status_code == 401
    with pytest.raises(ConfigurationError, match="Others may read"):
        small_app(settings)


async def test_a_program_uses_the_token_as_its_bearer_and_needs_no_page(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        bearer = {"Authorization": f"Bearer {MachineToken(settings).make()}", "Accept": "application/json"}
        response = await client.post("/api/v1/steer", json={"a": 1}, headers=bearer)
        assert response.json() == {"steered": settings.run.starter, "said": {"a": 1}}
        assert "set-cookie" not in response.headers
        wrong = await client.get("/api/v1/me", headers={"Authorization": "Bearer nonsense"})
        assert (wrong.status_code, wrong.json()["detail"]) == (401, "This token is not that of this machine.")
        on_a_page = await client.get("/", headers=bearer | PAGE)
        assert on_a_page.status_code == 303  # the API's alone


def test_the_link_leads_to_this_machine_where_we_listen_everywhere(settings: Settings) -> None:
    settings = with_web(settings)
    assert sign_in_link(settings, "http://0.0.0.0:8080").startswith("http://127.0.0.1:8080/sign-in?token=")
    assert sign_in_link(settings, "http://[::]:8080").startswith("http://[::1]:8080/sign-in?token=")
    assert sign_in_link(with_web(settings, sign_in=SignInSettings(kind="none")), "http://127.0.0.1:8080") == ""


# --- sessions ---------------------------------------------------------------------------------


async def test_signing_in_gives_a_new_session_id(settings: Settings) -> None:
    """Whoever has planted a session in a browser must not share it afterwards."""
    settings = with_web(settings)
    async with site(settings) as client:
        before = csrf_of(await client.get("/sign-in"))
        first = csrf_of(await enter(client, settings))
        second = csrf_of(await enter(client, settings))
        assert len({before, first, second}) == 3


async def test_signing_out_ends_the_session_of_this_browser(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        page = await enter(client, settings)
        refused = await client.post("/sign-out")
        assert refused.status_code == 403
        response = await client.post("/sign-out", data={CSRF_FIELD: csrf_of(page)})
        assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
        assert not client.cookies
        assert (await client.get("/")).status_code == 303


async def test_a_session_ends_when_it_idles_and_lives_on_while_pages_are_read(settings: Settings) -> None:
    settings, clock = with_web(settings, sign_in=SignInSettings(idle_hours=1, longest_hours=3)), Clock()
    async with site(settings, clock) as client:
        await enter(client, settings)
        for _ in range(4):  # 40 minutes each
            clock.ahead += 2_400
            assert (await client.get("/")).status_code == 200
        clock.ahead += 2_400  # 3 h 20 min
        assert (await client.get("/")).status_code == 303
        await enter(client, settings)
        clock.ahead += 3_700
        assert (await client.get("/")).status_code == 303


async def test_a_page_that_asks_by_itself_keeps_no_session_alive(settings: Settings) -> None:
    settings, clock = with_web(settings, sign_in=SignInSettings(idle_hours=1)), Clock()
    async with site(settings, clock) as client:
        await enter(client, settings)
        clock.ahead += 2_400
        polled = await client.get("/api/v1/me", headers={"Sec-Fetch-Mode": "cors"})
        assert polled.status_code == 200
        assert "set-cookie" not in polled.headers
        clock.ahead += 2_400
        assert (await client.get("/")).status_code == 303


async def test_a_session_of_the_future_is_none(settings: Settings) -> None:
    settings, clock = with_web(settings), Clock()
    async with site(settings, clock) as client:
        await enter(client, settings)
        clock.ahead -= 30
        assert (await client.get("/")).status_code == 200
        clock.ahead -= 3_600
        assert (await client.get("/")).status_code == 303


async def test_a_changed_cookie_is_no_session(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        await enter(client, settings)
        name, value = session_cookie(client)
        client.cookies.clear()
        body, _, signature = value.rpartition(".")
        kept = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        forged = base64.urlsafe_b64encode(json.dumps({**kept, "n": "mallory"}).encode()).decode().rstrip("=")
        for cookie in (f"{forged}.{signature}", f"{forged}.", forged, "", "x", value + "x", value[1:]):
            response = await client.get("/", headers={"Cookie": f"{name}={cookie}"})
            assert response.status_code == 303
        assert (await client.get("/", headers={"Cookie": f"{name}={value}"})).status_code == 200


@given_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_letter_of_a_cookie_can_be_another_one(settings: Settings, data: st.DataObject) -> None:
    sessions = Sessions(SHARED.encode(), with_web(settings))
    session = sessions.begin(Claim("alice", "oidc", "alice@example.org", ("ops",)), "https://id.example")
    value = sessions.set_cookie(session).partition(";")[0].partition("=")[2]
    read = sessions.read({sessions.cookie: value})
    assert read is not None
    assert (read.id, read.claim, read.source) == (session.id, session.claim, session.source)
    at = data.draw(st.integers(0, len(value) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda letter: letter != value[at]))
    assert sessions.read({sessions.cookie: value[:at] + letter + value[at + 1 :]}) is None


async def test_a_cookie_is_for_https_alone_where_the_web_is(settings: Settings) -> None:
    settings = with_web(settings, url="https://sdlc.example.org")
    async with site(settings) as client:
        response = await client.get(path_of(sign_in_link(settings, "http://x")), headers={"Host": "sdlc.example.org"})
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-sdlc-")
        assert cookie.endswith("; Secure")
        assert "; Path=/;" in cookie
    assert sign_in_link(settings, "http://x").startswith("https://sdlc.example.org/sign-in?token=")


async def test_nobody_is_led_elsewhere_after_signing_in(settings: Settings) -> None:
    settings = with_web(settings)
    async with site(settings) as client:
        token = MachineToken(settings).make()
        for target in (
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/x\r\nSet-Cookie: a=b",
            "javascript:alert(1)",
            "",
            "evil",
            "/" + "x" * 5_000,
            "/sign-in?token=x",
        ):
            response = await client.get("/sign-in", params={"token": token, "next": target})
            assert (response.status_code, response.headers["location"]) == (303, "/"), target
        response = await client.get("/sign-in", params={"token": token, "next": "/runs?state=open"})
        assert response.headers["location"] == "/runs?state=open"


# --- none -------------------------------------------------------------------------------------


async def test_without_sign_in_everybody_may_look_and_nobody_may_decide(settings: Settings) -> None:
    settings = with_web(settings, sign_in=SignInSettings(kind="none"), roles=RoleSettings(operators=("anonymous", "*")))
    async with site(settings) as client:
        page = await client.get("/")
        assert "anonymous, viewer" in page.text
        response = await client.post("/decide", data={CSRF_FIELD: csrf_of(page), "reason": "x"})
        assert response.status_code == 403
        assert "needs the role approver; anonymous is viewer" in response.text
        bearer = {"Authorization": f"Bearer {MachineToken(settings).make()}"}
        assert (await client.get("/api/v1/me", headers=bearer)).json()["role"] == "viewer"


@pytest.mark.parametrize(
    "web",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.0.2.1"},
        {"host": "sdlc.example.org"},
        {"url": "https://sdlc.example.org"},
    ],
)
def test_without_sign_in_we_listen_at_a_loopback_address_alone(settings: Settings, web: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="would let in everybody"):
        small_app(with_web(settings, sign_in=SignInSettings(kind="none"), **web))


# --- header -----------------------------------------------------------------------------------


def by_header(settings: Settings, proof: Any = "signature", **sign_in: Any) -> Settings:
    header = HeaderSettings(proof=proof, secret=SecretStr(SHARED))
    roles = RoleSettings(viewers=("*",), approvers=("alice@example.org", "@reviewers"), operators=("root",))
    return with_web(settings, sign_in=SignInSettings(kind="header", header=header, **sign_in), roles=roles)


def proven(
    user: str, *, email: str = "", groups: str = "", at: float | None = None, secret: str = SHARED
) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    text = "\n".join((timestamp, user, email, groups)).encode()
    headers = {
        "X-Forwarded-User": user,
        "X-Forwarded-Email": email,
        "X-Forwarded-Groups": groups,
        "X-Sdlc-Timestamp": timestamp,
        "X-Sdlc-Signature": "sha256=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest(),
    }
    return {name: value for name, value in headers.items() if value}


async def test_a_signed_header_says_who_it_is(settings: Settings) -> None:
    async with site(by_header(settings)) as client:
        sent = proven("alice", email="alice@example.org", groups="staff, reviewers")
        me = (await client.get("/api/v1/me", headers=sent)).json()
        assert me == {
            "name": "alice",
            "email": "alice@example.org",
            "groups": ["staff", "reviewers"],
            "role": "approver",
            "via": "header",
        }
        for user, groups, role in (("bob", "reviewers", "approver"), ("root", "", "operator"), ("eve", "", "viewer")):
            assert (await client.get("/api/v1/me", headers=proven(user, groups=groups))).json()["role"] == role


async def test_a_header_that_is_not_signed_or_not_so_is_refused(settings: Settings) -> None:
    good = proven("alice", email="alice@example.org")
    changed = [
        {},
        {"X-Forwarded-User": "root"},
        {name: value for name, value in good.items() if name != "X-Sdlc-Signature"},
        {name: value for name, value in good.items() if name != "X-Sdlc-Timestamp"},
        {**good, "X-Forwarded-User": "root"},
        {**good, "X-Forwarded-Groups": "reviewers"},
        {**good, "X-Forwarded-Email": "boss@example.org"},
        {**good, "X-Sdlc-Timestamp": str(int(good["X-Sdlc-Timestamp"]) + 1)},
        {**good, "X-Sdlc-Signature": good["X-Sdlc-Signature"].removeprefix("sha256=")},
        {**good, "X-Sdlc-Signature": "sha256=" + "0" * 64},
        {**proven("alice"), "X-Sdlc-Secret": SHARED, "X-Sdlc-Signature": ""},
        proven("root", secret="x" * 40),
        proven(""),
        proven("@reviewers"),
        proven("*"),
    ]
    async with site(by_header(settings)) as client:
        assert (await client.get("/", headers=good)).status_code == 200
        for headers in changed:
            response = await client.get("/", headers=headers)
            assert response.status_code == 401, headers
            assert "<main>" in response.text
        twice = [*good.items(), ("X-Forwarded-User", "alice"), *PAGE.items()]
        assert "more than once" in (await client.get("/", headers=twice)).text


async def test_a_signature_is_good_for_a_minute(settings: Settings) -> None:
    async with site(by_header(settings)) as client:
        for off in (-50, 50):
            assert (await client.get("/", headers=proven("eve", at=time.time() + off))).status_code == 200
        for off in (-75, 75, -1_000_000, 1_000_000):
            response = await client.get("/", headers=proven("eve", at=time.time() + off))
            assert response.status_code == 401
            assert "look at both clocks" in response.text


async def test_a_shared_secret_counts_from_the_proxy_s_address_alone(settings: Settings) -> None:
    good = {"X-Forwarded-User": "root", "X-Sdlc-Secret": SHARED}
    async with site(by_header(settings, "secret", proxies=("127.0.0.0/8",))) as client:
        assert (await client.get("/api/v1/me", headers=good)).json()["role"] == "operator"
        for headers in ({**good, "X-Sdlc-Secret": "x" * 40}, {"X-Forwarded-User": "root"}, proven("root")):
            assert (await client.get("/", headers=headers)).status_code == 401
    async with site(by_header(settings, "secret", proxies=("192.0.2.0/24",))) as client:
        for headers in (good, {**good, "X-Forwarded-For": "192.0.2.1"}):
            response = await client.get("/", headers=headers)
            assert response.status_code == 401
            assert "none of the proxies" in response.text


async def test_forms_work_behind_a_proxy_and_for_their_own_person_alone(settings: Settings) -> None:
    async with site(by_header(settings)) as client:
        alice = proven("alice", email="alice@example.org")
        sent = {CSRF_FIELD: csrf_of(await client.get("/", headers=alice)), "reason": "fine"}
        assert (await client.post("/decide", data=sent, headers=alice)).json() == {"decided": "alice", "reason": "fine"}
        assert (await client.post("/decide", data=sent, headers=proven("root"))).status_code == 403
        assert (await client.post("/decide", data={"reason": "x"}, headers=alice)).status_code == 403


async def test_a_name_of_another_alphabet_comes_as_utf_8(settings: Settings) -> None:
    async with site(by_header(settings)) as client:
        sent = [(name.encode(), value.encode()) for name, value in proven("Zoë").items()]
        assert (await client.get("/api/v1/me", headers=sent)).json()["name"] == "Zoë"


@pytest.mark.parametrize(
    ("sign_in", "sentence"),
    [
        ({"kind": "header"}, r"header\.secret is needed"),
        ({"kind": "header", "header": {"secret": "short"}}, r"header\.secret is needed"),
        ({"kind": "header", "header": {"secret": SHARED, "proof": "secret"}}, "addresses of the proxies"),
        ({"kind": "oidc"}, r"oidc\.issuer and oidc\.client_id"),
        ({"kind": "oidc", "oidc": {"issuer": "http://id.example.org", "client_id": "x"}}, "https://"),
        ({"proxies": ["the proxy"]}, "does not appear to be"),
    ],
)
def test_what_would_not_be_safe_is_no_configuration(sign_in: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        SignInSettings.model_validate(sign_in)


# --- roles ------------------------------------------------------------------------------------


def role(settings: Settings, claim: Claim, **roles: tuple[str, ...]) -> Role | None:
    configured = with_web(settings, roles=RoleSettings(**roles)).model_copy(
        update={"groups": {"ops": ("Root", "ops@example.org")}}
    )
    try:
        return Roles(configured).identity(claim).role
    except Refused:
        return None


def test_the_highest_role_counts_and_somebody_without_one_may_do_nothing(settings: Settings) -> None:
    alice = Claim("alice", "oidc", "alice@example.org", ("team",))
    assert role(settings, alice) is None
    assert role(settings, alice, viewers=("*",)) is Role.VIEWER
    assert role(settings, alice, viewers=("*",), approvers=("ALICE",)) is Role.APPROVER
    assert role(settings, alice, viewers=("alice",), operators=("alice@example.org",)) is Role.OPERATOR
    assert role(settings, alice, approvers=("@team",)) is Role.APPROVER
    assert role(settings, alice, approvers=("team", "@alice", "@", "")) is None
    assert role(settings, Claim("", "oidc"), approvers=("", "@")) is None


def test_a_group_of_the_configuration_is_not_the_provider_s_of_the_same_name(settings: Settings) -> None:
    assert role(settings, Claim("root", "oidc"), operators=("@ops",)) is Role.OPERATOR
    assert role(settings, Claim("x", "oidc", "ops@example.org"), operators=("@ops",)) is Role.OPERATOR
    assert role(settings, Claim("mallory", "oidc", "", ("ops",)), operators=("@ops",)) is None


def test_what_can_be_no_name_is_none() -> None:
    assert name_of("  Zoë  ") == "Zoë"
    for bad in ("", None, 7, ["alice"], "@ops", "*", "a\nb", "a\x1b[31m", "al\u200bice", "\u202eecila", "x" * 201):
        assert name_of(bad) == ""
    assert groups_of("a, b,,a, /c") == ("a", "b", "c")
    assert groups_of(["a", 7, None, "@b", "\x00"]) == ("a", "b")
    assert groups_of({"a": 1}) == ()


def test_a_person_who_signed_in_is_known_by_all_their_names() -> None:
    known = PersonSettings(name="Alice Meyer", email="alice@example.org", github="ameyer", web="alice")
    for claim in (Identity("Alice", "oidc"), Identity("am", "oidc", "alice@example.org")):
        assert {"Alice Meyer", "alice@example.org", "ameyer"} <= set(claim.person((known,)).names)
    # Who is called so elsewhere is somebody else here, and has none of her rights.
    for other in ("ameyer", "Alice Meyer"):
        assert Identity(other, "oidc").person((known,)).names == (f"{other} on the web",)
    assert Identity("ameyer", "link").person((known,)).name == "Alice Meyer"
    assert Identity("bob", "oidc", "bob@example.org").person((known,)).names == ("bob", "bob@example.org")


# --- how often --------------------------------------------------------------------------------


async def test_too_many_attempts_have_to_wait_also_with_the_right_token(settings: Settings) -> None:
    settings = with_web(settings, sign_in=SignInSettings(attempts_per_minute=3))
    async with site(settings) as client:
        token = MachineToken(settings).make()
        for _ in range(5):  # what is right does not count
            assert (await client.get("/sign-in", params={"token": token})).status_code == 303
        for _ in range(3):
            assert (await client.get("/sign-in", params={"token": "guess"})).status_code == 401
        response = await client.get("/sign-in", params={"token": token})
        assert response.status_code == 429
        assert 1 <= int(response.headers["retry-after"]) <= 20
        assert "Too many attempts to sign in; try again in" in response.text
        assert (await client.get("/healthz")).status_code == 200


async def test_guesses_at_the_bearer_count_too(settings: Settings) -> None:
    settings = with_web(settings, sign_in=SignInSettings(attempts_per_minute=2))
    async with site(settings) as client:
        wrong = {"Authorization": "Bearer guess", "Accept": "*/*"}
        got = [(await client.get("/api/v1/me", headers=wrong)) for _ in range(3)]
        assert [response.status_code for response in got] == [401, 401, 429]
        assert "retry-after" in got[-1].headers


async def test_a_proxy_of_ours_says_where_somebody_comes_from_and_nobody_else_does(settings: Settings) -> None:
    async def attempt(client: httpx.AsyncClient, forwarded: str) -> int:
        headers = {"X-Forwarded-For": forwarded}
        return (await client.get("/sign-in", params={"token": "guess"}, headers=headers)).status_code

    one = SignInSettings(attempts_per_minute=1, proxies=("127.0.0.1", "198.51.100.7"))
    async with site(with_web(settings, sign_in=one)) as client:
        assert await attempt(client, "192.0.2.1") == 401
        assert await attempt(client, "192.0.2.1, 198.51.100.7") == 429
        assert await attempt(client, "203.0.113.9, 192.0.2.1") == 429  # what the client has written itself
        assert await attempt(client, "192.0.2.2") == 401
    async with site(with_web(settings, sign_in=SignInSettings(attempts_per_minute=1))) as client:
        assert [await attempt(client, f"192.0.2.{number}") for number in (1, 2)] == [401, 429]


def test_attempts_are_bounded_per_address_and_in_all_and_come_back_with_time() -> None:
    now = [0.0]
    throttle = Throttle(2, 5, clock=lambda: now[0])

    def allowed(address: str) -> bool:
        try:
            throttle.attempt(address)
        except Refused as refused:
            return not (refused.status == 429 and refused.retry_after)
        return True

    assert [allowed("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [allowed(f"198.51.100.{number}") for number in range(4)] == [True, True, True, False]
    now[0] += 29
    assert [allowed("192.0.2.1"), allowed("203.0.113.1")] == [False, True]
    now[0] += 2
    assert allowed("192.0.2.1")
    throttle.succeeded("192.0.2.1")
    assert allowed("192.0.2.1")


def test_a_network_of_ipv6_is_one_address_and_memory_is_bounded() -> None:
    throttle = Throttle(1, 10**9, clock=lambda: 0.0)
    throttle.attempt("2001:db8::1")
    with pytest.raises(Refused):
        throttle.attempt("2001:db8::2")
    throttle.attempt("2001:db8:0:1::1")
    throttle.attempt("::ffff:192.0.2.1")
    throttle.attempt("::ffff:192.0.2.2")
    for number in range(MOST_ADDRESSES + 500):
        throttle.attempt(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(throttle._buckets) == MOST_ADDRESSES


# --- OpenID Connect ---------------------------------------------------------------------------


@dataclass
class OpenIdProvider:
    """A provider over real HTTP that checks what a provider has to: client, redirect address, code, PKCE."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65_537, 2_048))
    kid: str = "key-1"
    issuer: str = ""
    person: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "u-1",
            "preferred_username": "alice",
            "email": "alice@example.org",
            "email_verified": True,
            "groups": ["/reviewers", "staff"],
        }
    )
    claims: dict[str, Any] = field(default_factory=dict)
    """Over those that are right; None takes one away."""
    sign_with: Any = None
    algorithm: str = "RS256"
    header: dict[str, Any] = field(default_factory=dict)
    down: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    redirects: tuple[str, ...] = ()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/keys", self.keys),
            ]
        )

    async def discovery(self, _: Request) -> Response:
        self.asked.append("discovery")
        if self.down:
            return Response("gone", 503)
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        assert query["response_type"] == "code"
        assert query["client_id"] == "sdlc"
        assert query["redirect_uri"] in self.redirects
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        assert len(query["nonce"]) >= 32
        assert len(query["state"]) >= 32
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return RedirectResponse(f"{query['redirect_uri']}?code={code}&state={query['state']}")

    async def token(self, request: Request) -> Response:
        self.asked.append("token")
        form = {name: str(value) for name, value in (await request.form()).items()}
        basic = base64.b64encode(f"sdlc:{CLIENT_SECRET}".encode()).decode()
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        good = (
            request.headers.get("authorization") == f"Basic {basic}"
            and form.get("grant_type") == "authorization_code"
            and asked is not None
            and form.get("redirect_uri") == asked["redirect_uri"]
            and challenge.decode().rstrip("=") == asked["code_challenge"]
        )
        if not good or asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        right = {
            "iss": self.issuer,
            "aud": "sdlc",
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
        }
        said = {name: value for name, value in {**right, **self.claims}.items() if value is not None}
        key: Any = None if self.algorithm == "none" else self.sign_with or self.key
        signed = jwt.encode(said, key, self.algorithm, headers={"kid": self.kid, **self.header})
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})

    async def keys(self, _: Request) -> Response:
        self.asked.append("keys")
        public = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        return JSONResponse({"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]})


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


@asynccontextmanager
async def with_provider(
    settings: Settings, key: rsa.RSAPrivateKey, **oidc: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, OpenIdProvider]]:
    """A browser, our pages and a provider that belong together."""
    provider = OpenIdProvider(key=key)
    async with contextlib.AsyncExitStack() as stack:
        provider.issuer = await stack.enter_async_context(listening(provider.app(), "127.0.0.1", 0))
        own = OidcSettings(issuer=provider.issuer, client_id="sdlc", client_secret=SecretStr(CLIENT_SECRET), **oidc)
        roles = RoleSettings(approvers=("@reviewers",), operators=("root", "boss@example.org"))
        settings = with_web(settings, sign_in=SignInSettings(kind="oidc", oidc=own), roles=roles)
        client = await stack.enter_async_context(site(settings))
        provider.redirects = (f"{str(client.base_url).rstrip('/')}/sign-in/oidc/callback",)
        yield client, provider


async def answer_of(client: httpx.AsyncClient, target: str = "/api/v1/me") -> str:
    """The address at which the provider sends the browser back to us."""
    there = await client.get("/sign-in/oidc", params={"next": target})
    assert there.status_code == 303, there.text
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as elsewhere:
        back = await elsewhere.get(there.headers["location"])
    assert back.status_code == 307, back.text
    return back.headers["location"]


async def test_somebody_signs_in_at_the_provider_and_has_the_role_of_their_group(
    settings: Settings, rsa_key: rsa.RSAPrivateKey
) -> None:
    async with with_provider(settings, rsa_key) as (client, _):
        first = await client.get("/runs?state=open&person=Zoë")
        page = await client.get(first.headers["location"])
        assert 'href="/sign-in/oidc?next=%2Fruns%3Fstate%3Dopen%26person%3DZo%25C3%25AB"' in page.text
        response = await client.get(await answer_of(client))
        assert (response.status_code, response.headers["location"]) == (303, "/api/v1/me")
        assert (await client.get("/api/v1/me")).json() == {
            "name": "alice",
            "email": "alice@example.org",
            "groups": ["reviewers"],
            "role": "approver",
            "via": "oidc",
        }
        assert [name for name in client.cookies if name.endswith("-oidc")] == []


async def test_an_answer_is_good_once_and_in_the_browser_that_asked(
    settings: Settings, rsa_key: rsa.RSAPrivateKey
) -> None:
    async with with_provider(settings, rsa_key) as (client, provider):
        answer = await answer_of(client)
        async with httpx.AsyncClient(timeout=PATIENCE, headers=PAGE, trust_env=False) as victim:
            stolen = await victim.get(answer)
            assert stolen.status_code == 403
            assert "not begun in this browser" in stolen.text
        assert "token" not in provider.asked  # the code was not even tried
        assert (await client.get(answer)).status_code == 303
        again = await client.get(answer)
        assert again.status_code == 403
        assert provider.asked.count("token") == 1


async def test_an_answer_with_another_state_or_none_is_refused(settings: Settings, rsa_key: rsa.RSAPrivateKey) -> None:
    async with with_provider(settings, rsa_key) as (client, provider):
        for change in ("state=other", "", "state=", "state=%C3%A9"):
            answer = await answer_of(client)
            response = await client.get(re.sub(r"state=[^&]*", change, answer))
            assert response.status_code == 403
        refused = await answer_of(client)
        state = parse_qs(urlsplit(refused).query)["state"][0]
        response = await client.get(
            "/sign-in/oidc/callback",
            params={"error": "access_denied", "error_description": "<b>no</b>", "state": state},
        )
        assert response.status_code == 403
        assert "has not signed you in" in response.text
        assert "<b>no" not in response.text
        answer = await answer_of(client)
        assert (await client.get(answer + "&iss=https://evil.example")).status_code == 403
        assert "token" not in provider.asked


async def test_a_code_without_its_verifier_is_worth_nothing(settings: Settings, rsa_key: rsa.RSAPrivateKey) -> None:
    """A code that was caught on its way, brought to a sign-in of the thief's own."""
    async with with_provider(settings, rsa_key) as (client, _):
        stolen = parse_qs(urlsplit(await answer_of(client)).query)["code"][0]
        own = await answer_of(client)
        response = await client.get(re.sub(r"code=[^&]*", f"code={stolen}", own))
        assert response.status_code == 502
        assert "does not answer as it should (token)" in response.text


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": ["sdlc", "another"]},
        {"aud": ["sdlc", "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "https://evil.example"},
        {"iss": None},
        pytest.param({"exp": int(time.time()) - 3_600}, id="over"),
        {"exp": None},
        pytest.param({"iat": int(time.time()) + 3_600}, id="not yet"),
        {"sub": None},
        {"preferred_username": None},
        {"preferred_username": "@reviewers"},
        {"preferred_username": "al\u200bice"},
        {"preferred_username": "boss@example.org"},
        {"preferred_username": "boss@example.org", "email": "boss@example.org", "email_verified": False},
        {"preferred_username": "eve", "groups": []},
        {"preferred_username": "eve", "groups": {"reviewers": True}},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_us_or_not_now_lets_nobody_in(
    settings: Settings, rsa_key: rsa.RSAPrivateKey, claims: dict[str, Any]
) -> None:
    async with with_provider(settings, rsa_key) as (client, provider):
        provider.claims = claims
        response = await client.get(await answer_of(client))
        assert response.status_code == 403
        assert "set-cookie" not in response.headers or "Max-Age=0" in response.headers["set-cookie"]
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_a_token_that_the_provider_has_not_signed_lets_nobody_in(
    settings: Settings, rsa_key: rsa.RSAPrivateKey
) -> None:
    forger = rsa.generate_private_key(65_537, 2_048)
    async with with_provider(settings, rsa_key) as (client, provider):
        for sign_with, algorithm, header in (
            (forger, "RS256", {}),
            (forger, "RS256", {"kid": "unknown"}),
            (forger, "RS256", {"jwk": {"kty": "RSA"}, "jku": "https://evil.example/keys"}),
            (CLIENT_SECRET * 3, "HS256", {}),
            (None, "none", {}),
        ):
            provider.sign_with, provider.algorithm, provider.header = sign_with, algorithm, header
            response = await client.get(await answer_of(client))
            assert response.status_code == 403, algorithm


async def test_a_clock_of_the_provider_that_is_a_little_off_does_no_harm(
    settings: Settings, rsa_key: rsa.RSAPrivateKey
) -> None:
    async with with_provider(settings, rsa_key) as (client, provider):
        provider.claims = {"iat": int(time.time()) + 30, "exp": int(time.time()) - 15}
        assert (await client.get(await answer_of(client))).status_code == 303


async def test_new_keys_of_the_provider_are_found_and_known_ones_not_asked_for_again(
    settings: Settings, rsa_key: rsa.RSAPrivateKey
) -> None:
    async with with_provider(settings, rsa_key) as (client, provider):
        for _ in range(2):
            assert (await client.get(await answer_of(client))).status_code == 303
        assert (provider.asked.count("keys"), provider.asked.count("discovery")) == (1, 1)
        provider.key, provider.kid = rsa.generate_private_key(65_537, 2_048), "key-2"
        assert (await client.get(await answer_of(client))).status_code == 303
        assert provider.asked.count("keys") == 2


async def test_an_email_counts_only_if_it_is_known_to_be_theirs(settings: Settings, rsa_key: rsa.RSAPrivateKey) -> None:
    boss = {"email": "boss@example.org", "email_verified": None}
    for trust, verified, taken in ((False, None, False), (True, None, True), (True, False, False), (False, True, True)):
        async with with_provider(settings, rsa_key, trust_email=trust) as (client, provider):
            provider.claims = {**boss, "email_verified": verified}
            assert (await client.get(await answer_of(client))).status_code == 303
            me = (await client.get("/api/v1/me")).json()
            assert (me["email"], me["role"]) == (("boss@example.org", "operator") if taken else ("", "approver"))


def test_an_address_that_is_not_known_to_be_theirs_takes_rights_and_gives_none(settings: Settings) -> None:
    claim = Provider(OidcSettings(issuer="https://id.example", client_id="sdlc"))._claim_of(
        {"preferred_username": "ada", "email": "ada@example.org", "email_verified": False}
    )
    assert (claim.email, claim.also_called) == ("", ("ada@example.org",))
    sessions = Sessions(b"s" * 32, settings)
    text = sessions.set_cookie(sessions.begin(claim)).partition(";")[0]
    kept = sessions.read({sessions.cookie: text.partition("=")[2]})
    assert kept is not None
    assert kept.claim == claim


async def test_a_provider_that_is_away_is_told_and_tried_again_later(
    settings: Settings, rsa_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlc.web.sign_in.oidc._FAILED_SECONDS", 0.2)
    async with with_provider(settings, rsa_key) as (client, provider):
        provider.down = True
        response = await client.get("/sign-in/oidc")
        assert response.status_code == 502
        assert "does not answer as it should (openid-configuration)" in response.text
        provider.down = False
        time.sleep(0.3)
        assert (await client.get("/sign-in/oidc")).status_code == 303


async def test_a_provider_that_calls_itself_otherwise_is_not_ours(
    settings: Settings, rsa_key: rsa.RSAPrivateKey
) -> None:
    async with with_provider(settings, rsa_key) as (client, provider):
        provider.issuer += "/other"
        response = await client.get("/sign-in/oidc")
        assert response.status_code == 502
        assert "calls itself otherwise" in response.text


async def test_sessions_of_another_way_to_sign_in_don_t_count(settings: Settings, rsa_key: rsa.RSAPrivateKey) -> None:
    """The secret stays when the configuration changes."""
    by_token = with_web(settings)
    async with site(by_token) as client:
        await enter(client, by_token)
        name, value = session_cookie(client)
    async with with_provider(settings, rsa_key) as (client, _):
        assert (await client.get("/", headers={"Cookie": f"{name}={value}"})).status_code == 303
        assert (await client.get("/sign-in", params={"token": MachineToken(by_token).make()})).status_code == 200
        assert (await client.get("/")).status_code == 303


def test_a_provider_needs_to_know_where_browsers_come_back(settings: Settings) -> None:
    own = SignInSettings(kind="oidc", oidc=OidcSettings(issuer="https://id.example.org", client_id="sdlc"))
    with pytest.raises(ConfigurationError, match=r"needs web\.url"):
        small_app(with_web(settings, sign_in=own, host="0.0.0.0"))
    small_app(with_web(settings, sign_in=own, host="0.0.0.0", url="https://sdlc.example.org"))


async def test_the_provider_s_pages_are_not_there_for_other_ways_to_sign_in(settings: Settings) -> None:
    async with site(with_web(settings)) as client:
        for path in ("/sign-in/oidc", "/sign-in/oidc/callback"):
            assert (await client.get(path)).status_code == 404
