"""The pages over HTTP, on real runs: who sees and does what, what is refused, and that foreign text stays text."""

from __future__ import annotations

import asyncio
import html
import re
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from sdlc.config import Settings
from sdlc.config.notify import DigestSettings, NotifySettings
from sdlc.config.web import HeaderSettings, LinkSettings, RoleSettings, SignInSettings, WebSettings
from sdlc.deliveries import Delivery
from sdlc.digest import digest_schedule
from sdlc.domain import AttentionKind, Panel, RunIdentity, RunState, Severity, Ticket, TicketComment
from sdlc.integrations.ports import Notice
from sdlc.runtime.runs import workflow_id
from sdlc.web.app import create_app
from sdlc.web.links import PATH, Links
from sdlc.web.pages.addresses import link_maker
from sdlc.web.server import listening
from tests.commands import Process, running
from tests.conftest import MACHINE_CACHE
from tests.stage import Script, a_finding, final, sha
from tests.web_stage import World, web_world

SECRET = "-".join(("planted", "secret", "of", "the", "proxy", "itself"))
WEB_SECRET = "-".join(("planted", "secret", "of", "the", "web", "itself", "2"))
TABS = ("", "/diff", "/conversation", "/costs", "/audit", "/logs", "/live?tab=overview")
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
UNSEEN = "\x1b[31mred\x1b[0m\u202egnp.exe"
PEOPLE = {"grace": "operator", "amy": "approver", "vera": "viewer"}


class Kept:
    async def keep(self, delivery: Delivery) -> bool:
        return True

    async def check(self) -> None:
        return None


def with_web(settings: Settings, **more: Any) -> Settings:
    header = HeaderSettings(proof="secret", secret=SecretStr(SECRET))
    web = WebSettings(
        sign_in=SignInSettings(kind="header", proxies=("127.0.0.1",), header=header),
        roles=RoleSettings(operators=("grace",), approvers=("amy",), viewers=("vera",)),
        secret=SecretStr(WEB_SECRET),
        **more,
    )
    return settings.model_copy(update={"web": web})


class Person:
    """A browser without JavaScript."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def see(self, path: str, status: int = 200) -> str:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    async def send(self, page: str, status: int = 303, *, at: str = "", **fields: Any) -> str:
        """Fill in a form of a page and send it; the sentence that comes of it."""
        form = fields_of(await self.see(page)) | fields
        answer = await self.http.post(at or f"{page}/actions", data=form)
        assert answer.status_code == status, answer.text
        if status == 303:
            return told(await self.see(answer.headers["location"]))
        return told(answer.text)


def fields_of(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(csrf_token|once|head_sha)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in reversed(found)}


def told(page: str) -> str:
    found = re.search(r'<p class="[^"]*" role="(?:alert|status)">(.*?)</p>', page, re.DOTALL)
    found = found or re.search(r"<h1>Refused</h1><p>(.*?)</p>", page)
    assert found, page
    return html.unescape(found[1])


@asynccontextmanager
async def pages(world: World, settings: Settings, name: str = "grace") -> AsyncIterator[Person]:
    app = create_app(settings, Kept(), world.gateway)
    said = {"Accept": "text/html"} | ({"X-Sdlc-Secret": SECRET, "X-Forwarded-User": name} if name else {})
    async with (
        listening(app, "127.0.0.1", 0) as root,
        httpx.AsyncClient(base_url=root, headers=said, timeout=60, trust_env=False) as http,
    ):
        yield Person(http)
        app.state.streams.close()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def world(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch, script: Script) -> AsyncIterator[World]:
    async with web_world(temporal_settings, monkeypatch, script) as ready:
        yield ready


async def test_everybody_sees_all_pages_and_is_offered_what_they_may_do(world: World) -> None:
    key = await world.waiting()
    offered = {}
    for name, role in PEOPLE.items():
        async with pages(world, with_web(world.settings), name) as person:
            for path in ("/", "/?everything=true", "/runs", *(f"/runs/{key}{tab}" for tab in TABS)):
                page = await person.see(path)
                assert SECRET not in page
                assert WEB_SECRET not in page
            page = await person.see(f"/runs/{key}")
            assert f"{name} <small>{role}</small>" in page
            offered[name] = set(re.findall(r'name="action" value="(\w+)"', page))
            assert "Await approval" in page
            assert (await person.see("/runs/NO-SUCH-RUN", 404)).count("NO-SUCH-RUN") >= 1
            assert "no such page" in told(await person.see("/nowhere", 404))
    decisions = {"approve", "request_changes", "reject"}
    assert offered["vera"] == set()
    assert offered["amy"] == decisions
    assert offered["grace"] == decisions | {"instruct", "escalate", "reassign", "abort", "cancel"}


async def test_who_may_not_is_refused_whatever_they_send(world: World) -> None:
    key = await world.waiting()
    run, head = f"/runs/{key}", await world.head(key)
    async with pages(world, with_web(world.settings), "vera") as vera:
        token = (await vera.http.get("/", headers={"Accept": "text/html"})).text
        assert "approver" in await vera.send(run, 403, action="approve", head_sha=head, csrf_token=csrf_of(token, vera))
    async with pages(world, with_web(world.settings), "amy") as amy:
        assert "operator" in await amy.send(run, 403, action="pause")
        assert "too old" in (await amy.http.post(f"{run}/actions", data={"action": "approve", "head_sha": head})).text
        foreign = await amy.http.post(f"{run}/actions", data={}, headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
    async with pages(world, with_web(world.settings), "") as stranger:
        assert (await stranger.http.get(run)).status_code == 401
    assert (await world.gateway.progress(key)).state is RunState.AWAITING_APPROVAL
    assert (await world.gateway.audit(key)).entries == ()


def csrf_of(page: str, person: Person) -> str:
    """A viewer's pages may have no form at all; the session has the token."""
    from sdlc.web.sign_in.sessions import Sessions

    found = fields_of(page).get("csrf_token", "")
    if found:
        return found
    sessions = Sessions(WEB_SECRET.encode(), with_web(Settings()))
    session = sessions.read(dict(person.http.cookies))
    assert session is not None
    return sessions.form_token(session)


async def test_decisions_that_do_not_count_are_sentences_on_the_page_and_nothing_is_lost(world: World) -> None:
    key = await world.waiting(approvers=("amy", "grace"))
    run = f"/runs/{key}"
    async with pages(world, with_web(world.settings)) as grace:
        old = await world.head(key)
        assert "Say what should change" in await grace.send(run, 422, action="request_changes", reason="  ")
        assert "at most" in await grace.send(run, 422, action="approve", reason="x" * 70_000)
        assert "too long" in await grace.send(run, 413, action="approve", reason="x" * 1_000_000)
        assert "nothing that can be done" in await grace.send(run, 422, action="destroy")
        await grace.send(run, action="request_changes", reason="Shorter names.")
        await world.until(key, lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
        answer = await grace.http.post(
            f"{run}/actions",
            data=fields_of(await grace.see(run)) | {"action": "approve", "head_sha": old, "reason": "Mine."},
        )
        assert answer.status_code == 409
        assert "the head is" in told(answer.text)
        assert ">Mine.</textarea>" in answer.text
        once = fields_of(await grace.see(run))
        await grace.send(run, action="approve", **once)
        await world.until_state(key, RunState.CLOSED)
        answer = await grace.http.post(f"{run}/actions", data=once | {"action": "reject", "reason": "No."})
        assert answer.status_code == 409
        assert "over" in told(answer.text)
        assert 'value="approve"' not in answer.text
        trail = await grace.see(f"{run}/audit")
        assert "Shorter names." in trail
        assert "refused" in trail
    lines = (await world.gateway.audit(key)).entries
    assert [one.accepted for one in lines if one.event == "approve"] == [False, True]


async def test_two_who_decide_at_once_are_both_answered(world: World) -> None:
    key = await world.waiting()
    async with pages(world, with_web(world.settings)) as grace, pages(world, with_web(world.settings), "amy") as amy:
        run = f"/runs/{key}"
        ours, theirs = fields_of(await grace.see(run)), fields_of(await amy.see(run))
        answers = await asyncio.gather(
            grace.http.post(f"{run}/actions", data=ours | {"action": "approve"}),
            amy.http.post(f"{run}/actions", data=theirs | {"action": "reject", "reason": "No."}),
        )
    assert sorted(answer.status_code for answer in answers) == [303, 409]


async def test_a_run_is_steered_and_answered_by_its_page(world: World, script: Script) -> None:
    script.panel_state = lambda panel, number: None
    script.raises = lambda name, number: final("Ask me.") if (name, number) == ("create_pull_request", 1) else None
    key = await world.start()
    await world.until_state(key, RunState.NEEDS_ATTENTION)
    run = f"/runs/{key}"
    async with pages(world, with_web(world.settings)) as grace:
        assert "Ask me." in await grace.see(run)
        assert await grace.send(run, action="retry", reason="Again.", instruction="")
        await world.until_state(key, RunState.AWAITING_APPROVAL)
        assert await grace.send(run, action="reassign", to="amy , linus", reason="They know it.")
        assert "amy" in await grace.see(run)
        assert "Name somebody" in await grace.send(run, 422, action="reassign", to=" , ")
        await grace.send(run, action="instruct", reason="Mind the gap.")
        assert "Say why" in await grace.send(run, 422, action="abort", reason="")
        await grace.send(run, action="abort", reason="No longer wanted.")
        await world.until_state(key, RunState.ABORTED)
        assert "No longer wanted." in await grace.see(f"{run}/audit")
    assert AttentionKind.RETRY.value in {one.event for one in (await world.gateway.audit(key)).entries}


async def test_what_comes_from_outside_is_shown_as_text(world: World, script: Script) -> None:
    evil = f"{MARKUP} {UNSEEN}"
    ticket = Ticket(
        key="KEY-1",
        title=f"Title {evil}",
        description=f"Words {evil}",
        acceptance_criteria=(f"Criterion {evil}",),
        comments=(TicketComment(author=f"Eve {MARKUP}", body=f"Comment {evil}"),),
        url="javascript:alert(3)",
        revision="r1",
    )
    found = a_finding().model_copy(
        update={"message": f"Finding {evil}", "file": f"a{MARKUP}.py", "severity": Severity.MINOR}
    )
    script.ticket = lambda _: ticket
    script.findings = lambda panel, _: (found,) if panel is Panel.QUALITY else ()
    script.engine = lambda _, __: {"summary": f"Summary {evil}"}
    key = await world.waiting()
    async with pages(world, with_web(world.settings)) as grace:
        await grace.send(f"/runs/{key}", action="request_changes", reason=f"Reason {evil}")
        await world.until(key, lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
        shown = ""
        for path in (
            "/?everything=true",
            f"/runs?repository={world.repository}",
            *(f"/runs/{key}{tab}" for tab in TABS),
        ):
            page = await grace.see(path)
            shown += page
            assert "<script>alert" not in page
            assert "<img" not in page
            assert "javascript:" not in page
            assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)
        for what in ("Title", "Words", "Criterion", "Comment", "Finding", "Summary", "Reason"):
            assert f"{what} &lt;script&gt;alert(1)&lt;/script&gt;" in shown, what
        echoed = await grace.see("/runs?text=" + "%3Cscript%3Ealert(1)%3C/script%3E%22")
        assert "<script>alert" not in echoed
        forged = await grace.see(f"/runs/{key}?said=Done.{uuid.uuid4().hex}")
        assert 'class="alert good"' not in forged


async def test_a_link_shows_and_only_its_form_decides(world: World) -> None:
    key = await world.waiting()
    head = await world.head(key)
    described = await world.client.get_workflow_handle(workflow_id(key)).describe()
    settings = with_web(world.settings, links=LinkSettings(decide_without_sign_in=True))
    links = Links(settings)

    def link(**said: str) -> str:
        known = {"workflow_id": workflow_id(key), "run_id": described.run_id, "head_sha": head, "person": "amy", **said}
        return links.url("", **known)

    async with pages(world, settings, "") as reader:
        page = await reader.see(link())
        assert "Decide as amy" in page
        assert "Sign out" not in page
        assert "earlier run" in told(await reader.see(link(run_id="another")))
        assert "moved on" in told(await reader.see(link(head_sha=sha(99))))
        assert "not ours" in told(await reader.see(link()[:-2] + "xx", 403))
        assert "Say what should change" in await reader.send(link(), 422, at=link(), action="request_changes")
        assert "earlier run" in await reader.send(link(), 409, at=link(run_id="another"), action="approve")
        assert "nothing else" in await reader.send(link(), 422, at=link(), action="cancel")
        assert (await world.gateway.progress(key)).state is RunState.AWAITING_APPROVAL
        form = fields_of(page) | {"action": "approve"}
        assert (await reader.http.post(link(), data=form)).status_code == 303
        await world.until_state(key, RunState.CLOSED)
        again = await reader.http.post(link(), data=form | {"once": "again"})
        assert again.status_code == 409
    async with pages(world, settings, "grace") as grace:
        assert "for amy" in told(await grace.see(link()))
    strict = with_web(world.settings)
    async with pages(world, strict, "") as reader:
        assert (await reader.http.get(link())).status_code == 401
    approved = [one for one in (await world.gateway.audit(key)).entries if one.event == "approve" and one.accepted]
    assert [(one.by, one.source, one.head_sha) for one in approved] == [("amy", "web", head)]


def test_messages_lead_to_a_link_of_their_reader_or_to_the_page_of_the_run(settings: Settings) -> None:
    assert link_maker(with_web(settings)) is None
    made = link_maker(with_web(settings), "http://127.0.0.1:1")
    assert made is not None
    run = RunIdentity(workflow_id="sdlc-A/1", run_id="r", ticket_key="A/1")
    notice = Notice(event="needs_approval", title="t", body="b", run=run, head_sha=sha(1))
    signed = made(notice, "amy").removeprefix(f"http://127.0.0.1:1{PATH}")
    read = Links(with_web(settings)).read(signed)
    assert (read.workflow_id, read.run_id, read.head_sha, read.person) == ("sdlc-A/1", "r", sha(1), "amy")
    assert made(notice, "") == "http://127.0.0.1:1/runs/A%2F1"
    assert made(notice.model_copy(update={"event": "finished"}), "amy").endswith("/runs/A%2F1")


async def test_the_digest_has_its_schedule_where_it_is_wanted(world: World) -> None:
    from sdlc.cli.serving import arrange_digest

    wanted = NotifySettings(digest=DigestSettings(enabled=True, at="07:30"))
    await arrange_digest(world.settings.model_copy(update={"notify": wanted}), world.client)
    name = digest_schedule(world.settings.temporal.task_queue)
    schedule = world.client.get_schedule_handle(name)
    assert (await schedule.describe()).id == name
    await arrange_digest(world.settings, world.client)
    with pytest.raises(Exception, match="not found"):
        await schedule.describe()


async def test_without_a_worker_a_run_is_shown_by_its_card_and_says_so(world: World) -> None:
    key = await world.waiting(approvers=("grace",))
    run = f"/runs/{key}"
    async with pages(world, with_web(world.settings)) as grace:
        form = fields_of(await grace.see(run))
        await world.stop_worker()
        page = await grace.see(run)
        assert f"No worker answers for {key}; " in page
        assert re.search(r"This is how it stood at <time datetime=.*UTC</time>", page)
        for known in ("Rounding", "awaiting approval", "1 approval of", "May decide: grace", form["head_sha"][:10]):
            assert known in page
        assert 'name="action"' not in page  # it could only fail, and slowly
        began = time.monotonic()
        for tab in ("/diff", "/costs", "/audit"):
            assert "only the run itself can say" in await grace.see(run + tab)
        assert "only the run itself can say" not in await grace.see(f"{run}/logs") + await grace.see(
            f"{run}/conversation"
        )
        live = await grace.see(f"{run}/live?tab=overview")
        assert time.monotonic() - began < 25  # who goes on looking does not wait for ten seconds each time
        assert live.startswith('<div id="status"')
        assert "No worker answers" in live
        assert (await grace.http.get(f"{run}/audit.jsonl")).status_code == 503
        assert "no run for NO-SUCH" in await grace.see("/runs/NO-SUCH", 404)
        await world.start_worker()
        whole = await grace.see(run)
        assert "No worker answers" not in whole
        assert 'value="approve"' in whole


def way_in(process: Process) -> str:
    process.until_said("Web inbox: http://")
    found = re.search(r"Web inbox: (http://\S+)", process.done.err)
    assert found
    return found[1]


def opened(link: str) -> httpx.Response:
    with httpx.Client(follow_redirects=True, headers={"Accept": "text/html"}, timeout=60, trust_env=False) as browser:
        return browser.get(link)


def test_serve_prints_the_way_in_and_its_pages_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    with running(tmp_path / "serve", "serve", "--port", "0") as serving:
        page = opened(way_in(serving))
        serving.signal(signal.SIGINT)
        assert serving.ended().code == 0
    assert page.status_code == 503
    assert "No Temporal server is running" in told(page.text)


def test_dev_serves_the_pages_at_a_free_port_where_its_own_is_taken(
    temporal_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SDLC_CACHE_DIR", str(MACHINE_CACHE))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SDLC_WEB__PORT", str(taken.getsockname()[1]))
        with running(tmp_path / "dev", "dev") as dev:
            link = way_in(dev)
            page = opened(link)
            dev.signal(signal.SIGINT)
            assert dev.ended().code == 0
        assert f":{taken.getsockname()[1]}/" not in link
    assert page.status_code == 200
    assert "Nothing waits for you." in page.text


def test_no_template_asks_for_what_the_policy_forbids() -> None:
    folder = Path(__file__).parents[1] / "sdlc" / "web" / "templates"
    for file in folder.glob("*.html"):
        text = file.read_text()
        assert not re.search(r"<style|\sstyle=|\son\w+=|\|safe|<script>|javascript:|https?://", text), file.name
