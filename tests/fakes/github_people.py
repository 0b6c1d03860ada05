"""What people do in a repository of the fake GitHub, and what a test looks at there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.github_hub import Hub
from tests.fakes.github_shapes import noreply
from tests.fakes.github_state import (
    CheckRun,
    Comment,
    Issue,
    Json,
    Protection,
    Pull,
    Repo,
    Review,
    Status,
    WorkflowRun,
    now,
)

ACTIONS_APP = 15368


class FakeRepository:
    """A repository as people have it. All that they do is announced by webhooks, as what the API does."""

    def __init__(self, hub: Hub, state: Repo) -> None:
        self._hub = hub
        self.state = state
        """Everything that is remembered of it, to read."""

    @property
    def clone_url(self) -> str:
        return f"{self._hub.shapes.page(self.state)}.git"

    @property
    def branches(self) -> dict[str, str]:
        """Branch → sha."""
        return self.state.branches

    @property
    def pulls(self) -> dict[int, Pull]:
        return self.state.pulls

    @property
    def issues(self) -> dict[int, Issue]:
        """With pull requests, which are issues as well."""
        return self.state.issues

    def pull(self, number: int) -> Pull:
        return self.state.pulls[number]

    def comments(self, number: int) -> list[Comment]:
        return self.state.issues[number].comments

    def statuses(self, sha: str) -> dict[str, Status]:
        """The latest by context."""
        return {status.context: status for status in self.state.statuses if status.sha == sha}

    def read(self, branch: str, path: str) -> str | None:
        """A file of a branch; None where there is none."""
        entry = self.state.bare.entry(self.branches[branch], path)
        return self.state.bare.blob(entry[1]).decode() if entry and entry[0] == "blob" else None

    def _change(self) -> None:
        self._hub.remember()

    # --- the repository -----------------------------------------------------------------------

    def collaborator(self, login: str, level: str) -> None:
        """Give somebody a level (`none`: take it away)."""
        with self._hub.lock:
            self._change()
            self._hub.state.account(login)
            if level == "none":
                self.state.collaborators.pop(login, None)
            else:
                self.state.collaborators[login] = level

    def protect(self, branch: str, **rules: Any) -> Protection:
        """Protect a branch, or those that fit a pattern: `contexts`, `approvals`, … of `Protection`."""
        with self._hub.lock:
            self._change()
            made = self.state.protections[branch] = Protection(**rules)
            self.state.bare.protect(list(self.state.protections), self.state.rules)
        return made

    def rule(self, pattern: str, *kinds: str) -> None:
        """A rule set for branches that fit `pattern`: `creation`, `update`, `non_fast_forward`, …"""
        with self._hub.lock:
            self._change()
            self.state.rules[pattern] = list(kinds)
            self.state.bare.protect(list(self.state.protections), self.state.rules)

    def archive(self) -> None:
        self.state.archived = True

    # --- code ---------------------------------------------------------------------------------

    def commit(
        self,
        branch: str,
        files: Mapping[str, str | bytes | None],
        message: str = "a change",
        *,
        by: str,
        onto: str = "",
    ) -> str:
        """Push a commit of a person: on the branch's tip, or on `onto` (by force); makes the branch where it is new."""
        with self._hub.lock:
            self._change()
            account = self._hub.state.account(by)
            tip = onto or self.branches.get(branch) or self.branches[self.state.default_branch]
            author = (account.name or account.login, account.email or noreply(account))
            sha = self.state.bare.commit_files(tip, dict(files), message, author=author)
            self._hub.set_ref(self.state, f"refs/heads/{branch}", sha, by)
        return sha

    def force(self, branch: str, sha: str, *, by: str) -> None:
        """Point a branch somewhere else."""
        with self._hub.lock:
            self._change()
            self._hub.set_ref(self.state, f"refs/heads/{branch}", sha, by)

    def delete_branch(self, branch: str, *, by: str) -> None:
        self.force(branch, "", by=by)

    # --- pull requests ------------------------------------------------------------------------

    def open_pull(
        self, head: str, *, by: str, title: str = "A pull request", body: str = "", base: str = "", draft: bool = False
    ) -> int:
        """A pull request that a person makes; its number."""
        with self._hub.lock:
            self._change()
            base = base or self.state.default_branch
            return self._hub.add_pull(self.state, title, head, base, body, by, draft=draft).number

    def review(
        self, number: int, *, by: str, event: str = "APPROVE", body: str = "", comments: Sequence[Json] = ()
    ) -> Review:
        """APPROVE, REQUEST_CHANGES or COMMENT on the head as it is."""
        with self._hub.lock:
            self._change()
            return self._hub.add_review(self.state, self.pull(number), by, event, body, "", list(comments))

    def dismiss(self, number: int, review: Review, *, by: str) -> None:
        with self._hub.lock:
            self._change()
            self._hub.dismiss_review(self.state, self.pull(number), review, by)

    def ready(self, number: int, *, by: str) -> None:
        """Draft → open."""
        with self._hub.lock:
            self._change()
            self._hub.set_draft(self.state, self.pull(number), False, by)

    def merge(self, number: int, *, by: str, method: str = "merge") -> str:
        """Merge as a person by the button; raises ApiError where protection forbids it."""
        with self._hub.lock:
            self._change()
            return self._hub.merge(self.state, self.pull(number), by, method=method)

    def close(self, number: int, *, by: str) -> None:
        """Close an issue or a pull request."""
        with self._hub.lock:
            self._change()
            self._hub.close_issue(self.state, self.state.issues[number], by)

    def reopen(self, number: int, *, by: str) -> None:
        with self._hub.lock:
            self._change()
            self._hub.reopen_issue(self.state, self.state.issues[number], by)

    # --- issues -------------------------------------------------------------------------------

    def add_issue(
        self,
        title: str,
        body: str = "",
        *,
        by: str,
        labels: Sequence[str] = (),
        assignees: Sequence[str] = (),
    ) -> int:
        """A new issue; its number."""
        with self._hub.lock:
            self._change()
            issue = self._hub.add_issue(self.state, title, body, by)
            self._hub.announce(self.state, issue, "opened", by)
            self._hub.set_labels(self.state, issue, list(labels), by)
            self._hub.assign(self.state, issue, list(assignees), by)
        return issue.number

    def label(self, number: int, *names: str, by: str) -> None:
        """Bring the labels to these."""
        with self._hub.lock:
            self._change()
            self._hub.set_labels(self.state, self.state.issues[number], list(names), by)

    def assign(self, number: int, *logins: str, by: str) -> None:
        with self._hub.lock:
            self._change()
            self._hub.assign(self.state, self.state.issues[number], list(logins), by)

    def edit(self, number: int, *, by: str, title: str | None = None, body: str | None = None) -> None:
        with self._hub.lock:
            self._change()
            self._hub.edit_issue(self.state, self.state.issues[number], title, body, by)

    def comment(self, number: int, body: str, *, by: str) -> Comment:
        """A comment on an issue or a pull request."""
        with self._hub.lock:
            self._change()
            return self._hub.add_comment(self.state, self.state.issues[number], body, by)

    # --- checks -------------------------------------------------------------------------------

    def status(
        self, sha: str, context: str, state: str, *, by: str, description: str = "", target_url: str | None = None
    ) -> Status:
        with self._hub.lock:
            self._change()
            return self._hub.add_status(self.state, sha, state, context, description, target_url, by)

    def actions(self, sha: str, *, by: str, workflow: str = "CI", **jobs: tuple[str | None, str]) -> WorkflowRun:
        """A run of GitHub Actions: by job its conclusion (None: it still runs) and its log."""
        with self._hub.lock:
            self._change()
            runs = [self._job(sha, name, conclusion, log) for name, (conclusion, log) in jobs.items()]
            suite = self._hub.suite(self.state, sha, ACTIONS_APP)
            new = self._hub.state.new_id()
            run = WorkflowRun(
                id=new,
                name=workflow,
                head_sha=sha,
                head_branch=suite.head_branch or "",
                number=len(self.state.workflow_runs) + 1,
                suite_id=suite.id,
                jobs=[job.id for job in runs],
                login=by,
                created=now(),
            )
            self.state.workflow_runs[new] = run
            return run

    def _job(self, sha: str, name: str, conclusion: str | None, log: str) -> CheckRun:
        given: Json = {"conclusion": conclusion} if conclusion else {"status": "in_progress"}
        run = self._hub.add_check_run(self.state, sha, name, ACTIONS_APP, given)
        self.state.logs[run.id] = log
        return run

    def finish(self, name: str, conclusion: str, *, log: str | None = None) -> None:
        """End the latest check run of a name."""
        with self._hub.lock:
            self._change()
            run = max((run for run in self.state.check_runs.values() if run.name == name), key=lambda run: run.id)
            if log is not None:
                self.state.logs[run.id] = log
            self._hub.update_check_run(self.state, run, {"conclusion": conclusion})
