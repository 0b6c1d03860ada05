"""A Jira that keeps state, over real HTTP: Cloud or Data Center. No kinder than the service.

    with JiraServer("cloud") as jira:
        jira.add_issue("ACME-1", "Parcels get lost", labels=["ai-ready"])
        client = JIRA(jira.url, basic_auth=jira.login(), timeout=(5, 30), max_retries=0)

Known by default: the project ACME, the users `bot` (ours), `alice` and `bob` (developers), `carol`, `root`
(administrator), and a workflow of four statuses: on Cloud one where each can be reached from each
(`simplified_workflow`), on Data Center a `strict_workflow`. All can be changed while it runs: `users`, `workflow`,
`webhooks`, `fail(Fault(…))`, `limit(…)`. What people do is `comment_as`, `move_as`, `edit_as`, `delete_as`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

# Handlers register themselves.
from tests.fakes import jira_comments, jira_issues, jira_people, jira_search  # noqa: F401
from tests.fakes.faults import Fault, Faults
from tests.fakes.jira_api import NO_ISSUE, Answer, Call, Route, find
from tests.fakes.jira_changes import Changes
from tests.fakes.jira_door import Door, Limit, Refused, text_of
from tests.fakes.jira_state import (
    Attachment,
    Comment,
    Field,
    Flavour,
    Issue,
    IssueLink,
    JiraProblem,
    RichText,
    State,
    Transition,
    User,
    Workflow,
    simplified_workflow,
    strict_workflow,
)
from tests.fakes.jira_webhooks import Delivery, Sender, Webhook
from tests.fakes.jira_wire import error_body

__all__ = [
    "Fault",
    "Field",
    "JiraServer",
    "Request",
    "Transition",
    "User",
    "Webhook",
    "simplified_workflow",
    "strict_workflow",
]

CLOUD_ID = "11223344-a1b2-3b33-c444-def123456789"
_API = re.compile(r"/rest/api/(?P<version>2|3|latest)(?P<path>/.*)")


@dataclass(frozen=True)
class Request:
    """One that came in, and how it was answered."""

    method: str
    path: str
    query: str
    body: Any
    user: str
    """Name; "" for nobody."""
    status: int
    """0: the connection was cut, or nothing came."""
    effect: bool
    """Something was changed, whatever was answered."""
    fault: str = ""


def _people(flavour: Flavour) -> dict[str, User]:
    made = [
        User("bot", "SDLC Bot", groups=("jira-software-users",)),
        User("alice", "Alice Archer", groups=("jira-software-users", "developers")),
        User("bob", "Bob Baker", groups=("jira-software-users", "developers")),
        User("carol", "Carol Cook"),
        User("root", "Rita Root", groups=("jira-software-users", "jira-administrators")),
    ]
    for user in made:
        user.email = f"{user.name}@acme.example"
        user.secret, user.bearer = f"{user.name}-secret", f"{user.name}-bearer"
    made[0].account_type = "atlassian" if flavour == "cloud" else made[0].account_type
    made[-1].permissions |= {"ADMINISTER", "EDIT_ALL_COMMENTS", "DELETE_ALL_COMMENTS"}
    return {user.name: user for user in made}


class JiraServer:
    """Starts with `with`, `async with` or `start`; a free port of loopback unless one is named."""

    def __init__(self, flavour: Flavour = "cloud", *, port: int = 0) -> None:
        self.flavour: Flavour = flavour
        self.state = State(flavour)
        self.state.users = _people(flavour)
        self.door = Door(self.state)
        self.faults = Faults()
        self.sender = Sender(flavour)
        self.webhooks: list[Webhook] = []
        self.requests: list[Request] = []
        self.search_lag = 0.0
        """Seconds that the search index is behind."""
        self.page_cap = 100
        """The longest page of issues and comments that Cloud gives, whatever is asked for."""
        self.translate: Callable[[str], str] = lambda message: message
        """Jira words its errors in the language of the account: nobody may rely on English."""
        self._changes = Changes(self.state, self.sender, self.webhooks)
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._port = port
        self._server: _Server | None = None

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> JiraServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> JiraServer:
        self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.stop)

    def start(self) -> None:
        """Listen, in threads. Raises OSError if the port is taken."""
        self._closing.clear()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        self._changes.base = self.url
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="fake-jira").start()
        self.sender.start()

    def stop(self) -> None:
        """Close the port and all connections; state and port stay for another `start`."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._server = None
            self.sender.stop()

    @property
    def url(self) -> str:
        """Of the site: what a person would configure."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def oauth_url(self) -> str:
        """Where OAuth tokens are taken (Cloud): the site behind Atlassian's gateway."""
        return f"{self.url}/ex/jira/{CLOUD_ID}"

    def login(self, name: str = "bot") -> tuple[str, str]:
        """Basic authentication of a user: e-mail and API token on Cloud, name and password on Data Center."""
        user = self.users[name]
        return (user.email if self.state.cloud else user.name, user.secret)

    # --- looking and arranging ----------------------------------------------------------------

    @property
    def users(self) -> dict[str, User]:
        return self.state.users

    @property
    def workflow(self) -> Workflow:
        return self.state.workflow

    @workflow.setter
    def workflow(self, workflow: Workflow) -> None:
        self.state.workflow = workflow

    @property
    def issues(self) -> dict[str, Issue]:
        """By key."""
        return self.state.data.issues

    @property
    def links(self) -> list[IssueLink]:
        return self.state.data.links

    @property
    def deliveries(self) -> list[Delivery]:
        """Webhooks that were sent."""
        return self.sender.deliveries

    def comments(self, key: str) -> list[Comment]:
        """Of an issue, the oldest first."""
        return self.issues[key].comments

    def add_issue(self, key: str, summary: str, *, by: str = "alice", **fields: Any) -> Issue:
        """Make an issue as it is meant to be, with the attributes of `Issue`; no limits, rights or webhooks."""
        with self._lock:
            project = key.rpartition("-")[0]
            self.state.projects.setdefault(project, project.title())
            fields.setdefault("reporter", by)
            fields.setdefault("rank", self.state.new_rank())
            issue = Issue(self.state.new_id(), key, summary, **fields)
            self.issues[key] = issue
            return issue

    def add_link(self, source: str, target: str, kind: str = "Blocks") -> IssueLink:
        """`source` blocks `target`."""
        with self._lock:
            link = IssueLink(self.state.new_id(), kind, source, target)
            self.links.append(link)
            return link

    def add_attachment(self, key: str, filename: str, *, by: str = "alice") -> Attachment:
        issue = self.issues[key]
        attachment = Attachment(self.state.new_id(), filename, by, issue.created)
        issue.attachments.append(attachment)
        return attachment

    def revoke(self, name: str, *permissions: str) -> None:
        """Take permissions from a user."""
        self.users[name].permissions -= set(permissions)

    def fail(self, fault: Fault) -> None:
        """Let the next `fault.times` requests that it fits go wrong."""
        self.faults.add(fault)

    def limit(self, requests: int, seconds: float = 60.0, *, as_date: bool = False) -> None:
        """Let each user make so many requests in so many seconds, 429 for more; `as_date` for `Retry-After`."""
        self.door.limit = Limit(requests, seconds, as_date)

    def changes(self, part: str = "") -> list[Request]:
        """Requests that changed something, with `part` in their path."""
        return [request for request in self.requests if request.effect and part in request.path]

    # --- what people do -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _as(self, name: str) -> Iterator[User]:
        with self._lock:
            self.state.keep()
            yield self.users[name]

    def comment_as(self, name: str, key: str, body: RichText) -> Comment:
        with self._as(name) as user:
            return self._changes.commented(self.issues[key], user, body)

    def edit_comment_as(self, name: str, comment: Comment, body: RichText) -> None:
        """Somebody edits a comment, their own or with the right to edit all."""
        with self._as(name) as user:
            issue = next(issue for issue in self.issues.values() if comment in issue.comments)
            self._changes.comment_edited(issue, user, comment, body)

    def edit_as(self, name: str, key: str, **values: Any) -> None:
        """Set attributes of `Issue` (or custom fields by id)."""
        with self._as(name) as user:
            self._changes.edited(self.issues[key], user, values)

    def move_as(self, name: str, key: str, status: str) -> None:
        """Bring an issue to a status, by the workflow's transition there if it has one."""
        with self._as(name) as user:
            issue = self.issues[key]
            ways = [way for way in self.workflow.transitions if way.to == status and way.leaves(issue.status)]
            self._changes.transitioned(issue, user, ways[0] if ways else Transition("0", status, status), {})

    def delete_as(self, name: str, key: str) -> None:
        with self._as(name) as user:
            self._changes.deleted(self.issues[key], user)

    def rekey_as(self, name: str, key: str, project: str) -> str:
        """Move an issue to another project; returns its new key."""
        with self._as(name) as user:
            self.state.projects.setdefault(project, project.title())
            return self._changes.moved(self.issues[key], project, user)

    # --- answering (in the server's threads) --------------------------------------------------

    def answer(self, request: _Handler, fault: Fault | None) -> Answer:
        """Do what is asked; the lock is held only meanwhile."""
        with self._lock:
            try:
                return self._answer(request, fault)
            except Refused as refused:
                return refused.answer
            except JiraProblem as problem:
                problem.messages = [self.translate(message) for message in problem.messages]
                problem.errors = {name: self.translate(message) for name, message in problem.errors.items()}
                return Answer(problem.status, error_body(problem))

    def _answer(self, request: _Handler, fault: Fault | None) -> Answer:
        path, base = request.api_path, request.base
        if path == "/_edge/tenant_info" and self.state.cloud:
            return Answer(200, {"cloudId": CLOUD_ID})
        gateway = request.gateway or path == "/oauth/token/accessible-resources"
        user = self.door.who(request.headers.get("Authorization", ""), gateway=gateway, base=base)
        request.user = user.name if user else ""
        headers = self.door.count(user)
        if path == "/oauth/token/accessible-resources" and self.state.cloud and user is not None:
            scopes = list(user.scopes)
            return Answer(200, [{"id": CLOUD_ID, "name": "acme", "url": self.url, "scopes": scopes, "avatarUrl": ""}])
        match = _API.fullmatch(path)
        if match is None or (match["version"] == "3" and not self.state.cloud):
            return Answer(404, self._nothing_there(path), headers)
        route = find(request.command, match["path"], self.flavour)
        if isinstance(route, int):
            message = (
                self._nothing_there(path) if route == 404 else {"message": "Method Not Allowed", "status-code": 405}
            )
            return Answer(route, message, headers)
        version = 3 if match["version"] == "3" else 2
        answer = self._called(request, user, version, route, fault)
        common = {"X-AREQUESTID": f"{len(self.requests)}x{route[0].method}", **self._who_headers(user)}
        return replace(answer, headers={**headers, **common, **answer.headers})

    def _called(
        self,
        request: _Handler,
        user: User | None,
        version: int,
        found: tuple[Route, dict[str, str]],
        fault: Fault | None,
    ) -> Answer:
        route, arguments = found
        if request.gateway and user is not None:
            self.door.check_scope(user, request.api_path, reads=route.reads)
        before = self.state.before
        data, search_data = self.state.data, self.state.as_of(self.search_lag) if self.search_lag else None
        if fault is not None and fault.kind == "stale" and route.reads and before:
            data = search_data = before[-1][1]
        body = request.json(self.state.cloud, route.method)
        base, query, cap = request.base, request.query, self.page_cap
        call = Call(self.state, data, user, version, base, query, body, self._changes, cap, search_data)
        if route.reads:
            return route.handler(call, **arguments)
        if user is None:
            cloud = self.state.cloud
            raise JiraProblem(404, NO_ISSUE["cloud"]) if cloud else JiraProblem(401, "Login Required")
        self.state.keep()
        try:
            answer = route.handler(call, **arguments)
        except JiraProblem:
            before.pop()  # nothing was changed
            raise
        request.effect = True
        return answer

    def _who_headers(self, user: User | None) -> dict[str, str]:
        if self.state.cloud:
            return {"X-AACCOUNTID": user.account_id} if user else {}
        return {"X-AUSERNAME": user.name if user else "anonymous", "X-Seraph-LoginReason": "OK"}

    def _nothing_there(self, path: str) -> dict[str, Any]:
        if self.state.cloud:
            return {
                "timestamp": int(time.time() * 1000),
                "status": 404,
                "error": "Not Found",
                "message": "",
                "path": path,
            }
        return {"message": f"null for uri: {self.url}{path}", "status-code": 404}

    def wait(self, seconds: float) -> None:
        """Let time pass unless the server closes."""
        self._closing.wait(seconds)

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], jira: JiraServer) -> None:
        self.jira = jira
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Idle connections would keep their threads for ever."""
        for connection in list(self._connections):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to print a traceback about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = -1
    """Head and body go out together: in two packets, Nagle's algorithm makes each answer 40 ms late."""

    user = ""
    effect = False
    gateway = False
    api_path = base = ""
    query: dict[str, list[str]]
    _body = b""

    def log_message(self, format: str, *args: Any) -> None:
        """The log is `JiraServer.requests`."""

    def do_GET(self) -> None:
        jira = self.server.jira
        parts = urllib.parse.urlsplit(self.path)
        prefix = f"/ex/jira/{CLOUD_ID}"
        self.user, self.effect = "", False
        self.gateway = jira.flavour == "cloud" and parts.path.startswith(f"{prefix}/")
        self.base = jira.oauth_url if self.gateway else jira.url
        self.api_path = parts.path.removeprefix(prefix) if self.gateway else parts.path
        self.query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = jira.faults.take(self.command, self.api_path)
        answer = self._outcome(jira, fault)
        body: Any = self._body
        with contextlib.suppress(ValueError):
            body = json.loads(body) if body else None
        jira.record(
            Request(
                self.command,
                self.api_path,
                parts.query,
                body,
                self.user,
                answer.status if answer else 0,
                self.effect,
                fault.kind if fault else "",
            )
        )
        try:
            if answer is None:
                self._break_off(fault)
            else:
                self._send(answer)
        except OSError:
            self.close_connection = True

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _outcome(self, jira: JiraServer, fault: Fault | None) -> Answer | None:
        """The answer; None: there is none."""
        if fault is None or fault.kind in ("slow", "stale"):
            if fault is not None and fault.kind == "slow" and not fault.after:
                jira.wait(fault.seconds)
            answer = jira.answer(self, fault)
            if fault is not None and fault.kind == "slow" and fault.after:
                jira.wait(fault.seconds)
            return answer
        if fault.after:
            jira.answer(self, fault)
        return None if fault.kind in ("reset", "hang") else jira.door.refusal(fault, self.base)

    def json(self, cloud: bool, method: str) -> Any:
        """The body; JiraProblem, or Refused for what isn't called JSON."""
        if method == "GET":
            if self._body and cloud:
                raise Refused(Answer(403, "<html><body><h1>403 ERROR</h1><p>Bad request.</p></body></html>"))
            return None
        if not self._body:
            return None
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            raise Refused(Answer(415, {"message": "Unsupported Media Type", "status-code": 415}))
        try:
            return json.loads(self._body)
        except ValueError:
            raise JiraProblem(400, "There was an error parsing JSON. Check that your request body is valid.") from None

    def _break_off(self, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "hang":
            self.server.jira.wait(3_600)
        self.close_connection = True
        # Without lingering, closing sends a reset: what a crashed service looks like.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def _send(self, answer: Answer) -> None:
        kind, body = text_of(answer.body) if answer.body is not None else ("", b"")
        self.send_response(answer.status)
        if answer.body is not None:
            self.send_header("Content-Type", kind)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(body)
        self.wfile.flush()
