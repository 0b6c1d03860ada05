"""A GitHub of one's own: the REST API as Enterprise has it, git over HTTP, and signed webhooks, on a free port.

    with GitHubServer() as github:
        github.add_user("maria")
        repository = github.add_repository("acme/parcel", files={"a.py": "x = 1\n"}, collaborators={"bot": "write"})
        token = github.add_token("bot")
        Github(base_url=github.url, auth=Auth.Token(token), retry=None)
        git clone http://x-access-token:<token>@…/acme/parcel.git

People act by `repository.review(…)`, `comment`, `commit` and so on. `github.fail(Fault(…))` lets requests go
wrong, before or after their effect. `github.exchanges` are the requests that were answered, for `openapi.py`.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes import github_routes_checks, github_routes_code, github_routes_issues, github_routes_pulls
from tests.fakes.faults import Fault, Faults
from tests.fakes.github_bare import Bare
from tests.fakes.github_call import Answer, Call, Routes, SpentByGraphql, etag, spend, token_headers, token_of
from tests.fakes.github_errors import DOCUMENTATION, ApiError, not_found
from tests.fakes.github_git_http import GitAnswer, GitRequest, is_git, serve
from tests.fakes.github_hub import Hub
from tests.fakes.github_people import FakeRepository
from tests.fakes.github_state import Account, App, Repo, State, Token, new_token
from tests.fakes.github_webhooks import Webhooks

PREFIX = "/api/v3"
GRAPHQL = "/api/graphql"
ACTIONS_APP = 15368
"""The id of the App that is GitHub Actions."""
SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "For more on scraping GitHub and how it may affect your rights, please review our Terms of Service."
)
PERMISSIONS = {
    "metadata": "read",
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "statuses": "write",
    "checks": "write",
    "actions": "read",
    "administration": "read",
}
"""What an App or fine-grained token may do where nothing else is said."""


@dataclass(frozen=True)
class Exchange:
    """A request to the API and what was answered; `path` is below the root of the API, as it was sent."""

    method: str
    template: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes


class GitHubServer:
    """Starts on entering, stops on leaving. State may be read at any time; it is changed by methods only."""

    def __init__(self, folder: Path | None = None, *, port: int = 0) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="fake-github-"))
        self.faults = Faults()
        self.exchanges: list[Exchange] = []
        self.requests: list[tuple[str, str]] = []
        """(method, path) of all that came, answered or not, git included."""
        self.limit_status = 403
        """What a spent primary limit is answered with: 403 or 429, GitHub uses both."""
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self._thread: threading.Thread | None = None
        self.git_url = f"http://127.0.0.1:{self._server.server_port}"
        self.url = self.git_url + PREFIX
        self.hub = Hub(State(self.folder), self.url, self.git_url)
        self.routes = _routes()
        self._add_account("github", "Organization")
        self._add_account("github-actions[bot]", "Bot")
        self.hub.state.apps[ACTIONS_APP] = App(
            ACTIONS_APP, "github-actions", "github", "", "", 1, {"checks": "write", "metadata": "read"}
        )

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> GitHubServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        if self._thread:
            self._thread.join(timeout=5)
        self.webhooks.close()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def webhooks(self) -> Webhooks:
        return self.hub.webhooks

    def fail(self, fault: Fault) -> None:
        """Let the next requests that the fault fits go wrong."""
        self.faults.add(fault)

    # --- what there is ------------------------------------------------------------------------

    def repository(self, full_name: str) -> FakeRepository:
        """A repository that was added; raises KeyError."""
        return FakeRepository(self.hub, self.hub.state.repositories[full_name.lower()])

    def add_repository(
        self,
        full_name: str,
        *,
        files: Mapping[str, str | bytes | None] | None = None,
        collaborators: Mapping[str, str] | None = None,
        private: bool = True,
        default_branch: str = "main",
    ) -> FakeRepository:
        """A repository with one commit of these files ({}: an empty commit; None: no commit at all).

        Owner and collaborators are made where they are not there; the owner as an organisation.
        """
        owner, _, name = full_name.partition("/")
        with self.hub.lock:
            self._add_account(owner, "Organization")
            for login in collaborators or {}:
                self._add_account(login)
            bare = Bare(self.folder / owner / f"{name}.git")
            bare.create(default_branch)
            repo = Repo(self.hub.state.new_id(), owner, name, bare, private, default_branch=default_branch)
            repo.collaborators = dict(collaborators or {})
            self.hub.state.repositories[full_name.lower()] = repo
            if files is not None:
                author = (owner, f"{owner}@example.org")
                bare.set_ref(
                    f"refs/heads/{default_branch}", bare.commit_files("", dict(files), "the first", author=author)
                )
        return FakeRepository(self.hub, repo)

    def _add_account(self, login: str, kind: Any = "User", **details: Any) -> Account:
        accounts = self.hub.state.accounts
        return accounts.setdefault(login.lower(), Account(self.hub.state.new_id(), login, kind, **details))

    def add_user(self, login: str, *, name: str | None = None, email: str | None = None) -> Account:
        with self.hub.lock:
            return self._add_account(login, name=name, email=email)

    # --- tokens -------------------------------------------------------------------------------

    def add_token(
        self, login: str, *, scopes: tuple[str, ...] = ("repo", "workflow"), expires_in: float | None = None
    ) -> str:
        """A classic personal token, which holds for `expires_in` seconds (None: for ever)."""
        expires = None if expires_in is None else time.time() + expires_in
        return self._add_token(Token(new_token("ghp_"), login, "classic", scopes, expires=expires))

    def add_fine_grained_token(
        self,
        login: str,
        *,
        permissions: Mapping[str, str] = PERMISSIONS,
        repositories: set[str] | None = None,
        expires_in: float = 86400.0,
    ) -> str:
        """A personal token with permissions for some repositories (None: all of its person)."""
        value = new_token("github_pat_")
        expires = time.time() + expires_in
        return self._add_token(Token(value, login, "fine-grained", (), dict(permissions), repositories, expires))

    def _add_token(self, token: Token) -> str:
        with self.hub.lock:
            self._add_account(token.login)
            self.hub.state.tokens[token.value] = token
        return token.value

    def token(self, value: str) -> Token:
        """A token as the server knows it: its limits, its end; raises KeyError."""
        return self.hub.state.tokens[value]

    def revoke(self, value: str) -> None:
        with self.hub.lock:
            del self.hub.state.tokens[value]

    def spend_limit(self, value: str, *, reset_in: float = 60.0, remaining: int = 0) -> None:
        """Let a token have `remaining` requests left until its limit is reset, in so many seconds."""
        token = self.token(value)
        token.remaining, token.reset = remaining, time.time() + reset_in

    def add_app(
        self,
        slug: str,
        owner: str,
        *,
        permissions: Mapping[str, str] = PERMISSIONS,
        repositories: set[str] | None = None,
        token_seconds: int = 3600,
    ) -> App:
        """A GitHub App installed on `owner`; its `private_key` signs the JWTs it asks for tokens with."""
        with self.hub.lock:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            private = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            state = self.hub.state
            self._add_account(owner, "Organization")
            app = App(
                id=state.new_id(),
                slug=slug,
                owner=owner,
                private_key=private.decode(),
                public_key=public.decode(),
                installation_id=state.new_id(),
                permissions=dict(permissions),
                repositories=repositories,
            )
            state.apps[app.id] = app
            self._add_account(app.login, "Bot")
            self.hub.token_seconds = token_seconds
            return app

    # --- one request --------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, stale: bool) -> Answer:
        """Answer a request to the API; `stale`: with what was there before the last change."""
        parts = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        with self.hub.lock:
            hub = self.hub
            if stale and method == "GET" and hub.before:
                hub = Hub(hub.before, self.url, self.git_url)
            token: Token | None = None
            try:
                if not headers.get("user-agent"):
                    raise ApiError(
                        403,
                        "Request forbidden by administrative rules. "
                        "Please make sure your request has a User-Agent header.",
                    )
                token = token_of(self.hub.state, headers.get("authorization", ""))
                if parts.path != f"{PREFIX}/rate_limit":
                    spend(token, self.limit_status, graphql=parts.path == GRAPHQL)
                answer = self._routed(hub, token, method, parts.path, query, headers, body)
            except SpentByGraphql as error:
                answer = Answer(200, {"errors": [{"type": "RATE_LIMITED", "message": str(error)}]})
            except ApiError as error:
                answer = Answer(error.status, error.body, dict(error.headers))
                self._record(method, parts.path, query, headers, body, answer)
            if token:
                answer.headers = {**token_headers(token), **answer.headers}
        return answer

    def _routed(
        self,
        hub: Hub,
        token: Token,
        method: str,
        path: str,
        query: dict[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        call = Call(hub, method, path.removeprefix(PREFIX), query, headers, body, token)
        if path == GRAPHQL and method == "POST":
            hub.remember()
            return github_routes_checks.graphql(call)
        found = self.routes.find(method, call.path) if path.startswith(f"{PREFIX}/") else None
        if found is None:
            if path in (PREFIX, f"{PREFIX}/") and method == "GET":
                return Answer(200, {"current_user_url": f"{self.url}/user"})
            raise not_found()
        route, params = found
        if method != "GET":
            hub.remember()
        call.template = route.template
        answer = route.handler(call, params)
        if method == "GET" and answer.status == 200:
            tag = etag(token, answer.data)
            answer.headers |= {"ETag": tag, "Cache-Control": "private, max-age=60, s-maxage=60"}
            if headers.get("if-none-match") in (tag, tag.removeprefix("W/")):
                # An answer that nothing has changed costs nothing of the limit.
                token.remaining += 1
                answer = Answer(304, None, answer.headers)
        self._record(method, path, query, headers, body, answer)
        return answer

    def _record(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, answer: Answer
    ) -> None:
        found = self.routes.find(method, path.removeprefix(PREFIX))
        if not found:
            return
        route, params = found
        media = {"Content-Type": answer.media} if answer.body is not None else {}
        self.exchanges.append(
            Exchange(
                method,
                route.template,
                path.removeprefix(PREFIX),
                params,
                query,
                dict(headers),
                body,
                answer.status,
                {**answer.headers, **media},
                answer.data,
            )
        )

    def log_of(self, signature: str, headers: Mapping[str, str]) -> GitAnswer:
        """What the store of logs answers: to a signed address only, and never to one who brings a token along."""
        text, until = self.hub.state.downloads.get(signature, ("", 0.0))
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        if headers.get("authorization"):
            return GitAnswer(
                403, plain, b"Server failed to authenticate the request: an Authorization header is in it."
            )
        if until < time.time():
            return GitAnswer(404, plain, b"The specified blob does not exist.")
        return GitAnswer(200, plain, text.encode())


def _routes() -> Routes:
    routes = Routes()
    github_routes_checks.add_to(routes)
    github_routes_code.add_to(routes)
    github_routes_pulls.add_to(routes)
    github_routes_issues.add_to(routes)
    github_routes_code.one_commit(routes)
    return routes


# --- HTTP -----------------------------------------------------------------------------------------


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    owner: GitHubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Cut(Exception):
    """The connection was cut."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    server: _Server

    def do_GET(self) -> None:
        with contextlib.suppress(_Cut):
            self._serve(self._body())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is no place for it."""

    @property
    def _owner(self) -> GitHubServer:
        return self.server.owner

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _serve(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        self._owner.requests.append((self.command, path))
        fault = None if path.startswith("/_logs/") else self._owner.faults.take(self.command, path)
        if fault and fault.kind == "slow":
            self._owner._stopping.wait(fault.seconds)
        strikes = fault is not None and fault.kind in ("status", "reset", "hang", "secondary")
        if fault and strikes and not fault.after:
            return self._strike(fault, path)
        status, headers, data = self._done(path, body, stale=fault is not None and fault.kind == "stale")
        if fault and strikes:
            return self._strike(fault, path)
        return self._send(status, headers, data)

    def _done(self, path: str, body: bytes, *, stale: bool) -> tuple[int, Mapping[str, str], bytes]:
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner = self._owner
        if path.startswith("/_logs/"):
            log = owner.log_of(path.removeprefix("/_logs/"), headers)
            return log.status, log.headers, log.body
        request = GitRequest(self.command, urllib.parse.unquote(path), self.path.partition("?")[2], headers, body)
        if request.is_git:
            done = serve(owner.hub, request)
            return done.status, done.headers, done.body
        answer = owner.answer(self.command, self.path, headers, body, stale=stale)
        media = {"Content-Type": answer.media} if answer.body is not None else {}
        return answer.status, {**media, **answer.headers}, answer.data

    def _strike(self, fault: Fault, path: str) -> None:
        if fault.kind == "hang":
            self._owner._stopping.wait(600)
        if fault.kind in ("hang", "reset"):
            # With lingering off, closing sends a reset and not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            self.close_connection = True
            raise _Cut
        status, message, headers = fault.status, fault.message, dict(fault.headers)
        if fault.kind == "secondary":
            status, message = 403, message or SECONDARY
            headers = {"Retry-After": "60", **headers}
        message = message or _MESSAGES.get(status, "Error")
        body = Answer(status, {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)})
        if is_git(path):
            # Git shows what it is told in plain text only.
            body = Answer(status, message, media="text/plain; charset=utf-8")
        self._send(status, {"Content-Type": body.media, **headers}, body.data)

    def _send(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.send_response(status)
        self.send_header("X-GitHub-Request-Id", uuid.uuid4().hex[:16].upper())
        self.send_header("X-GitHub-Media-Type", "github.v3; format=json")
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(data)


_MESSAGES = {
    401: "Bad credentials",
    403: "Resource not accessible by integration",
    404: "Not Found",
    409: "Conflict",
    422: "Validation Failed",
    429: "API rate limit exceeded",
    500: "Server Error",
    502: "Server Error",
    503: "Service unavailable",
}
