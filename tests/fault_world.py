"""The world of one run of the fault matrix: a Jira, a GitHub and the product's own clients of them.

Everything is the run's own, so that a fault can strike nobody else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from sdlc.activities import EngineRequest, EngineResult
from sdlc.config import ForgeSettings, Settings, TrackerSettings
from sdlc.config.github import GitHubSettings
from sdlc.config.jira import JiraSettings
from sdlc.domain import Usage
from sdlc.engines.batons import work_ref
from sdlc.errors import ServiceUnavailable
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.integrations.git.askpass import TokenGit
from sdlc.integrations.git.runner import Answer
from sdlc.integrations.github import GitHubForge
from sdlc.integrations.github.tokens import Tokens
from sdlc.integrations.jira import JiraTracker, adf, marks, wiki
from sdlc.integrations.notify import LocalNotifier
from sdlc.integrations.services import Services
from sdlc.integrations.workspace import Workspaces
from tests.fakes.faults import Fault
from tests.fakes.github_bare import Bare
from tests.fakes.github_server import GitHubServer
from tests.fakes.jira_server import JiraServer

NAME = "acme/parcel"
BOT, PERSON, ANOTHER = "sdlc-bot", "maria", "kay"
FILES: dict[str, str | bytes | None] = {
    "CODEOWNERS": f"* @{PERSON}\n",
    "README.md": "# parcel\n",
    "money.py": "def total(amounts):\n    return sum(round(amount, 2) for amount in amounts)\n",
}
TOLD = "told:needs_attention"
GIVES_UP = 2
"""Seconds until a client of ours gives a server up that says nothing: what a `hang` costs. Less is not enough for a
loaded machine."""
_MARK = re.compile(r"<!-- sdlc:\S+?:\S+ (?P<topic>[^>]+?) -->\s*\Z")
_JIRA_ROOT = re.compile(r"/rest/api/\d")


@dataclass(frozen=True)
class ImpatientGit(TokenGit):
    """The product's git; what it waits a minute for, it waits a second for."""

    async def run(self, *arguments: str, **more: Any) -> Answer:
        try:
            return await super().run(*arguments, **more)
        except ServiceUnavailable as error:
            if error.retry_after is None:
                raise
            raise ServiceUnavailable(str(error), retry_after=GIVES_UP) from None

    def _environment(self, home: Path) -> dict[str, str]:
        env = super()._environment(home)
        count = int(env["GIT_CONFIG_COUNT"])
        added = {f"GIT_CONFIG_KEY_{count}": "http.lowSpeedTime", f"GIT_CONFIG_VALUE_{count}": str(GIVES_UP)}
        return {**env, **added, "GIT_CONFIG_COUNT": str(count + 1)}


_READS = frozenset({"for-each-ref", "merge-base", "rev-list", "rev-parse", "log", "diff", "ls-tree", "cat-file"})
_answers: defaultdict[Path, dict[Any, bytes]] = defaultdict(dict)
"""By repository."""


class RememberingBare(Bare):
    """The fake's git, which asks once for what no ref has changed since: two of three processes of a run were its."""

    def raw(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        if arguments[0] not in _READS:
            return super().raw(*arguments, stdin=stdin, env=env)
        files = sorted(path for path in (self.path / "refs").rglob("*") if path.is_file() and path.suffix != ".lock")
        refs = tuple((path.name, path.read_bytes()) for path in (self.path / "HEAD", *files))
        known, key = _answers[self.path], (arguments, stdin, refs)
        if key not in known:
            known[key] = super().raw(*arguments, stdin=stdin, env=env)
        return known[key]


@dataclass(frozen=True)
class Call:
    """What a run asks of a service: one row of the matrix."""

    service: str
    """`jira`, `github` or `git`."""
    activity: str
    """On whose behalf."""
    method: str
    route: str

    @property
    def writes(self) -> bool:
        return self.method != "GET" and not self.route.endswith("git-upload-pack")

    def __str__(self) -> str:
        return f"{self.activity}: {self.service} {self.method} {self.route}"


@dataclass
class World:
    """Started by `open`, stopped by `close`; both wait, so they belong in a thread."""

    key: str
    folder: Path
    enterprise: bool = False
    """Jira Data Center, and we a GitHub App; else Jira Cloud, and a person's token."""
    doing: str = ""
    """The activity under way."""
    calls: list[Call] = field(default_factory=list)
    """All that were made, those that a fault struck included."""
    strikes_at: tuple[Call, int] | None = None
    """The call that goes wrong, and which of those that are alike: 1 is the first."""

    def open(self) -> None:
        self.jira = JiraServer("datacenter" if self.enterprise else "cloud")
        self.jira.start()
        criteria = "Totals differ.\n\n## Acceptance criteria\n\n- rounded once"
        self.jira.add_issue(self.key, "Totals are rounded twice", labels=["ai-ready"], description=self._rich(criteria))
        self.github = GitHubServer(self.folder / "github").__enter__()
        self.github.add_user(PERSON)
        self.repository = self.github.add_repository(NAME, files=FILES, collaborators={BOT: "write", PERSON: "write"})
        self.repository.state.bare = RememberingBare(self.repository.state.bare.path)
        self.services = self._services()

    def close(self) -> None:
        self.github.stop()
        self.jira.stop()
        _answers.pop(self.repository.state.bare.path, None)

    def on_forge(self, what: str) -> None:
        """A person does something at the run's pull request."""
        number = next(iter(self.repository.pulls))
        if what == "approve":
            self.repository.review(number, by=PERSON)
        elif what == "request changes":
            on_line = {"path": "money.py", "line": 2, "side": "RIGHT", "body": "Which total?"}
            self.repository.review(number, by=PERSON, event="REQUEST_CHANGES", body="Look again.", comments=[on_line])
        elif what == "help":
            self.repository.comment(number, "/sdlc status", by=PERSON)
            branch = self.repository.pulls[number].head
            self.repository.commit(branch, {"NOTES.md": "Rounded once.\n"}, by=PERSON)
        else:
            raise ValueError(what)

    def end_checks(self, head: str, conclusion: str) -> None:
        """The forge's own check of the head, once."""
        if not self.repository.state.check_runs:
            self.repository.actions(head, by=PERSON, tests=(conclusion, "E   assert 1 == 2"))

    def _rich(self, text: str) -> Any:
        return wiki.from_markdown(text) if self.enterprise else adf.from_markdown(text)

    # --- the product's side -------------------------------------------------------------------

    def _services(self) -> Services:
        email, token = ("", self.jira.users["bot"].bearer) if self.enterprise else self.jira.login()
        jira = JiraSettings(
            url=self.jira.url, email=email, token=SecretStr(token), connect_seconds=GIVES_UP, read_seconds=GIVES_UP
        )
        who: dict[str, Any] = {"token": self.github.add_token(BOT)}
        if self.enterprise:
            app = self.github.add_app(BOT, "acme")
            who = {"app_id": str(app.id), "private_key": app.private_key}
        github = GitHubSettings(
            base_url=self.github.url,
            timeout_seconds=GIVES_UP,
            seconds_between_writes=0,
            checks_grace_seconds=0,
            **who,
        )
        settings = Settings(
            data_dir=self.folder / "data",
            cache_dir=self.folder / "cache",
            tracker=TrackerSettings(kind="jira"),
            forge=ForgeSettings(kind="github"),
            jira=jira,
            github=github,
        )
        artifacts = ArtifactStore(settings.artifacts_dir)
        tokens = Tokens(github)
        home = settings.cache_dir / "git"
        workspaces = Workspaces(settings.cache_dir, git=ImpatientGit(home=home, credentials=tokens))
        forge = GitHubForge(github, clones=workspaces.clones, artifacts=artifacts, tokens=tokens, git_home=home)
        no_part = cast(Any, None)  # of engine, panels and tests, which are scripted
        return Services(
            settings=settings,
            tracker=JiraTracker(jira),
            forge=forge,
            notifier=LocalNotifier(settings.data_dir),
            workspaces=workspaces,
            sandbox=no_part,
            environments=no_part,
            artifacts=artifacts,
            models=no_part,
        )

    async def engine(self, request: EngineRequest) -> EngineResult:
        """A real commit on the change's head, published as engines do: the same one however often it is asked for."""
        change, workspaces = request.change, self.services.workspaces
        clone = workspaces.clones.of(change.repository.url)
        await clone.require(change.head_sha)
        again = change.head_sha != change.base_sha
        text = str(FILES["money.py"]) if again else ""
        text += f'"""{self.key}: rounded once."""\ntotal = round\n'
        blob = (await clone.git.run("hash-object", "-w", "--stdin", stdin=text.encode())).text
        listed = (await clone.git.run("ls-tree", "-z", change.base_sha)).records
        kept = [record for record in listed if not record.endswith(b"\tmoney.py")]
        entries = [*kept, f"100644 blob {blob}\tmoney.py".encode()]
        tree = (await clone.git.run("mktree", "-z", stdin=b"".join(entry + b"\0" for entry in entries))).text
        person = {"NAME": BOT, "EMAIL": "bot@example.org", "DATE": "1700000000 +0000"}
        env = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in person.items()}
        made = await clone.git.run("commit-tree", tree, "-p", change.head_sha, stdin=b"Round once\n", env=env)
        await workspaces.publish(change.repository, work_ref(request.run, made.text), made.text)
        changed = await workspaces.change_set(change.repository, change.base_sha, made.text, change.branch)
        usage = Usage(model_calls=1, input_tokens=10, output_tokens=1)
        return EngineResult(change=changed, summary="Rounded once.", usage=usage, turns=1, engine="double 1.0")

    # --- faults -------------------------------------------------------------------------------

    def watch(self, fault: Fault | None = None) -> None:
        """Note every call, and let the one that `strikes_at` names go wrong with `fault`."""
        seen = 0

        def where_of(noted: Callable[[str, str], Call]) -> Callable[[str, str], bool]:
            def where(method: str, path: str) -> bool:
                nonlocal seen
                call = noted(method, path)
                self.calls.append(call)
                if self.strikes_at is None or call != self.strikes_at[0]:
                    return False
                seen += 1
                return seen == self.strikes_at[1]

            return where

        wanted = fault or Fault("slow")
        self.jira.fail(replace(wanted, where=where_of(self._of_jira)))
        self.github.fail(replace(wanted, where=where_of(self._of_github)))

    @property
    def struck(self) -> bool:
        """Has the fault met its call?"""
        assert self.strikes_at is not None
        server = self.jira if self.strikes_at[0].service == "jira" else self.github
        return server.faults.waiting == 0

    def _of_jira(self, method: str, path: str) -> Call:
        route = _JIRA_ROOT.sub("", path).replace(self.key, "{key}")
        return Call("jira", self.doing, method, re.sub(r"/\d+(?=/|$)", "/{id}", route))

    def _of_github(self, method: str, path: str) -> Call:
        if path.startswith(f"/{NAME}.git/"):
            return Call("git", self.doing, method, path.removeprefix(f"/{NAME}.git/"))
        path = path.removeprefix("/api/v3")
        found = self.github.routes.find(method, path)
        return Call("github", self.doing, method, found[0].template if found else path)

    # --- what is seen afterwards --------------------------------------------------------------

    def picture(self) -> dict[str, Any]:
        """What a person sees when the run is over, without what differs from run to run."""
        issue = self.jira.issues[self.key]
        moves = [
            item.get("toString") for change in issue.history for item in change.items if item.get("field") == "status"
        ]
        ours = [mark for comment in issue.comments if (mark := self._mark(comment)) is not None]
        return self._of_pulls() | {
            "ticket": (issue.status, issue.assignee),
            "moves": moves,
            "ticket comments": sorted((mark.topic, mark.live) for mark in ours if mark.topic != TOLD),
            "told": sum(mark.topic == TOLD for mark in ours),
            "links": len(issue.remote_links),
        }

    def _of_pulls(self) -> dict[str, Any]:
        pulls = list(self.repository.pulls.values())
        issues = [self.repository.issues[pull.number] for pull in pulls]
        bodies = [comment.body for issue in issues for comment in issue.comments]
        inline = [comment for pull in pulls for comment in pull.comments]
        statuses = {name: one.state for pull in pulls for name, one in self.repository.statuses(pull.head_sha).items()}
        return {
            "pull requests": [
                "merged" if pull.merged else f"{issue.state}{', a draft' if pull.draft else ''}"
                for pull, issue in zip(pulls, issues, strict=True)
            ],
            "pull request comments": sorted(_topic(body) for body in bodies),
            "findings": sorted((one.path, one.subject, _topic(one.body)) for one in inline),
            "resolved": sum(len(pull.resolved) for pull in pulls),
            "statuses": statuses,
            "check runs": sorted(f"{run.name}: {run.conclusion}" for run in self.repository.state.check_runs.values()),
            "labels": [issue.labels for issue in issues],
            "asked": [sorted(pull.reviewers) for pull in pulls],
            "branches": sorted(name.replace(self.key, "*") for name in self.repository.branches),
            "pushes": [push.forced for push in self.repository.state.pushes if push.ref.startswith("refs/heads/sdlc/")],
            "made by hand": [self.repository.read(pull.head, "NOTES.md") for pull in pulls],
            "main moved": sum(push.ref == "refs/heads/main" for push in self.repository.state.pushes),
        }

    def _mark(self, comment: Any) -> marks.Mark | None:
        if self.enterprise:
            return marks.of_text(comment.body)
        return marks.of_value(comment.properties.get(marks.PROPERTY))


def _topic(body: str) -> str:
    """What a comment of ours is about; its text where it is nobody's."""
    found = _MARK.search(body)
    if found is None:
        return f"unmarked: {body[:80]}"
    # Ids of decisions and commands are a part of their comments' topics, and others each time.
    return re.sub(r"(?<=^decision:).*|\d{3,}", "*", found["topic"])
