"""Debian's Chromium, driven by Playwright; and axe-core, which looks for what some people could not use."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import MACHINE_CACHE

PATIENCE_MS = 20_000
DOCS = Path(__file__).parents[1] / "docs"
AXE = "axe-core@4.14.1"
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage"),
)
_LARGEST_SCREENSHOT = 200_000


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Skips the test on a machine without."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on PATH; `apt install chromium`, and the pages are tested in it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(_FLAGS), timeout=60_000)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(browser: Browser, **how: Any) -> AsyncIterator[Page]:
    """A page of somebody's own, as wide as a desk's; faults of scripts and of the policy fail the test."""
    how = {"viewport": {"width": 1280, "height": 900}, "bypass_csp": False, **how}
    context = await browser.new_context(**how)
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        yield page
    finally:
        await context.close()
    assert faults == []


def axe_script() -> Path:
    """The script, fetched from npm once for a machine. Skips the test where that can't be."""
    script = MACHINE_CACHE / "axe" / AXE.replace("@", "-") / "axe.min.js"
    if script.is_file():
        return script
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"npm gives no {AXE} ({type(error).__name__}), so nobody looks for barriers")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            content = archive.extractfile("package/axe.min.js")
            assert content is not None
            script.parent.mkdir(parents=True, exist_ok=True)
            draft = script.with_suffix(f".{os.getpid()}")
            draft.write_bytes(content.read())
    draft.replace(script)  # whole, whoever else fetches it
    return script


async def barriers(page: Page) -> list[str]:
    """What axe takes for serious or critical on this page, which was opened with `bypass_csp`."""
    await page.add_script_tag(path=axe_script())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


async def sideways(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    wide: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide


async def pictured(page: Page, name: str) -> None:
    """Into docs/, if whoever runs the suite wants to renew the pictures (`SDLC_SCREENSHOTS=1`)."""
    if os.environ.get("SDLC_SCREENSHOTS") != "1":
        return
    await page.set_viewport_size({"width": 1120, "height": 760})
    taken = await page.screenshot(path=DOCS / f"{name}.png", animations="disabled", caret="hide")
    assert len(taken) <= _LARGEST_SCREENSHOT
