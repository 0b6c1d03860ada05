"""The web view: what people see of the fake Jira and the fake GitHub, and do there. On loopback only, without scripts.

with WebView(world, ci) as view:
    view.url
"""

from __future__ import annotations

import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

from tests.fakes.github_bare import GitFailed
from tests.fakes.github_errors import ApiError
from tests.fakes.jira_state import JiraProblem
from tests.fakes.scripted_ci import ScriptedCi
from tests.fakes.web_html import POLICY, Html, badge, el, form, join, page
from tests.fakes.web_pulls import pull_list, pull_page
from tests.fakes.web_tickets import ticket_list, ticket_page
from tests.fakes.world import LABEL, REPOSITORY, World

MOST = 1024**2
"""Bytes of a form."""
_TICKET = re.compile(r"/browse/([A-Za-z0-9_-]+)(?:/(comment|label|move))?")
_PULL = re.compile(rf"/{re.escape(REPOSITORY)}/pull/(\d+)(?:/(comment|review|commit|merge|close|reopen|check))?")
_AGAIN = re.compile(r"/webhooks/(jira|github)/(\d+)")

Fields = Mapping[str, str]


class Nothing(Exception):
    """There is no such page."""


class WebView:
    """Serves in threads from entering to leaving. Raises OSError where the port is taken."""

    def __init__(self, world: World, ci: ScriptedCi, *, port: int = 0) -> None:
        self.world, self.ci = world, ci
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.view = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> WebView:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="web-view").start()
        self.world.show_pages_at(self.url)
        return self

    def __exit__(self, *exc: object) -> None:
        self.world.show_pages_at("")
        self._server.shutdown()
        self._server.server_close()

    # --- pages --------------------------------------------------------------------------------

    def shown(self, path: str, *, follow: bool) -> Html:
        """The page at a path; Nothing, KeyError."""
        world = self.world
        if path == "/":
            with world.github.hub.lock:
                return page("Tickets and pull requests", ticket_list(world), pull_list(world), follow=follow)
        if path == "/webhooks":
            return page("Webhooks", self._deliveries(), follow=follow, path=path)
        if path == "/connect":
            return page("Connect", self._connect(), path=path)
        if (found := _TICKET.fullmatch(path)) and not found[2]:
            issue = world.jira.state.data.find(found[1])
            if issue is None:
                raise Nothing
            return page(issue.key, ticket_page(world, issue), follow=follow, path=path)
        if (found := _PULL.fullmatch(path)) and not found[2]:
            with world.github.hub.lock:
                return page(f"Pull request #{found[1]}", pull_page(world, int(found[1])), follow=follow, path=path)
        raise Nothing

    def _deliveries(self) -> Html:
        rows = []
        sources: dict[str, list[Any]] = {
            "jira": self.world.jira.deliveries,
            "github": self.world.github.webhooks.deliveries,
        }
        for name, sent in sources.items():
            for number, delivery in reversed([*enumerate(sent)]):
                kind = "good" if 200 <= delivery.status < 300 else "bad" if delivery.status else ""
                action = getattr(delivery, "action", "")
                again = form(f"/webhooks/{name}/{number}", button="Send it again", kind="quiet")
                event = f"{delivery.event} {action}".strip()
                answer = badge(str(delivery.status or "no answer"), kind)
                rows.append(el("tr", el("td", name), el("td", event), el("td", answer), el("td", again)))
        head = el("thead", el("tr", [el("th", text) for text in ("From", "Event", "Answered", "")]))
        none = el("p", "None were sent. Give --webhooks with the address of `sdlc serve`.", class_="soft")
        table = el("table", head, el("tbody", rows), class_="rows")
        return join(el("h1", "Webhooks that were sent"), el("div", table, class_="wide") if rows else none)

    def _connect(self) -> Html:
        text = yaml.safe_dump(self.world.settings(web_port=8080), sort_keys=False)
        said = "What `sdlc.yaml` has to say to work with these two. The tokens are good for nothing else."
        where = el(
            "dl",
            *(el("dt", "Jira"), el("dd", f"{self.world.jira.url} ({self.world.jira.flavour})")),
            *(el("dt", "GitHub's API"), el("dd", self.world.github.url)),
            *(el("dt", "Repository"), el("dd", self.world.repository.clone_url)),
        )
        return join(el("h1", "Connect"), where, el("p", said), el("pre", text))

    # --- deeds --------------------------------------------------------------------------------

    def done(self, path: str, fields: Fields) -> str:
        """Do what a form asks for; the path to go on to. Nothing, KeyError, ApiError, JiraProblem, GitFailed."""
        if path == "/tickets":
            labels = (LABEL,) if fields.get("label") == LABEL else ()
            key = self.world.add_ticket(fields["title"], fields.get("body", ""), by=fields["by"], labels=labels)
            return f"/browse/{key}"
        if (found := _TICKET.fullmatch(path)) and found[2]:
            self._to_ticket(found[1], found[2], fields)
            return f"/browse/{found[1]}"
        if (found := _PULL.fullmatch(path)) and found[2]:
            self._to_pull(int(found[1]), found[2], fields)
            return path.rpartition("/")[0]
        if found := _AGAIN.fullmatch(path):
            return self._redelivered(found[1], int(found[2]))
        raise Nothing

    def _to_ticket(self, key: str, deed: str, fields: Fields) -> None:
        jira, by = self.world.jira, fields["by"]
        if deed == "comment":
            jira.comment_as(by, key, self.world.written(fields["text"]))
        elif deed == "move":
            jira.move_as(by, key, fields["status"])
        elif LABEL in jira.issues[key].labels:
            jira.edit_as(by, key, labels=[label for label in jira.issues[key].labels if label != LABEL])
        else:
            self.world.make_ready(by, key)

    def _to_pull(self, number: int, deed: str, fields: Fields) -> None:
        repository, pull = self.world.repository, self.world.repository.pull(number)
        by, text = fields.get("by", ""), fields.get("text", "").replace("\r\n", "\n")
        deeds: dict[str, Callable[[], object]] = {
            "comment": lambda: repository.comment(number, text, by=by),
            "review": lambda: repository.review(number, by=by, event=fields["event"], body=text),
            "merge": lambda: repository.merge(number, by=by),
            "close": lambda: repository.close(number, by=by),
            "reopen": lambda: repository.reopen(number, by=by),
            "check": lambda: self.ci.end(fields["conclusion"]),
            "commit": lambda: repository.commit(
                pull.head,
                {fields["file"]: (repository.read(pull.head, fields["file"]) or "") + text.rstrip("\n") + "\n"},
                fields.get("message") or "A change by hand",
                by=by,
            ),
        }
        deeds[deed]()

    def _redelivered(self, source: str, number: int) -> str:
        if source == "jira":
            self.world.jira.sender.redeliver(self.world.jira.deliveries[number])
        else:
            self.world.github.webhooks.redeliver(self.world.github.webhooks.deliveries[number])
        return "/webhooks"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    view: WebView


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is for what the runs say."""

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        self._answer(lambda: self.server.view.shown(parts.path, follow="follow" in parts.query))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST:
            self.close_connection = True
            return self._send(413, _sorry("That is more than a form may have."))
        sent = urllib.parse.parse_qsl(self.rfile.read(length).decode(errors="replace"), keep_blank_values=True)
        return self._answer(lambda: self.server.view.done(self.path, dict(sent)))

    def _answer(self, deed: Callable[[], str]) -> None:
        try:
            made = deed()
        except Nothing:
            return self._send(404, _sorry("There is no such page."))
        except (KeyError, IndexError, StopIteration) as error:
            return self._send(404, _sorry(f"There is no {error}."))
        except (ApiError, JiraProblem, GitFailed) as error:
            return self._send(422, _sorry(f"It was refused: {_why(error)}"))
        if isinstance(made, Html):
            return self._send(200, made)
        return self._send(303, Html(""), made)

    def _send(self, status: int, body: Html, location: str = "") -> None:
        data = body.encode(errors="replace")
        self.send_response(status)
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(data)),
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**headers, **({"Location": location} if location else {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _sorry(text: str) -> Html:
    return page("Not done", el("h1", "That was not done"), el("p", text))


def _why(error: ApiError | JiraProblem | GitFailed) -> str:
    if isinstance(error, ApiError):
        details = error.body.get("errors") or []
        texts = [one if isinstance(one, str) else one.get("message") or str(one) for one in details]
        return " ".join([error.body["message"], *texts])
    return " ".join(error.messages) if isinstance(error, JiraProblem) else str(error)
