"""A token on its way to git: real git, real HTTP, and nothing of it left where it could be read."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sdlc.errors import ConfigurationError, PermissionDenied, RepositoryInvalid
from sdlc.integrations.git.askpass import Credential, TokenGit, _is_limited, host_of, prepared_helper
from sdlc.integrations.git.clones import Clones
from sdlc.integrations.git.push import publish, push_branch, refs_of
from sdlc.integrations.git.runner import Git
from tests.repositories import Checkout, git, new_bare, new_checkout

TOKEN = "ghs_planted$(id)'\"`secret"


class GitOverHttp:
    """`git http-backend` behind a password."""

    def __init__(self, root: Path, password: str) -> None:
        self.password = password
        self.redirect_to = ""
        self.given: list[str] = []
        """Credentials that came, decoded."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self) -> None:
                body = self._body()
                if outer.redirect_to:
                    self.send_response(302)
                    self.send_header("Location", f"{outer.redirect_to}{self.path}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                header = self.headers.get("Authorization", "")
                if header:
                    outer.given.append(base64.b64decode(header.removeprefix("Basic ")).decode())
                if outer.given[-1:] != [f"x-access-token:{outer.password}"] or not header:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._backend(body)

            def _body(self) -> bytes:
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    parts = []
                    while size := int(self.rfile.readline(), 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _backend(self, body: bytes) -> None:
                path, _, query = self.path.partition("?")
                env = {
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "GIT_CONFIG_NOSYSTEM": "1",
                    "GIT_CONFIG_GLOBAL": os.devnull,
                    "REMOTE_USER": "somebody",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                }
                done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, timeout=30)
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
                status = next((value for name, value in lines if name == "Status"), "200")
                self.send_response(int(status.split()[0]))
                for name, value in lines:
                    if name != "Status":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> GitOverHttp:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@dataclass
class Given:
    """Credentials for one host, a new password after each refusal."""

    host: str
    passwords: list[str]
    asked: list[str] = field(default_factory=list)

    async def of(self, address: str) -> Credential | None:
        self.asked.append(address)
        if host_of(address) != self.host:
            return None
        return Credential(host=self.host, user="x-access-token", password=self.passwords[0])

    async def refused(self, credential: Credential) -> bool:
        if len(self.passwords) > 1:
            self.passwords.pop(0)
            return True
        return False


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return new_checkout(tmp_path / "work", {"a.txt": "one\n"})


@pytest.fixture
def server(tmp_path: Path, checkout: Checkout) -> Iterator[GitOverHttp]:
    bare = new_bare(checkout, tmp_path / "srv" / "acme" / "parcel.git")
    git(bare, "config", "http.receivepack", "true")
    with GitOverHttp(tmp_path / "srv", TOKEN) as server:
        yield server


def token_git(tmp_path: Path, server: GitOverHttp, *passwords: str) -> TokenGit:
    return TokenGit(home=tmp_path / "cache" / "git", credentials=Given(server.url, list(passwords or (TOKEN,))))


async def test_a_token_fetches_and_pushes_and_stands_in_no_file(
    tmp_path: Path, server: GitOverHttp, checkout: Checkout
) -> None:
    runner = token_git(tmp_path, server)
    clone = Clones(runner, tmp_path / "cache" / "repositories").of(f"{server.url}/acme/parcel.git")
    await clone.require(checkout.head)
    await push_branch(clone, "sdlc/BUG-1", checkout.head, expected=None)
    await publish(clone, "refs/sdlc/r1/1", checkout.head)

    refs = await refs_of(runner, clone.address)
    assert refs["refs/heads/sdlc/BUG-1"] == refs["refs/sdlc/r1/1"] == checkout.head
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if b"planted" in path.read_bytes()] == []
    assert "planted" not in repr(await Given(server.url, [TOKEN]).of(server.url))


async def test_without_credentials_the_same_address_is_refused(tmp_path: Path, server: GitOverHttp) -> None:
    with pytest.raises(RepositoryInvalid, match="needs credentials"):
        await refs_of(Git(home=tmp_path / "git"), f"{server.url}/acme/parcel.git")
    assert server.given == []


async def test_a_token_that_is_refused_is_renewed_once(tmp_path: Path, server: GitOverHttp, checkout: Checkout) -> None:
    runner = token_git(tmp_path, server, "old", TOKEN)
    assert await refs_of(runner, f"{server.url}/acme/parcel.git")


@pytest.mark.parametrize("passwords", [("old",), ("old", "older")])
async def test_a_token_that_stays_refused_is_a_missing_permission(
    tmp_path: Path, server: GitOverHttp, passwords: tuple[str, ...]
) -> None:
    with pytest.raises(PermissionDenied, match="refused the token"):
        await refs_of(token_git(tmp_path, server, *passwords), f"{server.url}/acme/parcel.git")


async def test_a_redirect_to_another_host_gets_no_token(tmp_path: Path, server: GitOverHttp) -> None:
    with GitOverHttp(tmp_path / "srv", TOKEN) as other:
        server.redirect_to = other.url
        with pytest.raises((RepositoryInvalid, PermissionDenied)):
            await refs_of(token_git(tmp_path, server), f"{server.url}/acme/parcel.git")
        assert other.given == []


async def test_another_host_is_asked_without_a_token(tmp_path: Path, server: GitOverHttp) -> None:
    runner = TokenGit(home=tmp_path / "git", credentials=Given("https://github.example", [TOKEN]))
    with pytest.raises(RepositoryInvalid, match="needs credentials"):
        await refs_of(runner, f"{server.url}/acme/parcel.git")
    assert server.given == []


async def test_a_command_without_a_remote_never_sees_the_token(tmp_path: Path, server: GitOverHttp) -> None:
    credentials = Given(server.url, [TOKEN])
    runner = TokenGit(home=tmp_path / "git", credentials=credentials)
    await runner.run("version")
    assert credentials.asked == []
    assert isinstance(runner.on(tmp_path), TokenGit)


def test_the_program_answers_for_its_host_only(tmp_path: Path) -> None:
    helper = prepared_helper(tmp_path)
    env = Credential("https://github.example:8443", "x-access-token", TOKEN).environment(helper)

    def answer(question: str) -> tuple[int, str]:
        done = subprocess.run([str(helper), question], env={**env, "PATH": os.environ["PATH"]}, capture_output=True)
        return done.returncode, done.stdout.decode()

    assert answer("Username for 'https://github.example:8443': ") == (0, "x-access-token\n")
    assert answer("Password for 'https://x-access-token@github.example:8443': ") == (0, f"{TOKEN}\n")
    for question in (
        "Password for 'https://x-access-token@github.example': ",
        "Password for 'https://x-access-token@github.example:8443.evil.example': ",
        "Password for 'http://x-access-token@github.example:8443': ",
        "Password for 'https://evil.example': ",
        "Username for 'https://evil.example/https://github.example:8443': ",
        "Enter passphrase for key '/root/.ssh/id': ",
        "",
    ):
        assert answer(question) == (1, "")
    assert "planted" not in helper.read_text()
    assert helper.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be written"):
        prepared_helper(tmp_path / "file")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://GitHub.com/acme/parcel.git", "https://github.com"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("https://[::1]:8/x", "https://[::1]:8"),
        ("ssh://git@github.com/x", ""),
        ("git@github.com:acme/parcel", ""),
        ("/srv/parcel", ""),
        ("https://host:nan/x", ""),
        ("", ""),
    ],
)
def test_only_web_addresses_have_a_host_for_tokens(address: str, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("stderr", "limited"),
    [
        ("fatal: unable to access 'https://x/': The requested URL returned error: 429", True),
        ("remote: You have exceeded a secondary rate limit.\nfatal: unable to access: returned error: 403", True),
        ("error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403", True),
        ("remote: Permission to acme/parcel.git denied to bot.\nfatal: The requested URL returned error: 403", False),
        ("fatal: The requested URL returned error: 503", False),
        ("", False),
    ],
)
def test_a_host_that_wants_fewer_requests_is_told_from_one_that_refuses(stderr: str, limited: bool) -> None:
    assert _is_limited(stderr) is limited
