"""The pages of the fakes: what is planted there is shown as text, and what people do there happens."""

from __future__ import annotations

import asyncio
import contextlib
import html.parser
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from sdlc.config import load
from tests.fakes.__main__ import arguments
from tests.fakes.scripted_ci import ScriptedCi
from tests.fakes.web_html import el, link, markdown
from tests.fakes.web_view import MOST, WebView
from tests.fakes.world import CHECK, KEY, LABEL, World, trial_world

PLANTED = (
    '<script>alert("x")</script><img src=x onerror=alert(1)> [go](javascript:alert(1)) <a href="javascript:1">x</a>'
)
PULL = "/acme/parcel/pull/1"
PATIENCE = 30.0


class Pages:
    """A browser without scripts, at the pages of a world."""

    def __init__(self, world: World, view: WebView, client: httpx.Client) -> None:
        self.world, self.view, self.client = world, view, client

    def get(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, **fields: str) -> httpx.Response:
        return self.client.post(path, data=fields)

    def pull(self) -> str:
        """A pull request of the bot; its head."""
        self.world.repository.commit("sdlc/x", {"parcel/new.py": "x = 1\n"}, by="sdlc-bot")
        self.world.repository.open_pull("sdlc/x", by="sdlc-bot", title="feat: x", body="Why.")
        return self.world.repository.pull(1).head_sha


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    async with trial_world(tmp_path) as world:
        with (
            ScriptedCi(world, "none") as ci,
            WebView(world, ci) as view,
            httpx.Client(base_url=view.url, trust_env=False, timeout=PATIENCE) as client,
        ):
            yield Pages(world, view, client)


class Elements(html.parser.HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(page: str) -> Elements:
    elements = Elements(page)
    for tag, attributes in elements.found:
        assert tag not in ("script", "img", "iframe", "object", "embed", "svg", "base"), tag
        assert not [name for name in attributes if name.startswith("on")], attributes
        for name in ("href", "action", "src"):
            assert re.match(r"https?://|/(?!/)|$", attributes.get(name) or ""), attributes
    return elements


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


# --- what is planted ------------------------------------------------------------------------------


def test_html_that_is_planted_in_a_ticket_is_shown_as_text(pages: Pages) -> None:
    key = pages.world.add_ticket(PLANTED, PLANTED, by="alice", labels=(PLANTED,))
    pages.world.jira.comment_as("bob", key, PLANTED)
    pages.world.jira.comment_as("bob", key, pages.world.written(PLANTED))
    for path in ("/", f"/browse/{key}"):
        shown = assert_harmless(pages.get(path))
        assert '<script>alert("x")</script><img src=x onerror=alert(1)>' in shown.text


def test_html_that_is_planted_in_a_pull_request_is_shown_as_text(pages: Pages) -> None:
    repository = pages.world.repository
    repository.commit("sdlc/x", {"a<b>.py": f"{PLANTED}\n", "parcel/money.py": PLANTED}, PLANTED, by="maria")
    repository.open_pull(
        "sdlc/x", by="sdlc-bot", title=PLANTED, body=f"<!-- mark -->\n{PLANTED}\n\n<details open x>{PLANTED}"
    )
    repository.label(1, '"><script>x', by="bob")
    head = repository.pull(1).head_sha
    repository.comment(1, PLANTED, by="bob")
    comments = [{"path": "parcel/money.py", "line": 1, "side": "RIGHT", "body": PLANTED}]
    repository.review(1, by="maria", event="REQUEST_CHANGES", body=PLANTED, comments=comments)
    repository.status(head, PLANTED, "failure", by="bob", description=PLANTED, target_url="http://x/'onclick=1")
    repository.actions(head, by="bob", **{CHECK: ("failure", PLANTED)})
    for path in ("/", PULL):
        shown = assert_harmless(pages.get(path))
        assert '<script>alert("x")</script><img src=x onerror=alert(1)>' in shown.text
    assert "mark" not in shown.text
    assert "<details open x>" in shown.text


def test_only_links_of_the_web_are_links() -> None:
    assert link("javascript:alert(1)", "go") == "go"
    assert link("//elsewhere.example/x", "go") == "go"
    assert link('https://x/"><b>', "<i>") == '<a href="https://x/&quot;&gt;&lt;b&gt;" rel="noreferrer">&lt;i&gt;</a>'
    assert el("p", "a & b", title='"') == '<p title="&quot;">a &amp; b</p>'


def test_markdown_keeps_what_evidence_is_made_of() -> None:
    shown = markdown(
        "<!-- hidden -->\n| a | b |\n|---|---|\n| `x` | y |\n\n- [x] done\n- [ ] open\n\n"
        "<details><summary>More</summary>\n\n**bold**\n\n</details>\n"
    )
    for part in ("<table>", "<code>x</code>", "☑ done", "☐ open", "<details><summary>More</summary>", "<strong>bold"):
        assert part in shown
    assert "hidden" not in shown


def test_pages_can_run_no_script_and_are_on_loopback_alone(pages: Pages) -> None:
    policy = pages.client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert pages.view._server.server_address[0] == "127.0.0.1"


def test_what_is_not_there_is_said(pages: Pages) -> None:
    assert pages.client.get("/browse/NOPE-1").status_code == 404
    assert pages.client.get("/acme/parcel/pull/7").status_code == 404
    assert pages.client.get("/../etc/passwd").status_code == 404
    assert pages.post(f"/browse/{KEY}/comment", by="nobody", text="x").status_code == 404
    assert pages.post("/tickets", title="x" * MOST, by="alice").status_code == 413


# --- what people do -------------------------------------------------------------------------------


def test_a_ticket_is_written_labelled_moved_and_commented_on(pages: Pages) -> None:
    made = pages.post("/tickets", by="alice", title="Rounds down", body="## Acceptance criteria\n\n- half up", label="")
    key = made.headers["location"].rpartition("/")[2]
    issue = pages.world.jira.issues[key]
    assert (made.status_code, issue.summary, issue.reporter, issue.labels) == (303, "Rounds down", "alice", [])

    pages.post(f"/browse/{key}/label", by="bob")
    assert issue.labels == [LABEL]
    assert issue.history[-1].author == "bob", "who asked for it is read from the history"
    pages.post(f"/browse/{key}/label", by="bob")
    assert issue.labels == []
    pages.post(f"/browse/{key}/move", by="alice", status="In Progress")
    pages.post(f"/browse/{key}/comment", by="maria", text="/sdlc status")
    assert issue.status == "In Progress"
    assert [(comment.author, World.read(comment.body)) for comment in issue.comments] == [("maria", "/sdlc status")]
    shown = Elements(pages.get(f"/browse/{key}")).text
    for words in ("In Progress", "Maria Moreno", "/sdlc status", "half up"):
        assert words in shown


def test_a_pull_request_is_reviewed_discussed_changed_and_merged(pages: Pages) -> None:
    head = pages.pull()
    repository = pages.world.repository
    pages.post(f"{PULL}/review", by="maria", event="REQUEST_CHANGES", text="Why x?")
    pages.post(f"{PULL}/comment", by="bob", text="I wonder too")
    pages.post(f"{PULL}/commit", by="alice", file="parcel/new.py", text="y = 2", message="More")
    pages.post(f"{PULL}/review", by="maria", event="APPROVE", text="")
    pull = repository.pull(1)
    assert [(review.login, review.state, review.commit_id) for review in pull.reviews] == [
        ("maria", "CHANGES_REQUESTED", head),
        ("maria", "APPROVED", pull.head_sha),
    ]
    assert repository.read("sdlc/x", "parcel/new.py") == "x = 1\ny = 2\n"
    shown = Elements(pages.get(PULL)).text
    for words in ("Why x?", "I wonder too", "+y = 2", "an earlier head", "maria approved"):
        assert words in shown

    pages.post(f"{PULL}/close", by="maria")
    assert "Closed" in Elements(pages.get(PULL)).text
    pages.post(f"{PULL}/reopen", by="maria")
    pages.post(f"{PULL}/merge", by="maria")
    assert pull.merged_by == "maria"
    assert "Merged" in Elements(pages.get(PULL)).text


def test_what_github_refuses_is_shown_with_its_reason(pages: Pages) -> None:
    pages.pull()
    own = pages.post(f"{PULL}/review", by="sdlc-bot", event="APPROVE")
    assert own.status_code == 422
    assert "your own pull request" in Elements(own.text).text
    pages.world.repository.protect("main", contexts=[CHECK], approvals=1)
    refused = pages.post(f"{PULL}/merge", by="maria")
    assert (refused.status_code, pages.world.repository.pull(1).merged) == (422, None)
    assert "approving review" in Elements(pages.get(PULL)).text


def test_a_comment_on_a_line_stands_below_the_line(pages: Pages) -> None:
    pages.pull()
    comments = [{"path": "parcel/new.py", "line": 1, "side": "RIGHT", "body": "Name it."}]
    pages.world.repository.review(1, by="sdlc-bot", event="COMMENT", body="", comments=comments)
    shown = pages.get(PULL)
    assert shown.index("+x = 1") < shown.index("Name it.")
    assert "1 comment on lines below" in Elements(shown).text


def test_addresses_of_the_services_lead_to_the_pages_and_the_api_stays(pages: Pages) -> None:
    pages.pull()
    repository = pages.world.github.hub.shapes.page(pages.world.repository.state)
    there = httpx.get(f"{repository}/pull/1", trust_env=False)
    assert (there.status_code, there.headers["location"]) == (302, f"{pages.view.url}{PULL}")
    ticket = httpx.get(f"{pages.world.jira.url}/browse/{KEY}", trust_env=False)
    assert (ticket.status_code, ticket.headers["location"]) == (302, f"{pages.view.url}/browse/{KEY}")
    headers = {"Authorization": f"Bearer {pages.world.github_token}", "User-Agent": "x"}
    api = httpx.get(f"{pages.world.github.url}/repos/acme/parcel/pulls/1", headers=headers, trust_env=False)
    assert api.json()["html_url"] == f"{repository}/pull/1"


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Takes webhooks; its address, and the headers of what came."""
    heard: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            heard.append({**{name.lower(): value for name, value in self.headers.items()}, "path": self.path})
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", heard
        server.shutdown()


def test_webhooks_are_signed_listed_and_sent_again(pages: Pages) -> None:
    with receiver() as (url, heard):
        pages.world.send_webhooks(url)
        pages.post(f"/browse/{KEY}/label", by="alice")
        until(lambda: len(heard) == 2)
        assert {one["path"] for one in heard} == {"/webhooks/jira", "/webhooks/github"}
        assert all(one["x-hub-signature"].startswith(("sha256=", "sha1=")) for one in heard)
        shown = Elements(pages.get("/webhooks")).text
        assert "jira:issue_updated" in shown
        assert "ping" in shown
        assert pages.post("/webhooks/jira/0").status_code == 303
        until(lambda: len(heard) == 3)
        identities = [one.get("x-atlassian-webhook-identifier") for one in heard]
        assert identities.count(identities[2]) == 2


async def test_the_scripted_ci_checks_each_head_and_says_that_it_runs_nothing(tmp_path: Path) -> None:
    async with trial_world(tmp_path) as world:
        with ScriptedCi(world):
            repository = world.repository
            repository.commit("sdlc/x", {"x.py": "x = 1\n"}, by="sdlc-bot")
            repository.open_pull("sdlc/x", by="sdlc-bot")
            for text in ("x = 2\n", "x = 3\n"):
                await asyncio.to_thread(until, lambda: _contexts(world) == {CHECK: "success"})
                repository.commit("sdlc/x", {"x.py": text}, by="sdlc-bot")
            assert all("nothing was run" in log for log in list(repository.state.logs.values())[:2])


def _contexts(world: World) -> dict[str, str]:
    """What checks say of the head of pull request 1."""
    repository = world.repository
    return world.github.hub.contexts(repository.state, repository.pull(1).head_sha)


# --- `make fakes` ---------------------------------------------------------------------------------


@pytest.fixture
def clean() -> dict[str, str]:
    """The environment without what somebody has set for services that are real."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("JIRA_", "GITHUB_"))}


@pytest.mark.parametrize("flavour", ["cloud", "datacenter"])
def test_it_says_how_to_connect_and_ends_at_ctrl_c(flavour: str, clean: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.fakes", "--flavour", flavour, "--protect"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean)
    try:
        assert process.stdout
        said = ""
        while "Then put the label" not in said:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            said += line
        assert "Imitations" in said
        url = re.findall(r"Open this +(\S+)", said)[0]
        assert KEY in httpx.get(url, trust_env=False).text
        file = Path(re.findall(r"stand in (\S+)\)", said)[0])
        assert file.stat().st_mode & 0o777 == 0o600
        settings = load(file)
        assert (settings.tracker.kind, settings.forge.kind) == ("jira", "github")
        assert not settings.run.approval.allow_starter
        assert bool(settings.jira.email) is (flavour == "cloud")
        for name in ("JIRA_URL", "JIRA_TOKEN", "GITHUB_TOKEN", "SDLC_GITHUB__WEBHOOK_SECRET"):
            assert f"export {name}=" in said
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert not file.parent.exists()
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_told_in_a_sentence(pages: Pages, clean: dict[str, str]) -> None:
    port = pages.view.url.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.fakes", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=clean)
    assert done.returncode == 1
    assert "make fakes: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(["--webhooks", "localhost:8080"])
    assert ended.value.code == 2
    assert "http://127.0.0.1:8080" in capsys.readouterr().err
