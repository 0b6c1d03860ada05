"""What can happen on the fake GitHub, whoever does it: a request of the API, a push, or a person in a test."""

from __future__ import annotations

import re
import threading
from typing import Any

from tests.fakes import github_errors as errors
from tests.fakes.github_bare import ZERO, FileChange, GitFailed
from tests.fakes.github_errors import ApiError
from tests.fakes.github_shapes import Shapes, noreply
from tests.fakes.github_state import (
    CheckRun,
    CheckSuite,
    Comment,
    Issue,
    Json,
    Label,
    Pull,
    Push,
    Repo,
    Review,
    ReviewComment,
    State,
    Status,
    Token,
    now,
)
from tests.fakes.github_webhooks import Webhooks

MAX_BODY = 65_536
"""Characters of a body of an issue, pull request or comment."""
MAX_TITLE = 256
MAX_STATUS = 140
MAX_STATUSES = 1000
MAX_ANNOTATIONS = 50
MAX_OUTPUT = 65_535
_CLOSES = re.compile(r"(?i)\b(?:close[sd]?|fix(?:es|ed)?|resolve[sd]?):? #(\d+)\b")
_ANNOTATION = ("path", "start_line", "end_line", "annotation_level", "message")


class Hub:
    """State and its changes. Callers hold `lock`. Raises ApiError for what GitHub refuses."""

    def __init__(self, state: State, root: str, web: str) -> None:
        self.state = state
        self.lock = threading.RLock()
        self.webhooks = Webhooks()
        self.shapes = Shapes(state, root, web)
        self.token_seconds = 3600
        """For which an installation token holds."""
        self.before: State | None = None
        """Everything before the last change."""

    def remember(self) -> None:
        """Called before a change."""
        self.before = self.state.past()

    def emit(self, repo: Repo, event: str, by: str, action: str = "", **parts: Any) -> None:
        payload: Json = {"action": action} if action else {}
        payload |= {**parts, "repository": self.shapes.full_repository(repo, "read"), "sender": self.shapes.user(by)}
        app = next((app for app in self.state.apps.values() if app.owner == repo.owner), None)
        if app:
            payload["installation"] = {"id": app.installation_id, "node_id": ""}
        self.webhooks.emit(event, payload)

    # --- refs ---------------------------------------------------------------------------------

    def ref_moved(self, repo: Repo, ref: str, before: str, after: str, by: str) -> None:
        """A ref has moved; "" where it was not there before, or is not any more."""
        forced = bool(before and after) and not repo.bare.is_ancestor(before, after)
        repo.pushes.append(Push(ref, before, after, forced, by))
        if ref.startswith(("refs/heads/", "refs/tags/")):
            self._emit_push(repo, ref, before, after, forced, by)
        if not ref.startswith("refs/heads/"):
            return
        branch = ref.removeprefix("refs/heads/")
        for pull in list(repo.pulls.values()):
            if repo.issues[pull.number].state != "open":
                continue
            if pull.head == branch:
                self._head_moved(repo, pull, after, forced, by)
            elif pull.base == branch and after:
                self._base_moved(repo, pull, after, by)

    def _emit_push(self, repo: Repo, ref: str, before: str, after: str, forced: bool, by: str) -> None:
        head = repo.bare.commit(after) if after else None
        self.emit(
            repo,
            "push",
            by,
            ref=ref,
            before=before or ZERO,
            after=after or ZERO,
            created=not before,
            deleted=not after,
            forced=forced,
            head_commit=self.shapes.simple_commit(head) if head else None,
            pusher={"name": by},
        )

    def _head_moved(self, repo: Repo, pull: Pull, after: str, forced: bool, by: str) -> None:
        if not after:
            pull.head_deleted = True
            self.close_issue(repo, repo.issues[pull.number], by)
            return
        before, pull.head_sha = pull.head_sha, after
        pull.pushes.append((before, after, forced))
        repo.bare.set_ref(f"refs/pull/{pull.number}/head", after)
        repo.issues[pull.number].updated = now()
        rules = repo.protection(pull.base)
        if rules and rules.dismiss_stale:
            for review in pull.reviews:
                if review.state == "APPROVED":
                    review.state = "DISMISSED"
        self._place_comments(repo, pull)
        if repo.bare.is_ancestor(after, repo.branches.get(pull.base, after)) and after != before and forced:
            # Nothing is left to merge: GitHub closes it.
            self.close_issue(repo, repo.issues[pull.number], by)
            return
        self.emit_pull(repo, pull, "synchronize", by, before=before, after=after)

    def _base_moved(self, repo: Repo, pull: Pull, after: str, by: str) -> None:
        if repo.bare.is_ancestor(pull.head_sha, after):
            self._merged(repo, pull, after, by)

    def set_ref(self, repo: Repo, ref: str, sha: str, by: str) -> None:
        """Move, make or (with "") delete a ref."""
        before = repo.refs.get(ref, "")
        try:
            repo.bare.set_ref(ref, sha)
        except GitFailed as error:
            raise ApiError(422, "Reference name is not valid or is in the way of another.") from error
        if before != sha:
            self.ref_moved(repo, ref, before, sha, by)

    # --- issues -------------------------------------------------------------------------------

    def next_number(self, repo: Repo) -> int:
        return max(repo.issues, default=0) + 1

    def add_issue(self, repo: Repo, title: str, body: str | None, by: str, resource: str = "Issue") -> Issue:
        """An issue, not yet announced."""
        self.check_text(resource, title, body)
        time = now()
        issue = Issue(self.state.new_id(), self.next_number(repo), title, body, by, time, time)
        repo.issues[issue.number] = issue
        return issue

    def check_text(self, resource: str, title: str | None, body: str | None) -> None:
        if title is not None and not title.strip():
            raise errors.invalid(resource, code="missing_field", field="title")
        if title is not None and len(title) > MAX_TITLE:
            raise errors.too_long(resource, "title", MAX_TITLE)
        if body is not None and len(body) > MAX_BODY:
            raise errors.too_long(resource, "body", MAX_BODY)

    def edit_issue(self, repo: Repo, issue: Issue, title: str | None, body: str | None, by: str) -> None:
        pull = repo.pulls.get(issue.number)
        self.check_text("PullRequest" if pull else "Issue", title, body)
        changes: Json = {}
        if title is not None and title != issue.title:
            changes["title"] = {"from": issue.title}
            issue.title = title
        if body is not None and body != issue.body:
            changes["body"] = {"from": issue.body}
            issue.body = body
        if changes:
            self.announce(repo, issue, "edited", by, changes=changes)

    def announce(self, repo: Repo, issue: Issue, action: str, by: str, **parts: Any) -> None:
        """An event on an issue, or on the pull request that it is."""
        issue.updated = now()
        pull = repo.pulls.get(issue.number)
        if pull:
            self.emit_pull(repo, pull, action, by, **parts)
        else:
            self.emit(repo, "issues", by, action, issue=self.shapes.issue(repo, issue), **parts)

    def close_issue(self, repo: Repo, issue: Issue, by: str, reason: str | None = None) -> None:
        if issue.state == "closed":
            return
        issue.state, issue.closed, issue.closed_by = "closed", now(), by
        issue.state_reason = None if issue.number in repo.pulls else reason or "completed"
        self.announce(repo, issue, "closed", by)

    def reopen_issue(self, repo: Repo, issue: Issue, by: str) -> None:
        if issue.state == "open":
            return
        pull = repo.pulls.get(issue.number)
        if pull and (pull.merged or pull.head not in repo.branches):
            why = "The pull request can't be reopened" if pull.merged else f"The {pull.head} branch was deleted."
            raise errors.invalid(
                "PullRequest", code="invalid", field="state", message=f"state cannot be changed. {why}"
            )
        issue.state, issue.closed, issue.closed_by = "open", None, None
        issue.state_reason = None if pull else "reopened"
        self.announce(repo, issue, "reopened", by)

    def set_labels(self, repo: Repo, issue: Issue, names: list[str], by: str) -> None:
        """Bring the labels to these; those that the repository lacks are made, as GitHub does."""
        for name in names:
            self.label(repo, name)
        before = {name.lower(): name for name in issue.labels}
        after = {name.lower(): repo.labels[name.lower()].name for name in names}
        issue.labels = list(after.values())
        for action, names_ in (("unlabeled", before.keys() - after.keys()), ("labeled", after.keys() - before.keys())):
            for name in sorted(names_):
                label = self.shapes.label(repo, repo.labels[name]) if name in repo.labels else None
                self.announce(repo, issue, action, by, label=label)

    def label(self, repo: Repo, name: str) -> Label:
        """The label of a name, made if it is not there."""
        if not name.strip() or len(name) > 50:
            code, message = (
                ("custom", "name is too long (maximum is 50 characters)") if name.strip() else ("invalid", "")
            )
            raise errors.invalid("Label", code=code, field="name", message=message)
        return repo.labels.setdefault(name.lower(), Label(self.state.new_id(), name))

    def assign(self, repo: Repo, issue: Issue, logins: list[str], by: str) -> None:
        """Bring the assignees to those of `logins` who can be: GitHub leaves out the others in silence."""
        fit = [
            self.state.account(login).login
            for login in logins
            if login.lower() in self.state.accounts and self.state.level(login, repo) != "none"
        ]
        before, issue.assignees = issue.assignees, list(dict.fromkeys(fit))[:10]
        for login in sorted(set(before) ^ set(issue.assignees)):
            action = "assigned" if login in issue.assignees else "unassigned"
            self.announce(repo, issue, action, by, assignee=self.shapes.user(login))

    def add_comment(self, repo: Repo, issue: Issue, body: str, by: str, app_id: int = 0) -> Comment:
        self.check_comment(body)
        time = now()
        comment = Comment(self.state.new_id(), by, body, time, time, app_id)
        issue.comments.append(comment)
        self.emit_comment(repo, issue, comment, "created", by)
        return comment

    def edit_comment(self, repo: Repo, issue: Issue, comment: Comment, body: str, by: str) -> None:
        self.check_comment(body)
        before, comment.body, comment.updated = comment.body, body, now()
        self.emit_comment(repo, issue, comment, "edited", by, changes={"body": {"from": before}})

    def delete_comment(self, repo: Repo, issue: Issue, comment: Comment, by: str) -> None:
        issue.comments.remove(comment)
        self.emit_comment(repo, issue, comment, "deleted", by)

    def emit_comment(self, repo: Repo, issue: Issue, comment: Comment, action: str, by: str, **parts: Any) -> None:
        issue.updated = now()
        shown = self.shapes.comment(repo, issue, comment)
        self.emit(repo, "issue_comment", by, action, issue=self.shapes.issue(repo, issue), comment=shown, **parts)

    @staticmethod
    def check_comment(body: str) -> None:
        if not body.strip():
            raise errors.invalid("IssueComment", code="missing_field", field="body")
        if len(body) > MAX_BODY:
            message = f"Body is too long (maximum is {MAX_BODY} characters)"
            raise errors.invalid("IssueComment", code="unprocessable", field="data", message=message)

    # --- pull requests ------------------------------------------------------------------------

    def emit_pull(self, repo: Repo, pull: Pull, action: str, by: str, **parts: Any) -> None:
        shown = self.whole_pull(repo, pull, compute=False)
        self.emit(repo, "pull_request", by, action, number=pull.number, pull_request=shown, **parts)

    def add_pull(
        self, repo: Repo, title: str, head: str, base: str, body: str | None, by: str, *, draft: bool = False
    ) -> Pull:
        owner, _, branch = head.rpartition(":")
        branches = repo.branches
        if base not in branches:
            raise errors.invalid("PullRequest", field="base")
        if branch not in branches or (owner and owner.lower() != repo.owner.lower()):
            raise errors.invalid("PullRequest", field="head")
        if not self._may_offer(repo, by):
            # "To open or update a pull request in a public repository, you must have write access to the head or the
            # source branch": without forks that is the repository itself.
            raise errors.invalid("PullRequest", code="custom", message="must be a collaborator")
        if draft and not repo.drafts_allowed:
            raise ApiError(422, "Draft pull requests are not supported in this repository.")
        for other in repo.pulls.values():
            if (other.head, other.base) == (branch, base) and repo.issues[other.number].state == "open":
                message = f"A pull request already exists for {repo.owner}:{branch}."
                raise errors.invalid("PullRequest", code="custom", message=message)
        head_sha, base_sha = branches[branch], branches[base]
        if not repo.bare.merge_base(base_sha, head_sha):
            message = f"The {branch} branch has no history in common with {base}"
            raise errors.invalid("PullRequest", code="custom", message=message)
        if repo.bare.is_ancestor(head_sha, base_sha):
            raise errors.invalid("PullRequest", code="custom", message=f"No commits between {base} and {branch}")
        issue = self.add_issue(repo, title, body, by, "PullRequest")
        pull = Pull(self.state.new_id(), issue.number, branch, base, head_sha, base_sha, draft)
        repo.pulls[pull.number] = pull
        repo.bare.set_ref(f"refs/pull/{pull.number}/head", head_sha)
        self.emit_pull(repo, pull, "opened", by)
        return pull

    def _may_offer(self, repo: Repo, login: str) -> bool:
        """An App's permissions were looked at where it called."""
        return any(app.login == login for app in self.state.apps.values()) or self.state.at_least(login, repo, "write")

    def set_draft(self, repo: Repo, pull: Pull, draft: bool, by: str) -> None:
        if pull.draft != draft:
            pull.draft = draft
            self.announce(repo, repo.issues[pull.number], "converted_to_draft" if draft else "ready_for_review", by)

    def diff(self, repo: Repo, pull: Pull) -> list[FileChange]:
        """What the pull request shows: from the point where it left its base."""
        return repo.bare.diff(self._fork_point(repo, pull), pull.head_sha)

    def diff_text(self, repo: Repo, pull: Pull) -> str:
        return repo.bare.raw("diff", self._fork_point(repo, pull), pull.head_sha).decode(errors="replace")

    def _fork_point(self, repo: Repo, pull: Pull) -> str:
        base = pull.base_sha if pull.merged else repo.branches.get(pull.base, pull.base_sha)
        return repo.bare.merge_base(base, pull.head_sha) or base

    def whole_pull(self, repo: Repo, pull: Pull, *, compute: bool) -> Json:
        """A single pull request. `mergeable` is None on the first look at each head, and known on the next."""
        shapes = Shapes(self.state, self.shapes.root, self.shapes.web)
        point = self._fork_point(repo, pull)
        base = repo.branches.get(pull.base, pull.base_sha)
        files, count = repo.bare.diff(point, pull.head_sha), repo.bare.count(f"{point}..{pull.head_sha}")
        is_open = repo.issues[pull.number].state == "open"
        known = pull.mergeable_of == (pull.head_sha, base)
        mergeable = pull.mergeable if known and is_open else None
        shown = shapes.whole_pull(repo, pull, files, count, mergeable, self._merge_state(repo, pull, mergeable))
        if compute and not known and is_open:
            pull.mergeable_of = (pull.head_sha, base)
            pull.mergeable = repo.bare.merged_tree(base, pull.head_sha) is not None
        return shown

    def _merge_state(self, repo: Repo, pull: Pull, mergeable: bool | None) -> str:
        if mergeable is None:
            return "unknown"
        if not mergeable:
            return "dirty"
        if pull.draft:
            return "draft"
        if self.missing(repo, pull):
            return "blocked"
        rules = repo.protection(pull.base)
        if rules and rules.strict and not repo.bare.is_ancestor(repo.branches[pull.base], pull.head_sha):
            return "behind"
        states = self.contexts(repo, pull.head_sha).values()
        return "clean" if all(state == "success" for state in states) else "unstable"

    def contexts(self, repo: Repo, sha: str) -> dict[str, str]:
        """What checks and statuses say of a commit: context → success, failure or pending."""
        said = {status.context: status.state for status in repo.statuses if status.sha == sha}
        for run in repo.check_runs.values():
            if run.head_sha == sha:
                good = run.conclusion in ("success", "neutral", "skipped")
                said[run.name] = "pending" if run.status != "completed" else "success" if good else "failure"
        return said

    def opinions(self, repo: Repo, pull: Pull) -> dict[str, str]:
        """The last word of each person who may write."""
        said: dict[str, str] = {}
        for review in pull.reviews:
            if not self.state.at_least(review.login, repo, "write"):
                continue
            if review.state in ("APPROVED", "CHANGES_REQUESTED"):
                said[review.login] = review.state
            elif review.state == "DISMISSED":
                said.pop(review.login, None)
        return said

    def missing(self, repo: Repo, pull: Pull) -> str:
        """What the base's protection still asks for, as GitHub words it; "" for nothing."""
        rules = repo.protection(pull.base)
        if not rules:
            return ""
        said = self.opinions(repo, pull)
        if rules.reviews_required and "CHANGES_REQUESTED" in said.values():
            return "Changes have been requested."
        if list(said.values()).count("APPROVED") < rules.approvals:
            plural = "review is" if rules.approvals == 1 else "reviews are"
            return f"At least {rules.approvals} approving {plural} required by reviewers with write access."
        states = self.contexts(repo, pull.head_sha)
        short = [context for context in rules.contexts if states.get(context) != "success"]
        if not short:
            return ""
        if len(short) == 1:
            state = states.get(short[0])
            words = {None: "expected", "pending": "pending", "error": "errored"}.get(state, "failing")
            return f'Required status check "{short[0]}" is {words}.'
        return f"{len(short)} of {len(rules.contexts)} required status checks have not succeeded."

    def merge(
        self, repo: Repo, pull: Pull, by: str, *, sha: str = "", method: str = "merge", title: str = "", text: str = ""
    ) -> str:
        """Merge; returns the commit. 405 where it can't be, 409 where the head is another."""
        issue = repo.issues[pull.number]
        if pull.merged or issue.state != "open":
            raise ApiError(405, "Pull Request is not mergeable")
        if sha and sha != pull.head_sha:
            raise ApiError(409, "Head branch was modified. Review and try the merge again.")
        if method not in repo.merge_methods:
            raise ApiError(405, f"{method.capitalize()} merges are not allowed on this repository.")
        if pull.draft:
            raise ApiError(405, "Pull Request is still a draft")
        base = repo.branches[pull.base]
        tree = repo.bare.merged_tree(base, pull.head_sha)
        if tree is None:
            raise ApiError(405, "Pull Request has merge conflicts")
        if missing := self.missing(repo, pull):
            raise ApiError(405, missing)
        account = self.state.account(by)
        if method == "squash":
            message = f"{title or f'{issue.title} (#{pull.number})'}\n\n{text}"
            parents = [base]
        else:
            message = f"{title or f'Merge pull request #{pull.number} from {repo.owner}/{pull.head}'}\n\n"
            message += text or issue.title
            parents = [base, pull.head_sha]
        merged = repo.bare.commit_tree(
            tree, parents, message, author=(account.name or account.login, account.email or noreply(account))
        )
        self._merged(repo, pull, merged, by)
        self.set_ref(repo, f"refs/heads/{pull.base}", merged, by)
        if repo.delete_branch_on_merge:
            self.set_ref(repo, f"refs/heads/{pull.head}", "", by)
        return merged

    def _merged(self, repo: Repo, pull: Pull, commit: str, by: str) -> None:
        pull.base_sha = repo.branches.get(pull.base, pull.base_sha) if not pull.merged else pull.base_sha
        if pull.base_sha == commit:
            pull.base_sha = repo.pushes[-1].before or pull.base_sha
        pull.merged, pull.merged_by, pull.merge_commit = now(), by, commit
        self.close_issue(repo, repo.issues[pull.number], by)
        if pull.base == repo.default_branch:
            for word in _CLOSES.finditer(repo.issues[pull.number].body or ""):
                issue = repo.issues.get(int(word[1]))
                if issue and issue.number not in repo.pulls:
                    self.close_issue(repo, issue, by)

    def request_reviews(self, repo: Repo, pull: Pull, logins: list[str], by: str) -> None:
        author = repo.issues[pull.number].login
        for login in logins:
            if login.lower() == author.lower():
                raise ApiError(422, "Review cannot be requested from pull request author.")
            if login.lower() not in self.state.accounts or self.state.account(login).login not in {
                repo.owner,
                *repo.collaborators,
            }:
                raise ApiError(
                    422,
                    "Reviews may only be requested from collaborators. One or more of the users or teams you "
                    f"specified is not a collaborator of the {repo.full_name} repository.",
                )
        for login in logins:
            name = self.state.account(login).login
            if name not in pull.reviewers:
                pull.reviewers.append(name)
                shown = self.shapes.user(name)
                self.announce(repo, repo.issues[pull.number], "review_requested", by, requested_reviewer=shown)

    # --- reviews ------------------------------------------------------------------------------

    def add_review(
        self, repo: Repo, pull: Pull, by: str, event: str, body: str, commit_id: str, comments: list[Json]
    ) -> Review:
        """A review with its inline comments, all or nothing. `event` "" leaves it pending."""
        if event in ("APPROVE", "REQUEST_CHANGES") and by == repo.issues[pull.number].login:
            what = "approve" if event == "APPROVE" else "request changes on"
            raise errors.unprocessable(f"Can not {what} your own pull request")
        if len(body) > MAX_BODY:
            raise errors.unprocessable(f"body is too long (maximum is {MAX_BODY} characters)")
        if event in ("COMMENT", "REQUEST_CHANGES") and not body.strip() and not comments:
            raise errors.unprocessable("Body can't be blank")
        if not event and any(review.state == "PENDING" and review.login == by for review in pull.reviews):
            raise errors.unprocessable("User can only have one pending review per pull request")
        commit_id = commit_id or pull.head_sha
        self._check_commit(repo, pull, commit_id)
        files = self._files_at(repo, pull, commit_id)
        review = Review(self.state.new_id(), by, "PENDING", body, commit_id, None)
        placed = [self._place(repo, pull, review, comment, files, by, of_review=True) for comment in comments]
        pull.reviews.append(review)
        pull.comments += placed
        self._place_comments(repo, pull)
        if event:
            self.submit_review(repo, pull, review, event)
        return review

    def submit_review(self, repo: Repo, pull: Pull, review: Review, event: str) -> None:
        review.state = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED"}.get(event, "COMMENTED")
        review.submitted = now()
        if review.login in pull.reviewers:
            pull.reviewers.remove(review.login)
        self.emit_review(repo, pull, review, "submitted")
        for comment in pull.comments:
            if comment.review_id == review.id:
                self.emit_review_comment(repo, pull, comment, "created", review.login)

    def dismiss_review(self, repo: Repo, pull: Pull, review: Review, by: str) -> None:
        if review.state not in ("APPROVED", "CHANGES_REQUESTED"):
            raise errors.unprocessable(f"Can not dismiss a {review.state.lower()} pull request review")
        review.state = "DISMISSED"
        self.emit_review(repo, pull, review, "dismissed", by)

    def emit_review(self, repo: Repo, pull: Pull, review: Review, action: str, by: str = "") -> None:
        shown = self.shapes.review(repo, pull, review)
        shown["state"] = shown["state"].lower()
        of = self.shapes.pull(repo, pull)
        self.emit(repo, "pull_request_review", by or review.login, action, review=shown, pull_request=of)

    def emit_review_comment(self, repo: Repo, pull: Pull, comment: ReviewComment, action: str, by: str) -> None:
        shown = self.shapes.review_comment(repo, pull, comment)
        of = self.shapes.pull(repo, pull)
        self.emit(repo, "pull_request_review_comment", by, action, comment=shown, pull_request=of)

    def add_review_comment(self, repo: Repo, pull: Pull, given: Json, by: str) -> ReviewComment:
        """One inline comment, which is a review of its own."""
        commit_id = given["commit_id"]
        self._check_commit(repo, pull, commit_id, resource="PullRequestReviewComment")
        files = self._files_at(repo, pull, commit_id)
        review = Review(self.state.new_id(), by, "COMMENTED", "", commit_id, now())
        comment = self._place(repo, pull, review, given, files, by, of_review=False)
        pull.reviews.append(review)
        pull.comments.append(comment)
        self._place_comments(repo, pull)
        self.emit_review_comment(repo, pull, comment, "created", by)
        return comment

    def reply(self, repo: Repo, pull: Pull, to: ReviewComment, body: str, by: str) -> ReviewComment:
        """An answer in a thread."""
        self.check_comment(body)
        time, first = now(), next(comment for comment in pull.comments if comment.id == to.thread)
        review = Review(self.state.new_id(), by, "COMMENTED", "", pull.head_sha, time)
        comment = ReviewComment(**vars(first))
        comment.id, comment.review_id, comment.login, comment.body = self.state.new_id(), review.id, by, body
        comment.created = comment.updated = time
        comment.in_reply_to = first.id
        pull.reviews.append(review)
        pull.comments.append(comment)
        self.emit_review_comment(repo, pull, comment, "created", by)
        return comment

    def _files_at(self, repo: Repo, pull: Pull, commit_id: str) -> dict[str, FileChange]:
        point = repo.bare.merge_base(self._fork_point(repo, pull), commit_id)
        return {change.path: change for change in repo.bare.diff(point, commit_id)}

    def _check_commit(self, repo: Repo, pull: Pull, commit_id: str, resource: str = "") -> None:
        pushed = {pull.head_sha, *(sha for push in pull.pushes for sha in push[:2])}
        if not re.fullmatch("[0-9a-f]{40}", commit_id) or not (
            commit_id in pushed or repo.bare.is_ancestor(commit_id, pull.head_sha)
        ):
            if resource:
                raise errors.invalid(
                    resource, code="custom", field="commit_id", message="commit_id is not part of the pull request"
                )
            raise errors.unprocessable("The commit_id is not part of the pull request")

    def _place(
        self,
        repo: Repo,
        pull: Pull,
        review: Review,
        given: Json,
        files: dict[str, FileChange],
        by: str,
        *,
        of_review: bool,
    ) -> ReviewComment:
        """A comment where it was wished; 422 unless the diff shows that line."""
        self.check_comment(given.get("body") or "")
        change = files.get(given.get("path") or "")
        if change is None:
            raise _no_place("path", "Path could not be resolved", of_review)
        side = given.get("side") or "RIGHT"
        line, position = given.get("line"), given.get("position")
        lines = change.lines
        subject = given.get("subject_type") or "line"
        if subject == "line" and line is None and position is not None:
            found = [(s, n) for s in ("RIGHT", "LEFT") for n, at in lines[s].items() if at == position]
            if not found:
                raise _no_place("position", "Position could not be resolved", of_review)
            side, line = found[0]
        if subject == "line" and (line is None or line not in lines.get(side, {})):
            raise _no_place("line", "Line could not be resolved", of_review)
        start, start_side = given.get("start_line"), given.get("start_side") or side
        if start is not None and (start not in lines.get(start_side, {}) or (line is not None and start >= line)):
            raise _no_place("start_line", "Start line could not be resolved", of_review)
        at = lines[side][line] if subject == "line" and line is not None else 1
        time, new = now(), self.state.new_id()
        return ReviewComment(
            id=new,
            review_id=review.id,
            login=by,
            body=given["body"],
            path=change.path,
            commit_id=review.commit_id,
            original_commit_id=review.commit_id,
            diff_hunk=change.hunk(at) if subject == "line" else "",
            line=line if subject == "line" else None,
            original_line=line if subject == "line" else None,
            side=side,
            position=at,
            original_position=at,
            start_line=start,
            start_side=start_side if start is not None else None,
            created=time,
            updated=time,
            thread=new,
            subject=subject,
        )

    def _place_comments(self, repo: Repo, pull: Pull) -> None:
        """Where comments stand in the diff by now: those whose line is gone are outdated, without line and position."""
        files = {change.path: change for change in self.diff(repo, pull)}
        for comment in pull.comments:
            if comment.subject != "line" or comment.original_line is None:
                continue
            change = files.get(comment.path)
            text = comment.diff_hunk.rsplit("\n", 1)[-1]
            at = None
            if change:
                shown = (change.patch or "").split("\n")
                same = [
                    (abs(line - comment.original_line), line, position)
                    for line, position in change.lines[comment.side].items()
                    if shown[position] == text
                ]
                at = min(same, default=None)
            comment.line, comment.position = (at[1], at[2]) if at else (None, None)
            if at:
                comment.commit_id = pull.head_sha

    # --- statuses and checks ------------------------------------------------------------------

    def add_status(
        self, repo: Repo, sha: str, state: str, context: str, description: str | None, target: str | None, by: str
    ) -> Status:
        if not re.fullmatch("[0-9a-f]{40}", sha) or not repo.bare.has(sha):
            raise ApiError(422, f"No commit found for SHA: {sha}")
        if description and len(description) > MAX_STATUS:
            raise errors.too_long("Status", "description", MAX_STATUS)
        if target and not target.startswith(("http://", "https://")):
            raise errors.invalid(
                "Status", code="custom", field="target_url", message="target_url must use http(s) scheme"
            )
        same = [status for status in repo.statuses if (status.sha, status.context) == (sha, context)]
        if len(same) >= MAX_STATUSES:
            message = "This SHA and context has reached the maximum number of statuses."
            raise errors.invalid("Status", code="custom", message=message)
        time = now()
        status = Status(self.state.new_id(), sha, context, state, description, target, by, time, time)
        repo.statuses.append(status)
        shown = self.shapes.whole_status(repo, status)
        at = [{"name": name} for name, tip in repo.branches.items() if tip == sha]
        parts = {name: shown[name] for name in ("id", "state", "description", "target_url", "context")}
        parts |= {"sha": sha, "name": repo.full_name, "branches": at, "created_at": time, "updated_at": time}
        self.emit(repo, "status", by, **parts)
        return status

    def suite(self, repo: Repo, sha: str, app_id: int) -> CheckSuite:
        """The suite of an App for a commit, made if it is not there."""
        for suite in repo.check_suites.values():
            if (suite.head_sha, suite.app_id) == (sha, app_id):
                return suite
        branch = next((name for name, tip in repo.branches.items() if tip == sha), None)
        time = now()
        suite = CheckSuite(self.state.new_id(), app_id, sha, branch, time, time)
        repo.check_suites[suite.id] = suite
        return suite

    def add_check_run(self, repo: Repo, sha: str, name: str, app_id: int, given: Json) -> CheckRun:
        if not repo.bare.has(sha):
            raise ApiError(422, f"No commit found for SHA: {sha}")
        suite = self.suite(repo, sha, app_id)
        run = CheckRun(self.state.new_id(), suite.id, app_id, name, sha, "queued", None, now(), None)
        if "output" in given and not given["output"].get("title"):
            raise errors.not_supplied("title")
        self._fill_check_run(run, given)
        repo.check_runs[run.id] = run
        self.emit_check_run(repo, run, "created")
        if run.status == "completed":
            self.emit_check_run(repo, run, "completed")
        return run

    def update_check_run(self, repo: Repo, run: CheckRun, given: Json) -> None:
        was = run.status
        self._fill_check_run(run, given)
        if run.status == "completed" != was:
            self.emit_check_run(repo, run, "completed")

    def _fill_check_run(self, run: CheckRun, given: Json) -> None:
        annotations = (given.get("output") or {}).get("annotations") or []
        if len(annotations) > MAX_ANNOTATIONS:
            raise ApiError(
                422,
                f"Invalid request.\n\nNo more than {MAX_ANNOTATIONS} items are allowed; "
                f"{len(annotations)} were supplied.",
            )
        for annotation in annotations:
            if lacks := next((name for name in _ANNOTATION if not annotation.get(name)), ""):
                raise errors.not_supplied(lacks)
        if "output" in given and "summary" not in given["output"]:
            raise errors.not_supplied("summary")
        if len((given.get("output") or {}).get("summary") or "") > MAX_OUTPUT:
            raise errors.too_long("CheckRun", "summary", MAX_OUTPUT)
        conclusion = given.get("conclusion")
        status = given.get("status") or ("completed" if conclusion else run.status)
        if status == "completed" and not (conclusion or run.conclusion):
            raise errors.invalid("CheckRun", code="missing_field", field="conclusion")
        run.status, run.conclusion = status, conclusion or (run.conclusion if status == "completed" else None)
        if run.status == "completed":
            run.completed = given.get("completed_at") or run.completed or now()
        run.name = given.get("name") or run.name
        run.started = given.get("started_at") or run.started
        run.details_url = given.get("details_url") or run.details_url
        run.external_id = given.get("external_id") or run.external_id
        output = dict(given.get("output") or {})
        run.annotations += output.pop("annotations", None) or []
        run.output |= output

    def emit_check_run(self, repo: Repo, run: CheckRun, action: str) -> None:
        app = self.state.apps.get(run.app_id)
        shown = self.shapes.check_run(repo, run)
        suite = repo.check_suites[run.suite_id]
        shown["check_suite"] = {"id": suite.id, "head_branch": suite.head_branch, "head_sha": suite.head_sha}
        self.emit(repo, "check_run", app.login if app else repo.owner, action, check_run=shown)
        if action == "completed":
            whole = self.shapes.check_suite(repo, suite)
            if whole["status"] == "completed":
                self.emit(repo, "check_suite", app.login if app else repo.owner, "completed", check_suite=whole)

    # --- who may what -------------------------------------------------------------------------

    def level_of(self, token: Token, repo: Repo) -> str:
        """What this token may do with the code, as a level."""
        if token.kind == "installation":
            return {"write": "write", "read": "read"}.get(token.permissions.get("contents", ""), "read")
        return self.state.level(token.login, repo) if token.login else "read"

    def may(self, token: Token, repo: Repo, permission: str, wanted: str, level: str) -> None:
        """Raises ApiError unless this token may do what needs `permission` for `wanted` (read or write).

        A person needs `level` on the repository as well.
        """
        if token.kind in ("installation", "fine-grained"):
            has = token.permissions.get(permission, "")
            if permission != "metadata" and (not has or (wanted == "write" and has == "read")):
                kind = "integration" if token.kind == "installation" else "personal access token"
                raise ApiError(
                    403,
                    f"Resource not accessible by {kind}",
                    headers={"X-Accepted-GitHub-Permissions": f"{permission}={wanted}"},
                )
        if token.kind == "installation":
            return
        scope_lacks = token.kind == "classic" and "repo" not in token.scopes
        if scope_lacks and wanted == "write" and (repo.private or "public_repo" not in token.scopes):
            raise errors.not_found()
        if not self.state.at_least(token.login, repo, level):
            if level == "admin":
                raise errors.not_found()
            raise ApiError(403, "Must have admin rights to Repository.")


def _no_place(field: str, sentence: str, of_review: bool) -> ApiError:
    """What GitHub says of a comment that the diff has no place for."""
    if of_review:
        return errors.unprocessable(sentence)
    if field == "path":
        return errors.invalid("PullRequestReviewComment", field="path")
    message = f"pull_request_review_thread.{field} must be part of the diff"
    return errors.invalid(
        "PullRequestReviewComment", code="custom", field=f"pull_request_review_thread.{field}", message=message
    )
