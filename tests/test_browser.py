"""The pages as people have them: in a browser, on real runs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sdlc.activities import EngineRequest
from sdlc.config import Settings
from sdlc.config.web import WebSettings
from sdlc.domain import DecisionKind, Finding, Panel, RunState, Severity, Ticket
from sdlc.runtime.client import connect
from sdlc.runtime.deliveries import Deliveries
from sdlc.web.app import create_app
from sdlc.web.gateway import Gateway
from sdlc.web.server import listening
from sdlc.web.sign_in.tokens import sign_in_link
from sdlc.web.views import Decide
from tests.browser import PATIENCE_MS, barriers, chromium, opened, pictured, sideways
from tests.spine import Spine, set_up, working
from tests.stage import Script, a_finding, sha
from tests.web_stage import GRACE, World, web_world

ROUND_MS = 120_000
"""A round of a real run on a loaded machine."""


@asynccontextmanager
async def served(settings: Settings, gateway: Gateway, deliveries: Deliveries) -> AsyncIterator[tuple[str, str]]:
    """The root of the pages, and the link by which grace signs in."""
    own = settings.model_copy(
        update={"web": WebSettings(), "run": settings.run.model_copy(update={"starter": "grace"})}
    )
    app = create_app(own, deliveries, gateway)
    async with listening(app, "127.0.0.1", 0) as root:
        yield root, sign_in_link(own, root)
        app.state.streams.close()


@asynccontextmanager
async def stage_pages(world: World) -> AsyncIterator[tuple[str, str]]:
    deliveries = Deliveries(world.client, world.queue)
    async with served(world.settings, world.gateway, deliveries) as found:
        yield found


async def test_from_the_link_to_done_in_two_rounds(temporal_settings: Settings, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="sdlc-") as folder:  # a path that may stand in a picture
        settings = temporal_settings.model_copy(update={"data_dir": Path(folder)})
        await _two_rounds(settings, tmp_path / "cache")


async def _two_rounds(settings: Settings, cache: Path) -> None:
    async with set_up(settings, cache, connect) as prepared, working(prepared) as spine:
        gateway = Gateway(_given(spine), spine.settings)
        deliveries = Deliveries(spine.client, spine.settings.temporal.task_queue)
        async with served(spine.settings, gateway, deliveries) as (root, link), chromium() as browser:
            async with opened(browser) as page:
                await page.goto(link)
                await expect(page).to_have_url(f"{root}/")
                await _a_run_moves_while_one_looks(page, spine, root)
                await _it_waits_in_the_inbox(page, spine, root)
                await _findings_stand_at_their_lines(page, spine, root)
            await _for_everybody(browser, spine, root, link)
            async with opened(browser) as page:
                await page.goto(link)
                await _changes_are_asked_for_and_then_it_is_approved(page, spine, root)


def _given(spine: Spine) -> Any:
    async def client() -> Any:
        return spine.client

    return client


async def _a_run_moves_while_one_looks(page: Page, spine: Spine, root: str) -> None:
    await spine.start()
    await page.goto(f"{root}/runs/{spine.key}")
    await page.evaluate("window.notLoadedAgain = true")
    await expect(page.locator(".step.running")).to_have_count(1)
    await expect(page.locator(".step.done").nth(6)).to_be_visible(timeout=ROUND_MS)  # the quality gate
    await expect(page.get_by_role("button", name="Approve")).to_be_visible(timeout=ROUND_MS)
    await expect(page.locator("#status .badge")).to_have_text("awaiting approval")
    await expect(page.locator("h1")).to_contain_text("Parcels at a tier")
    await expect(page).to_have_title(re.compile("^awaiting approval: "))
    await expect(page.locator("#evidence")).to_contain_text("test_a_tier_includes_its_limit")
    assert await page.evaluate("window.notLoadedAgain")
    await pictured(page, "run")


async def _it_waits_in_the_inbox(page: Page, spine: Spine, root: str) -> None:
    await page.goto(f"{root}/")
    row = page.locator(".card", has_text=spine.key)  # the index may be late; the page hears of it
    await expect(row).to_be_visible()
    await expect(row).to_contain_text("prove it")
    await expect(row).to_contain_text("1 minor")
    await expect(page).to_have_title(r"(1) Inbox · sdlc")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{root}/runs/{spine.key}")


async def _findings_stand_at_their_lines(page: Page, spine: Spine, root: str) -> None:
    await page.locator("#evidence .finding a").first.click()
    row = page.locator("tr.inline", has_text="the note shows the weight that its volume stands for").first
    await expect(row).to_be_in_viewport()
    above = page.locator("tr.added", has=page.locator("xpath=following-sibling::tr[1][contains(@class, 'inline')]"))
    await expect(above.first).to_contain_text("notes.append(")
    await page.evaluate("scrollBy(0, -200)")
    await pictured(page, "diff")
    await page.goto(f"{root}/runs")
    await expect(page.locator("table.runs")).to_contain_text(spine.key)


async def _for_everybody(browser: Browser, spine: Spine, root: str, link: str) -> None:
    """Light and dark, on a phone: no barriers, and nothing beside the window."""
    paths = ("/", f"/runs/{spine.key}", "/runs", f"/runs/{spine.key}/diff")
    more = tuple(f"/runs/{spine.key}/{part}" for part in ("conversation", "costs", "audit", "logs"))
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    for how in ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"color_scheme": "light", **phone}):
        async with opened(browser, bypass_csp=True, **how) as page:
            await page.goto(link)
            for path in (*paths, *more):
                await page.goto(root + path)
                assert await barriers(page) == [], (path, how)
                assert await sideways(page) <= 0, (path, how)
            bright = await page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] > 128")
            assert bright == (how["color_scheme"] == "light")


async def _changes_are_asked_for_and_then_it_is_approved(page: Page, spine: Spine, root: str) -> None:
    await page.goto(f"{root}/runs/{spine.key}")
    await page.get_by_role("button", name="Request changes").click()
    await expect(page.get_by_role("alert").first).to_contain_text("Say what should change")
    await page.get_by_label("Reason, or what should change").fill("Say in the README how overweight is charged.")
    await page.get_by_role("button", name="Request changes").click()
    await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    await expect(page.get_by_role("button", name="Approve")).to_be_visible(timeout=ROUND_MS)
    await expect(page.locator("#status")).to_contain_text("1 asked for")
    await page.goto(f"{root}/runs/{spine.key}/diff")
    await expect(page.locator("section.file h3", has_text="README.md")).to_be_visible()
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#status .badge")).to_have_text("closed", timeout=ROUND_MS)
    await expect(page.locator(".step.done", has_text="Close story")).to_be_visible()
    assert (await spine.until_state(RunState.CLOSED)).revisions == 1
    await page.goto(f"{root}/runs/{spine.key}/audit")
    await expect(page.locator("table")).to_contain_text("Say in the README how overweight is charged.")


@pytest.fixture
async def world(temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    script = Script(findings=lambda panel, _: (a_finding(severity=Severity.MINOR),) if panel.value == "quality" else ())
    async with web_world(temporal_settings, monkeypatch, script) as ready:
        yield ready


async def test_lists_of_many_runs_are_in_order_and_can_be_filtered(
    temporal_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with web_world(temporal_settings, monkeypatch, _many()) as world:
        keys = [await world.waiting(f"ACME-{world.repository[-3:]}{number}") for number in range(1, 8)]
        for key, kind in zip(keys, ("approve", "approve", "approve", "reject"), strict=False):
            await world.gateway.decide(
                key, GRACE, Decide(kind=DecisionKind(kind), head_sha=await world.head(key), comment="So.")
            )
        await world.until_state(keys[3], RunState.REJECTED)
        await world.waiting(f"ACME-{world.repository[-3:]}8", approvers=("linus",))
        async with stage_pages(world) as (_, link), chromium() as browser, opened(browser) as page:
            await page.goto(link)
            mine = page.locator(".card", has_text=world.repository)
            await expect(mine).to_have_count(3)
            heads = await mine.locator("h2 .key").all_text_contents()
            assert heads == keys[4:]
            await pictured(page, "inbox")
            await page.get_by_role("link", name="Everything").click()
            await expect(mine.filter(has_text="for linus")).to_have_count(1)
            await page.get_by_role("link", name="Runs", exact=True).click()
            await page.get_by_label("Repository").fill(world.repository)
            await page.get_by_label("State").select_option("rejected")
            await page.get_by_role("button", name="Filter").click()
            await expect(page.locator("table.runs tbody tr")).to_have_count(1)
            await expect(page.locator("table.runs")).to_contain_text(keys[3])
            await expect(page.locator(".plot", has_text="Throughput").first).to_contain_text("3 closed")
            await page.get_by_label("State").select_option("")
            await page.get_by_role("button", name="Filter").click()
            await expect(page.locator("table.runs tbody tr")).to_have_count(8)
            await pictured(page, "runs")


def _many() -> Script:
    titles = ("Parcels at a tier's limit cost too much", "Refunds lose a cent", "The search forgets umlauts")
    sizes = ((7, 78, 7), (2, 31, 12), (1, 4, 4), (12, 310, 96))

    def engine(number: int, request: EngineRequest) -> dict[str, Any]:
        files, more, less = sizes[number % len(sizes)]
        size = {"files_changed": files, "insertions": more, "deletions": less, "head_sha": sha(number)}
        return {"change": request.change.model_copy(update=size)}

    def findings(panel: Panel, head: str) -> tuple[Finding, ...]:
        return (a_finding(severity=Severity.MINOR),) if panel is Panel.QUALITY and int(head, 16) % 2 else ()

    def ticket(number: int) -> Ticket:
        return Ticket(key="KEY-1", title=titles[number % len(titles)], revision="r1")

    return Script(engine=engine, findings=findings, ticket=ticket)


async def test_without_javascript_all_can_be_read_and_done(world: World) -> None:
    key = await world.waiting()
    async with (
        stage_pages(world) as (root, link),
        chromium() as browser,
        opened(browser, java_script_enabled=False) as page,
    ):
        await page.goto(link)
        await page.goto(f"{root}/runs/{key}")
        await expect(page.locator("#status .badge")).to_have_text("awaiting approval")
        await page.get_by_label("Reason, or what should change").fill("Shorter.")
        await page.get_by_role("button", name="Request changes").click()
        await world.until(key, lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
        await page.get_by_role("link", name="Overview").click()
        await expect(page.locator("#status")).to_contain_text("1 asked for")
        for tab in ("Changes", "Conversation", "Costs", "Logs", "Audit"):
            await page.get_by_role("link", name=tab, exact=True).click()
            await expect(page.get_by_role("heading", name=tab).first).to_be_attached()
        await expect(page.locator("table")).to_contain_text("Shorter.")
        await page.get_by_role("link", name="Overview").click()
        await page.get_by_role("button", name="Approve").click()
        await world.until_state(key, RunState.CLOSED)
        await page.goto(f"{root}/runs/{key}")
        await expect(page.locator("#status .badge")).to_have_text("closed")
        await page.get_by_role("button", name="Sign out").click()
        await page.goto(f"{root}/runs/{key}")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_what_somebody_writes_stays_while_the_run_moves_on(world: World) -> None:
    key = await world.waiting()
    async with stage_pages(world) as (root, link), chromium() as browser, opened(browser) as page:
        await page.goto(link)
        await page.goto(f"{root}/runs/{key}")
        await page.get_by_label("Reason, or what should change").fill("I am still thinking about")
        await world.gateway.decide(key, *_asks_for_changes(await world.head(key)))
        await expect(page.locator("#newer")).to_be_visible(timeout=PATIENCE_MS)
        await world.until(key, lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
        await expect(page.get_by_label("Reason, or what should change")).to_have_value("I am still thinking about")
        await page.get_by_role("button", name="Approve").click()  # of the head that was looked at
        await expect(page.get_by_role("alert").first).to_contain_text("the head is")
        await expect(page.get_by_label("Reason, or what should change")).to_have_value("I am still thinking about")
        assert (await world.gateway.progress(key)).state is RunState.AWAITING_APPROVAL


def _asks_for_changes(head: str) -> Any:
    return GRACE, Decide(kind=DecisionKind.REQUEST_CHANGES, head_sha=head, comment="Shorter.")


class Refusing:
    """The application, some of whose paths are not served for a while."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.ending = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self.ending and scope.get("path", "").endswith(self.ending)
        await (Response(status_code=503) if refused else self._app)(scope, receive, send)


async def test_a_page_whose_stream_was_refused_says_so_and_catches_up(world: World) -> None:
    key = await world.waiting()
    async with refusing_pages(world) as (root, link, gate), chromium() as browser, opened(browser) as page:
        await page.goto(link)
        hint = page.locator("[role=status] #stale")
        gate.ending = "/events"
        await page.goto(f"{root}/runs/{key}")
        await expect(hint).to_be_visible()
        await world.gateway.decide(key, *_asks_for_changes(await world.head(key)))
        await world.until(key, lambda now: now.revisions == 1 and now.state is RunState.AWAITING_APPROVAL)
        await expect(page.locator("#status")).to_contain_text("0 asked for")
        gate.ending = ""
        await expect(page.locator("#status")).to_contain_text("1 asked for", timeout=2 * PATIENCE_MS)
        await expect(hint).to_be_hidden()

        gate.ending = "/live"  # the stream goes on, and what it tells of can't be fetched
        await world.gateway.decide(key, *_asks_for_changes(await world.head(key)))
        await expect(hint).to_be_visible()
        await world.until(key, lambda now: now.revisions == 2 and now.state is RunState.AWAITING_APPROVAL)
        gate.ending = ""
        await expect(page.locator("#status")).to_contain_text("2 asked for", timeout=2 * PATIENCE_MS)
        await expect(hint).to_be_hidden()


async def test_a_page_without_a_worker_becomes_whole_when_there_is_one(world: World) -> None:
    key = await world.waiting()
    await world.stop_worker()
    async with refusing_pages(world) as (root, link, _), chromium() as browser:
        for scheme in ("light", "dark"):
            async with opened(browser, bypass_csp=True, color_scheme=scheme) as page:
                await page.goto(link)
                await page.goto(f"{root}/runs/{key}")
                await page.locator("#stale").evaluate("hint => { hint.hidden = false; }")
                assert await barriers(page) == [], scheme
                assert await sideways(page) <= 0, scheme
        async with opened(browser) as page:
            await page.goto(link)
            await page.goto(f"{root}/runs/{key}")
            await expect(page.locator("#status")).to_contain_text("No worker answers")
            await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
            await world.start_worker()
            await expect(page.get_by_role("button", name="Approve")).to_be_visible(timeout=4 * PATIENCE_MS)
            await expect(page.locator("#status")).not_to_contain_text("No worker answers")
            await expect(page.locator("#evidence")).to_contain_text("These fail without the change")
            await expect(page.locator(".step")).to_have_count(17)


@asynccontextmanager
async def refusing_pages(world: World) -> AsyncIterator[tuple[str, str, Refusing]]:
    own = world.settings.model_copy(
        update={"web": WebSettings(), "run": world.settings.run.model_copy(update={"starter": "grace"})}
    )
    app = create_app(own, Deliveries(world.client, world.queue), world.gateway)
    gate = Refusing(app)
    async with listening(gate, "127.0.0.1", 0) as root:
        yield root, sign_in_link(own, root), gate
        app.state.streams.close()
