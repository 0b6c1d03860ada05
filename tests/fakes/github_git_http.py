"""Git over smart HTTP for the fake GitHub: tokens by basic authentication, `git http-backend` for the rest."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fakes.github_bare import environment
from tests.fakes.github_call import token_of
from tests.fakes.github_errors import ApiError
from tests.fakes.github_hub import Hub
from tests.fakes.github_state import Repo, Token

_PATH = re.compile(r"/(?P<owner>[^/]+)/(?P<repo>[^/]+?)(?:\.git)?/(?P<rest>info/refs|git-upload-pack|git-receive-pack)")
TIMEOUT = 60.0
"""Seconds for which git may work on one request."""


def is_git(path: str) -> bool:
    """Is it a path of the smart protocol?"""
    return _PATH.fullmatch(path) is not None


@dataclass(frozen=True)
class GitRequest:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_git(self) -> bool:
        return is_git(self.path)

    @property
    def writes(self) -> bool:
        return "git-receive-pack" in (self.path.rsplit("/", 1)[-1], self.query.removeprefix("service="))


@dataclass(frozen=True)
class GitAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def serve(hub: Hub, request: GitRequest) -> GitAnswer:
    """Answer one request of a git client; a push is seen by pull requests and webhooks when git is through."""
    found = _PATH.fullmatch(request.path)
    if found is None:
        return _refused(404, "Not Found")
    with hub.lock:
        try:
            token = token_of(hub.state, request.headers.get("authorization", ""))
        except ApiError:
            return _refused(401, "Invalid username or token. Password authentication is not supported.")
        if token.kind == "jwt":
            return _refused(401, "Invalid username or token. Password authentication is not supported.")
        repo = hub.state.find_repository(f"{found['owner']}/{found['repo']}")
        if refusal := _refusal(hub, repo, token, request):
            return refusal
    if repo is None:
        return _refused(404, "Repository not found.")
    path = f"/{repo.full_name}.git/{found['rest']}"
    if not (request.writes and request.method == "POST"):
        return _backend(hub, path, request, token.login)
    with hub.lock:
        hub.remember()
        before = repo.bare.refs()
        answer = _backend(hub, path, request, token.login, without_workflows=_without_workflows(token))
        after = repo.bare.refs()
        for ref in sorted(before.keys() | after.keys()):
            if before.get(ref) != after.get(ref):
                hub.ref_moved(repo, ref, before.get(ref, ""), after.get(ref, ""), token.login)
        return answer


def _refusal(hub: Hub, repo: Repo | None, token: Token, request: GitRequest) -> GitAnswer | None:
    if token.kind == "anonymous" and (repo is None or repo.private or request.writes):
        return _refused(401, "No anonymous access.")
    if repo is None or not hub.state.sees(token, repo):
        return _refused(404, "Repository not found.")
    if token.kind in ("installation", "fine-grained"):
        allowed = token.permissions.get("contents", "")
        if not allowed or (request.writes and allowed != "write"):
            return _refused(403, f"Permission to {repo.full_name}.git denied to {token.login}.")
    if not request.writes:
        return None
    if token.kind != "installation" and not hub.state.at_least(token.login, repo, "write"):
        return _refused(403, f"Permission to {repo.full_name}.git denied to {token.login}.")
    if token.kind == "classic" and not {"repo", "public_repo"} & set(token.scopes):
        return _refused(403, f"Permission to {repo.full_name}.git denied to {token.login}.")
    if repo.archived:
        return _refused(403, "This repository was archived so it is read-only.")
    return None


def _refused(status: int, message: str) -> GitAnswer:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="GitHub"'
    return GitAnswer(status, headers, message.encode())


def _without_workflows(token: Token) -> str:
    """What kind of token this is, if it may not change workflows; "" if it may."""
    if token.kind == "classic":
        return "" if "workflow" in token.scopes else "a Personal Access Token without `workflow` scope"
    if token.permissions.get("workflows") == "write":
        return ""
    return "a GitHub App without `workflows` permission" if token.kind == "installation" else "a Personal Access Token"


def _backend(hub: Hub, path: str, request: GitRequest, login: str, *, without_workflows: str = "") -> GitAnswer:
    variables = {
        **environment(),
        "GIT_PROJECT_ROOT": str(hub.state.folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": path,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "REMOTE_USER": login or "anonymous",
        "REMOTE_ADDR": "127.0.0.1",
        "WITHOUT_WORKFLOWS": without_workflows,
    }
    for header, name in (("content-encoding", "HTTP_CONTENT_ENCODING"), ("git-protocol", "GIT_PROTOCOL")):
        if value := request.headers.get(header):
            variables[name] = value
    started = time.monotonic()
    done = subprocess.run(
        ["git", "http-backend"], env=variables, input=request.body, capture_output=True, timeout=TIMEOUT
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    if done.returncode and not head:
        text = f"git http-backend failed after {time.monotonic() - started:.1f} s: {done.stderr.decode()}"
        return GitAnswer(500, {"Content-Type": "text/plain"}, text.encode())
    headers = {}
    status = 200
    for line in head.decode().split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "status":
            status = int(value.split(" ")[0])
        elif name:
            headers[name] = value
    return GitAnswer(status, headers, body)
