"""A fake Jira and a fake GitHub with the bundled demo in them, for people who try the whole way on one machine.

async with trial_world(folder) as world:
    world.settings(web_port=8080)      # what `sdlc.yaml` has to say to work with them
    world.send_webhooks("http://127.0.0.1:8080")
    world.make_ready("alice")          # the label that starts it
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sdlc.demo import bundle
from sdlc.integrations import ticket_file
from sdlc.integrations.jira import adf_markdown, markdown_adf, wiki
from tests.fakes.faults import Fault
from tests.fakes.github_call import Answer as GitHubAnswer
from tests.fakes.github_people import FakeRepository
from tests.fakes.github_server import GitHubServer
from tests.fakes.jira_api import Answer as JiraAnswer
from tests.fakes.jira_server import JiraServer, User, Webhook
from tests.fakes.jira_state import Flavour, RichText

REPOSITORY = "acme/parcel"
KEY = bundle.TICKET_KEY
LABEL = "ai-ready"
BOT = "sdlc-bot"
CHECK = "tests"
"""The one check of the scripted CI."""
PEOPLE = {"alice": "Alice Archer", "maria": "Maria Moreno", "bob": "Bob Baker"}
"""Name in Jira and login on GitHub → how they are called. Alice asks for things, Maria owns the code."""

_PULL = re.compile(r"/[\w.-]+/[\w.-]+/pull/\d+")


class PagedGitHub(GitHubServer):
    """The fake has no pages of its own: the addresses of pull requests lead to the web view."""

    pages = ""

    def answer(self, method: str, target: str, *rest: Any, **more: Any) -> GitHubAnswer:
        path = target.partition("?")[0]
        if self.pages and method == "GET" and _PULL.fullmatch(path):
            return GitHubAnswer(302, None, {"Location": self.pages + path})
        return super().answer(method, target, *rest, **more)


class PagedJira(JiraServer):
    """The same for tickets."""

    pages = ""

    def answer(self, request: Any, fault: Fault | None) -> JiraAnswer:
        if self.pages and request.command == "GET" and request.api_path.startswith("/browse/"):
            return JiraAnswer(302, None, {"Location": self.pages + request.api_path})
        return super().answer(request, fault)


@dataclass
class World:
    """Both services, and what one has to know to be let in."""

    jira: PagedJira
    github: PagedGitHub
    github_token: str
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    """Signs the webhooks."""
    pages: str = ""
    """Where the web view is; empty: there is none."""

    @property
    def repository(self) -> FakeRepository:
        return self.github.repository(REPOSITORY)

    def show_pages_at(self, url: str) -> None:
        """Let what a browser asks Jira and GitHub for lead to the web view."""
        self.pages = self.jira.pages = self.github.pages = url

    def send_webhooks(self, url: str) -> None:
        """Send what happens to `sdlc serve` at this address, signed."""
        root = url.rstrip("/")
        self.jira.webhooks.append(Webhook(f"{root}/webhooks/jira", self.secret))
        self.github.webhooks.send_to(f"{root}/webhooks/github", self.secret)

    def make_ready(self, by: str, key: str = KEY) -> None:
        """Put the label on a ticket."""
        self.jira.edit_as(by, key, labels=[*dict.fromkeys((*self.jira.issues[key].labels, LABEL))])

    def settings(self, *, web_port: int) -> dict[str, Any]:
        """What a configuration needs to say, secrets included: JSON-native, by section."""
        cloud = self.jira.flavour == "cloud"
        bot = self.jira.users["bot"]
        access = {"email": bot.email, "token": bot.secret} if cloud else {"token": bot.bearer}
        people = [
            {
                "name": name,
                "email": f"{login}@acme.example",
                "github": login,
                "jira": self.jira.users[login].account_id if cloud else login,
            }
            for login, name in PEOPLE.items()
        ]
        return {
            "tracker": {"kind": "jira"},
            "forge": {"kind": "github"},
            "jira": {"url": self.jira.url, **access, "webhook_secret": self.secret},
            "github": {
                "base_url": self.github.url,
                "token": self.github_token,
                "webhook_secret": self.secret,
                "seconds_between_writes": 0.0,
                "checks_grace_seconds": 10.0,
            },
            "people": people,
            "intake": {
                "repositories": [{"repository": REPOSITORY, "projects": [KEY.partition("-")[0]]}],
                "commanders": ["alice", "maria"],
                "poll_seconds": 5.0,
            },
            "run": {"approval": {"allow_starter": False}},
            "web": {"port": web_port},
        }

    def write_settings(self, file: Path, *, web_port: int, **more: Any) -> Path:
        """The same as a file that only its owner reads; `more` are further sections."""
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump({**self.settings(web_port=web_port), **more}, sort_keys=False))
        return file

    # --- text as Jira keeps it ----------------------------------------------------------------

    def written(self, markdown: str) -> RichText:
        """What somebody has typed, as this Jira keeps text."""
        return markdown_adf.from_markdown(markdown) if self.jira.flavour == "cloud" else wiki.from_markdown(markdown)

    @staticmethod
    def read(text: RichText) -> str:
        """Markdown of a text that Jira keeps."""
        return adf_markdown.to_markdown(text) if isinstance(text, dict) else wiki.to_markdown(text or "")

    def add_ticket(self, title: str, body: str, *, by: str, labels: tuple[str, ...] = ()) -> str:
        """A new ticket of the demo's project; its key."""
        key = self.jira.state.next_key(KEY.partition("-")[0])
        issue = self.jira.add_issue(key, title, by=by, issuetype="Bug", description=self.written(body))
        issue.sprints = [1]
        if labels:
            self.jira.edit_as(by, key, labels=list(labels))
        return issue.key


def sdlc_command(file: Path) -> str:
    """How a person calls `sdlc` of this installation with a configuration file."""
    program = "sdlc" if shutil.which("sdlc") else os.path.relpath(Path(sys.executable).with_name("sdlc"))
    return f"{program} --config {file}"


@asynccontextmanager
async def trial_world(
    folder: Path,
    *,
    flavour: Flavour = "cloud",
    jira_port: int = 0,
    github_port: int = 0,
    protect: bool = False,
) -> AsyncIterator[World]:
    """Both services on their ports (0: free ones) with repository and ticket of the demo; git lives in `folder`.

    Raises OSError where a port is taken.
    """
    jira = PagedJira(flavour, port=jira_port)
    async with jira:
        for login, name in PEOPLE.items():
            user = User(login, name, f"{login}@acme.example", f"{login}-secret", f"{login}-bearer")
            jira.users[login] = user
        jira.state.projects[KEY.partition("-")[0]] = "Parcel"
        github = PagedGitHub(folder / "github", port=github_port)
        with github:
            local = await bundle.make_repository(folder / "repository")
            await asyncio.to_thread(_fill, github, local, protect)
            world = World(jira, github, github.add_token(BOT))
            _add_demo_ticket(world)
            yield world


def _fill(github: GitHubServer, local: Path, protect: bool) -> None:
    for login, name in PEOPLE.items():
        github.add_user(login, name=name, email=f"{login}@acme.example")
    levels = {BOT: "write", "alice": "write", "maria": "maintain", "bob": "read"}
    repository = github.add_repository(REPOSITORY, collaborators=levels)
    branch = repository.state.default_branch
    repository.state.bare.git("fetch", "--quiet", str(local), f"{bundle.BRANCH}:refs/heads/{branch}")
    repository.commit(branch, {".github/CODEOWNERS": "* @maria\n"}, "Who owns what", by="maria")
    if protect:
        repository.protect(branch, contexts=[CHECK], approvals=1, dismiss_stale=True)


def _add_demo_ticket(world: World) -> None:
    ticket = ticket_file.parse(bundle.ticket_text(), bundle.TICKET)
    criteria = "\n".join(f"- {criterion}" for criterion in ticket.criteria)
    body = f"{_unwrapped(ticket.description)}\n\n## Acceptance criteria\n\n{criteria}"
    key = world.add_ticket(ticket.title, body, by="alice")
    labels = [label for label in ticket.labels if label != LABEL]
    world.jira.issues[key].labels = labels


def _unwrapped(markdown: str) -> str:
    """Paragraphs on one line each, as people type into a form: what breaks a line there is meant to."""
    pieces = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(piece if piece.startswith("```") else re.sub(r"(?<=\S)\n(?=\S)", " ", piece) for piece in pieces)
