"""How the fake GitHub shows what it remembers: the JSON of GitHub's official description."""

from __future__ import annotations

import base64
import fnmatch
import urllib.parse
from typing import Any, Literal

from tests.fakes.github_bare import Commit, FileChange
from tests.fakes.github_state import (
    LEVELS,
    Account,
    App,
    CheckRun,
    CheckSuite,
    Comment,
    Issue,
    Json,
    Label,
    Protection,
    Pull,
    Repo,
    Review,
    ReviewComment,
    State,
    Status,
    WorkflowRun,
)

_REPOSITORY_LINKS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}

_USER_LINKS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}


class Shapes:
    """`root` is the address of the API, `web` that of the pages and of git."""

    def __init__(self, state: State, root: str, web: str) -> None:
        self.state = state
        self.root = root
        self.web = web

    # --- people and repositories --------------------------------------------------------------

    def user(self, login: str | None) -> Json | None:
        """A simple user; None where there is nobody."""
        account = self.state.accounts.get((login or "").lower())
        return self.account(account) if account else None

    def account(self, account: Account) -> Json:
        url = f"{self.root}/users/{account.login}"
        return {
            "login": account.login,
            "id": account.id,
            "node_id": node_id("User", account.id),
            "avatar_url": f"{self.web}/avatars/u/{account.id}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.web}/{account.login.removesuffix('[bot]')}",
            **{name: url + path for name, path in _USER_LINKS.items()},
            "type": account.type,
            "site_admin": False,
        }

    def whole_user(self, account: Account) -> Json:
        return {
            **self.account(account),
            "user_view_type": "public",
            "name": account.name,
            "company": None,
            "blog": "",
            "location": None,
            "email": account.email,
            "hireable": None,
            "bio": None,
            "public_repos": 0,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "created_at": account.created,
            "updated_at": account.created,
        }

    def collaborator(self, repo: Repo, account: Account) -> Json:
        level = self.state.level(account.login, repo)
        return {**self.account(account), "permissions": permissions(level), "role_name": level}

    def permission(self, repo: Repo, account: Account) -> Json:
        """The level in the four old words, and its name beside."""
        level = self.state.level(account.login, repo)
        old = {"maintain": "write", "triage": "read"}.get(level, level)
        return {"permission": old, "role_name": level, "user": self.collaborator(repo, account)}

    def url(self, repo: Repo) -> str:
        return f"{self.root}/repos/{repo.full_name}"

    def page(self, repo: Repo) -> str:
        return f"{self.web}/{repo.full_name}"

    def repository_core(self, repo: Repo) -> Json:
        """What is in every form of a repository."""
        url = self.url(repo)
        return {
            "id": repo.id,
            "node_id": node_id("Repository", repo.id),
            "name": repo.name,
            "full_name": repo.full_name,
            "owner": self.user(repo.owner),
            "private": repo.private,
            "html_url": self.page(repo),
            "description": repo.description,
            "fork": False,
            "url": url,
            **{name: url + path for name, path in _REPOSITORY_LINKS.items()},
        }

    def repository(self, repo: Repo, level: str) -> Json:
        issues = sum(issue.state == "open" for issue in repo.issues.values())
        methods = repo.merge_methods
        return {
            **self.repository_core(repo),
            "git_url": f"git:{self.page(repo).split('//')[1]}.git",
            "ssh_url": f"git@{self.web.split('//')[1].split(':')[0]}:{repo.full_name}.git",
            "clone_url": f"{self.page(repo)}.git",
            "svn_url": self.page(repo),
            "mirror_url": None,
            "homepage": None,
            "language": "Python",
            "forks_count": 0,
            "stargazers_count": 0,
            "watchers_count": 0,
            "size": 1,
            "default_branch": repo.default_branch,
            "open_issues_count": issues,
            "is_template": False,
            "topics": [],
            "has_issues": repo.has_issues,
            "has_projects": False,
            "has_wiki": False,
            "has_pages": False,
            "has_downloads": True,
            "has_discussions": False,
            "archived": repo.archived,
            "disabled": False,
            "visibility": "private" if repo.private else "public",
            "pushed_at": repo.created,
            "created_at": repo.created,
            "updated_at": repo.created,
            "permissions": permissions(level),
            "allow_rebase_merge": "rebase" in methods,
            "allow_squash_merge": "squash" in methods,
            "allow_merge_commit": "merge" in methods,
            "allow_auto_merge": False,
            "delete_branch_on_merge": repo.delete_branch_on_merge,
            "license": None,
            "forks": 0,
            "open_issues": issues,
            "watchers": 0,
        }

    def full_repository(self, repo: Repo, level: str) -> Json:
        return {**self.repository(repo, level), "subscribers_count": 0, "network_count": 0}

    # --- git ----------------------------------------------------------------------------------

    def ref(self, repo: Repo, name: str, sha: str) -> Json:
        return {
            "ref": name,
            "node_id": node_id("Ref", f"{repo.id}:{name}"),
            "url": f"{self.url(repo)}/git/{quoted(name)}",
            "object": {"type": "commit", "sha": sha, "url": f"{self.url(repo)}/git/commits/{sha}"},
        }

    def commit(self, repo: Repo, commit: Commit) -> Json:
        url = f"{self.url(repo)}/commits/{commit.sha}"
        return {
            "url": url,
            "sha": commit.sha,
            "node_id": node_id("Commit", commit.sha),
            "html_url": f"{self.page(repo)}/commit/{commit.sha}",
            "comments_url": f"{url}/comments",
            "commit": {
                "url": f"{self.url(repo)}/git/commits/{commit.sha}",
                "author": _git_user(commit.author),
                "committer": _git_user(commit.committer),
                "message": commit.message,
                "comment_count": 0,
                "tree": {"sha": commit.tree, "url": f"{self.url(repo)}/git/trees/{commit.tree}"},
                "verification": _UNVERIFIED,
            },
            "author": self._by_mail(commit.author[1]),
            "committer": self._by_mail(commit.committer[1]),
            "parents": [self._parent(repo, sha) for sha in commit.parents],
        }

    def git_commit(self, repo: Repo, commit: Commit) -> Json:
        return {
            "sha": commit.sha,
            "node_id": node_id("Commit", commit.sha),
            "url": f"{self.url(repo)}/git/commits/{commit.sha}",
            "html_url": f"{self.page(repo)}/commit/{commit.sha}",
            "author": _git_user(commit.author),
            "committer": _git_user(commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": f"{self.url(repo)}/git/trees/{commit.tree}"},
            "parents": [self._parent(repo, sha) for sha in commit.parents],
            "verification": _UNVERIFIED,
        }

    def _parent(self, repo: Repo, sha: str) -> Json:
        return {
            "sha": sha,
            "url": f"{self.url(repo)}/commits/{sha}",
            "html_url": f"{self.page(repo)}/commit/{sha}",
        }

    def _by_mail(self, mail: str) -> Json | None:
        for account in self.state.accounts.values():
            if mail and mail in (account.email, noreply(account)):
                return self.account(account)
        return None

    def file(self, repo: Repo, change: FileChange, head: str) -> Json:
        path = quoted(change.path)
        shown = {
            "sha": None if change.status == "removed" else change.blob,
            "filename": change.path,
            "status": change.status,
            "additions": change.additions,
            "deletions": change.deletions,
            "changes": change.additions + change.deletions,
            "blob_url": f"{self.page(repo)}/blob/{head}/{path}",
            "raw_url": f"{self.page(repo)}/raw/{head}/{path}",
            "contents_url": f"{self.url(repo)}/contents/{path}?ref={head}",
        }
        if change.status == "removed":
            shown["sha"] = change.blob
        if change.patch is not None:
            shown["patch"] = change.patch
        if change.status == "renamed":
            shown["previous_filename"] = change.old_path
        return shown

    def content(self, repo: Repo, ref: str, path: str, kind: str, sha: str, data: bytes | None) -> Json:
        """An entry of a directory (without `data`), or a file."""
        at, ref = quoted(path), quoted(ref)
        url = f"{self.url(repo)}/contents/{at}?ref={ref}"
        is_file = kind == "blob"
        git = f"{self.url(repo)}/git/{'blobs' if is_file else 'trees'}/{sha}"
        page = f"{self.page(repo)}/{'blob' if is_file else 'tree'}/{ref}/{at}"
        shown: Json = {
            "type": "file" if is_file else "dir",
            "size": len(data) if data is not None else 0,
            "name": path.rsplit("/", 1)[-1],
            "path": path,
            "sha": sha,
            "url": url,
            "git_url": git,
            "html_url": page,
            "download_url": f"{self.page(repo)}/raw/{ref}/{at}" if is_file else None,
            "_links": {"self": url, "git": git, "html": page},
        }
        if data is not None:
            shown |= {"encoding": "base64", "content": base64.encodebytes(data).decode()}
        return shown

    # --- branches -----------------------------------------------------------------------------

    def _required(self, repo: Repo, branch: str, rules: Protection) -> Json:
        return {
            "enforcement_level": "everyone" if rules.enforce_admins else "non_admins",
            "contexts": rules.contexts,
            "checks": [{"context": context, "app_id": None} for context in rules.contexts],
        }

    def short_branch(self, repo: Repo, branch: str, sha: str) -> Json:
        rules = repo.protection(branch)
        off: Json = {"enforcement_level": "off", "contexts": [], "checks": []}
        return {
            "name": branch,
            "commit": {"sha": sha, "url": f"{self.url(repo)}/commits/{sha}"},
            "protected": rules is not None,
            "protection": {
                "enabled": rules is not None,
                "required_status_checks": self._required(repo, branch, rules) if rules else off,
            },
            "protection_url": f"{self.url(repo)}/branches/{quoted(branch)}/protection",
        }

    def branch(self, repo: Repo, branch: str, commit: Commit) -> Json:
        shown = self.short_branch(repo, branch, commit.sha)
        links = {
            "self": f"{self.url(repo)}/branches/{quoted(branch)}",
            "html": f"{self.page(repo)}/tree/{quoted(branch)}",
        }
        return {**shown, "commit": self.commit(repo, commit), "_links": links}

    def protection(self, repo: Repo, branch: str, rules: Protection) -> Json:
        url = f"{self.url(repo)}/branches/{quoted(branch)}/protection"
        shown: Json = {
            "url": url,
            "enforce_admins": {"url": f"{url}/enforce_admins", "enabled": rules.enforce_admins},
            "required_linear_history": {"enabled": rules.linear},
            "allow_force_pushes": {"enabled": False},
            "allow_deletions": {"enabled": False},
            "required_conversation_resolution": {"enabled": False},
        }
        if rules.contexts:
            checks = f"{url}/required_status_checks"
            required = self._required(repo, branch, rules)
            del required["enforcement_level"]
            extra = {"strict": rules.strict, "url": checks, "contexts_url": f"{checks}/contexts"}
            shown["required_status_checks"] = {**required, **extra}
        if rules.reviews_required:
            shown["required_pull_request_reviews"] = {
                "url": f"{url}/required_pull_request_reviews",
                "dismiss_stale_reviews": rules.dismiss_stale,
                "require_code_owner_reviews": rules.code_owners,
                "required_approving_review_count": rules.approvals,
                "require_last_push_approval": False,
            }
        return shown

    def rules(self, repo: Repo, branch: str) -> list[Json]:
        """Those of rule sets; classic protection is not shown here by GitHub either."""
        kinds = [
            kind for pattern, kinds in repo.rules.items() for kind in kinds if fnmatch.fnmatchcase(branch, pattern)
        ]
        of = {"ruleset_source_type": "Repository", "ruleset_source": repo.full_name, "ruleset_id": 1}
        return [{"type": kind, **of} for kind in kinds]

    # --- issues -------------------------------------------------------------------------------

    def label(self, repo: Repo, label: Label) -> Json:
        return {
            "id": label.id,
            "node_id": node_id("Label", label.id),
            "url": f"{self.url(repo)}/labels/{quoted(label.name)}",
            "name": label.name,
            "description": label.description,
            "color": label.color,
            "default": False,
        }

    def labels(self, repo: Repo, issue: Issue) -> list[Json]:
        return [self.label(repo, repo.labels[name.lower()]) for name in issue.labels if name.lower() in repo.labels]

    def association(self, repo: Repo, login: str) -> str:
        if login == repo.owner:
            return "OWNER"
        owner = self.state.accounts.get(repo.owner.lower())
        if owner and login in owner.members:
            return "MEMBER"
        return "COLLABORATOR" if login in repo.collaborators else "NONE"

    def issue(self, repo: Repo, issue: Issue) -> Json:
        url = f"{self.url(repo)}/issues/{issue.number}"
        pull = repo.pulls.get(issue.number)
        kind = "pull" if pull else "issues"
        assignees = [self.user(login) for login in issue.assignees]
        shown: Json = {
            "id": issue.id,
            "node_id": node_id("PullRequest" if pull else "Issue", pull.id if pull else issue.id),
            "url": url,
            "repository_url": self.url(repo),
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "timeline_url": f"{url}/timeline",
            "html_url": f"{self.page(repo)}/{kind}/{issue.number}",
            "number": issue.number,
            "state": issue.state,
            "state_reason": issue.state_reason,
            "title": issue.title,
            "body": issue.body,
            "user": self.user(issue.login),
            "labels": self.labels(repo, issue),
            "assignee": assignees[0] if assignees else None,
            "assignees": assignees,
            "milestone": None,
            "locked": issue.locked,
            "active_lock_reason": None,
            "comments": len(issue.comments),
            "closed_at": issue.closed,
            "created_at": issue.created,
            "updated_at": issue.updated,
            "author_association": self.association(repo, issue.login),
            "reactions": self._reactions(url),
            "closed_by": self.user(issue.closed_by),
            "performed_via_github_app": None,
        }
        if pull:
            page = f"{self.page(repo)}/pull/{pull.number}"
            shown["draft"] = pull.draft
            shown["pull_request"] = {
                "url": f"{self.url(repo)}/pulls/{pull.number}",
                "html_url": page,
                "diff_url": f"{page}.diff",
                "patch_url": f"{page}.patch",
                "merged_at": pull.merged,
            }
        return shown

    def comment(self, repo: Repo, issue: Issue, comment: Comment) -> Json:
        url = f"{self.url(repo)}/issues/comments/{comment.id}"
        kind = "pull" if issue.number in repo.pulls else "issues"
        return {
            "id": comment.id,
            "node_id": node_id("IssueComment", comment.id),
            "url": url,
            "html_url": f"{self.page(repo)}/{kind}/{issue.number}#issuecomment-{comment.id}",
            "issue_url": f"{self.url(repo)}/issues/{issue.number}",
            "user": self.user(comment.login),
            "body": comment.body,
            "created_at": comment.created,
            "updated_at": comment.updated,
            "author_association": self.association(repo, comment.login),
            "reactions": self._reactions(url),
            "performed_via_github_app": self.app(self.state.apps[comment.app_id]) if comment.app_id else None,
        }

    @staticmethod
    def _reactions(url: str) -> Json:
        names = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
        return {"url": f"{url}/reactions", "total_count": 0, **dict.fromkeys(names, 0)}

    # --- pull requests ------------------------------------------------------------------------

    def pull(self, repo: Repo, pull: Pull) -> Json:
        """As lists show it; `whole_pull` adds what only a single one has."""
        issue = repo.issues[pull.number]
        url, page = f"{self.url(repo)}/pulls/{pull.number}", f"{self.page(repo)}/pull/{pull.number}"
        as_issue = f"{self.url(repo)}/issues/{pull.number}"
        links = {
            "self": url,
            "html": page,
            "issue": as_issue,
            "comments": f"{as_issue}/comments",
            "review_comments": f"{url}/comments",
            "review_comment": f"{self.url(repo)}/pulls/comments{{/number}}",
            "commits": f"{url}/commits",
            "statuses": f"{self.url(repo)}/statuses/{pull.head_sha}",
        }
        assignees = [self.user(login) for login in issue.assignees]
        return {
            "url": url,
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "issue_url": as_issue,
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": links["statuses"],
            "number": pull.number,
            "state": issue.state,
            "locked": issue.locked,
            "active_lock_reason": None,
            "title": issue.title,
            "user": self.user(issue.login),
            "body": issue.body,
            "labels": self.labels(repo, issue),
            "milestone": None,
            "created_at": issue.created,
            "updated_at": issue.updated,
            "closed_at": issue.closed,
            "merged_at": pull.merged,
            "merge_commit_sha": pull.merge_commit,
            "assignee": assignees[0] if assignees else None,
            "assignees": assignees,
            "requested_reviewers": [self.user(login) for login in pull.reviewers],
            "requested_teams": [],
            "head": self._side(repo, pull.head, pull.head_sha),
            "base": self._side(repo, pull.base, pull.base_sha),
            "_links": {name: {"href": href} for name, href in links.items()},
            "author_association": self.association(repo, issue.login),
            "auto_merge": None,
            "draft": pull.draft,
        }

    def whole_pull(
        self, repo: Repo, pull: Pull, files: list[FileChange], commits: int, mergeable: bool | None, merge_state: str
    ) -> Json:
        return {
            **self.pull(repo, pull),
            "merged": pull.merged is not None,
            "mergeable": mergeable,
            "rebaseable": mergeable,
            "mergeable_state": merge_state,
            "merged_by": self.user(pull.merged_by),
            "comments": len(repo.issues[pull.number].comments),
            "review_comments": len(pull.comments),
            "maintainer_can_modify": False,
            "commits": commits,
            "additions": sum(file.additions for file in files),
            "deletions": sum(file.deletions for file in files),
            "changed_files": len(files),
        }

    def _side(self, repo: Repo, branch: str, sha: str) -> Json:
        return {
            "label": f"{repo.owner}:{branch}",
            "ref": branch,
            "sha": sha,
            "user": self.user(repo.owner),
            "repo": self.repository(repo, "read"),
        }

    def minimal_pull(self, repo: Repo, pull: Pull) -> Json:
        own = {"id": repo.id, "url": self.url(repo), "name": repo.name}
        return {
            "id": pull.id,
            "number": pull.number,
            "url": f"{self.url(repo)}/pulls/{pull.number}",
            "head": {"ref": pull.head, "sha": pull.head_sha, "repo": own},
            "base": {"ref": pull.base, "sha": pull.base_sha, "repo": own},
        }

    def review(self, repo: Repo, pull: Pull, review: Review) -> Json:
        page = f"{self.page(repo)}/pull/{pull.number}#pullrequestreview-{review.id}"
        url = f"{self.url(repo)}/pulls/{pull.number}"
        shown = {
            "id": review.id,
            "node_id": node_id("PullRequestReview", review.id),
            "user": self.user(review.login),
            "body": review.body,
            "state": review.state,
            "html_url": page,
            "pull_request_url": url,
            "author_association": self.association(repo, review.login),
            "_links": {"html": {"href": page}, "pull_request": {"href": url}},
            "commit_id": review.commit_id,
        }
        if review.submitted:
            shown["submitted_at"] = review.submitted
        return shown

    def review_comment(self, repo: Repo, pull: Pull, comment: ReviewComment, *, of_review: bool = False) -> Json:
        """`of_review`: as the comments of one review are listed, without the place by line."""
        url = f"{self.url(repo)}/pulls/comments/{comment.id}"
        page = f"{self.page(repo)}/pull/{pull.number}#discussion_r{comment.id}"
        of_pull = f"{self.url(repo)}/pulls/{pull.number}"
        shown: Json = {
            "url": url,
            "pull_request_review_id": comment.review_id,
            "id": comment.id,
            "node_id": node_id("PullRequestReviewComment", comment.id),
            "diff_hunk": comment.diff_hunk,
            "path": comment.path,
            "commit_id": comment.commit_id,
            "original_commit_id": comment.original_commit_id,
            "user": self.user(comment.login),
            "body": comment.body,
            "created_at": comment.created,
            "updated_at": comment.updated,
            "html_url": page,
            "pull_request_url": of_pull,
            "author_association": self.association(repo, comment.login),
            "_links": {"self": {"href": url}, "html": {"href": page}, "pull_request": {"href": of_pull}},
            "reactions": self._reactions(url),
            "position": comment.position,
            "original_position": comment.original_position,
        }
        if comment.in_reply_to:
            shown["in_reply_to_id"] = comment.in_reply_to
        if not of_review:
            shown |= {
                "line": comment.line,
                "original_line": comment.original_line,
                "side": comment.side,
                "start_line": comment.start_line,
                "original_start_line": comment.start_line,
                "start_side": comment.start_side,
                "subject_type": comment.subject,
            }
        return shown

    # --- checks -------------------------------------------------------------------------------

    def status(self, repo: Repo, status: Status) -> Json:
        return {
            "url": f"{self.url(repo)}/statuses/{status.sha}",
            "avatar_url": f"{self.web}/avatars/u/{quoted(status.login)}",
            "id": status.id,
            "node_id": node_id("StatusContext", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": status.created,
            "updated_at": status.updated,
        }

    def whole_status(self, repo: Repo, status: Status) -> Json:
        return {**self.status(repo, status), "creator": self.user(status.login)}

    def app(self, app: App) -> Json:
        return {
            "id": app.id,
            "slug": app.slug,
            "node_id": node_id("App", app.id),
            "owner": self.user(app.owner),
            "name": app.slug,
            "description": "",
            "external_url": f"{self.web}/apps/{app.slug}",
            "html_url": f"{self.web}/apps/{app.slug}",
            "created_at": self.state.account(app.owner).created,
            "updated_at": self.state.account(app.owner).created,
            "permissions": app.permissions,
            "events": ["check_run", "pull_request"],
        }

    def installation(self, app: App) -> Json:
        owner = self.state.account(app.owner)
        url = f"{self.root}/app/installations/{app.installation_id}"
        return {
            "id": app.installation_id,
            "account": self.account(owner),
            "repository_selection": "all" if app.repositories is None else "selected",
            "access_tokens_url": f"{url}/access_tokens",
            "repositories_url": f"{self.root}/installation/repositories",
            "html_url": f"{self.web}/settings/installations/{app.installation_id}",
            "app_id": app.id,
            "app_slug": app.slug,
            "target_id": owner.id,
            "target_type": owner.type,
            "permissions": app.permissions,
            "events": ["check_run", "pull_request"],
            "created_at": owner.created,
            "updated_at": owner.created,
            "single_file_name": None,
            "suspended_by": None,
            "suspended_at": owner.created if app.suspended else None,
        }

    def check_run(self, repo: Repo, run: CheckRun) -> Json:
        url = f"{self.url(repo)}/check-runs/{run.id}"
        output = {
            "title": run.output.get("title"),
            "summary": run.output.get("summary"),
            "text": run.output.get("text"),
            "annotations_count": len(run.annotations),
            "annotations_url": f"{url}/annotations",
        }
        app = self.state.apps.get(run.app_id)
        pulls = [
            self.minimal_pull(repo, pull)
            for pull in repo.pulls.values()
            if pull.head_sha == run.head_sha and repo.issues[pull.number].state == "open"
        ]
        return {
            "id": run.id,
            "head_sha": run.head_sha,
            "node_id": node_id("CheckRun", run.id),
            "external_id": run.external_id,
            "url": url,
            "html_url": f"{self.page(repo)}/runs/{run.id}",
            "details_url": run.details_url or f"{self.page(repo)}/runs/{run.id}",
            "status": run.status,
            "conclusion": run.conclusion,
            "started_at": run.started,
            "completed_at": run.completed,
            "output": output,
            "name": run.name,
            "check_suite": {"id": run.suite_id},
            "app": self.app(app) if app else None,
            "pull_requests": pulls,
        }

    def annotation(self, repo: Repo, run: CheckRun, annotation: Json) -> Json:
        names = ("start_column", "end_column", "title", "raw_details")
        return {
            **{name: annotation.get(name) for name in names},
            **{name: annotation[name] for name in ("path", "start_line", "end_line", "annotation_level", "message")},
            "blob_href": f"{self.page(repo)}/blob/{run.head_sha}/{quoted(annotation['path'])}",
        }

    def check_suite(self, repo: Repo, suite: CheckSuite) -> Json:
        runs = [run for run in repo.check_runs.values() if run.suite_id == suite.id]
        done = bool(runs) and all(run.status == "completed" for run in runs)
        url = f"{self.url(repo)}/check-suites/{suite.id}"
        head = repo.bare.commit(suite.head_sha)
        app = self.state.apps.get(suite.app_id)
        return {
            "id": suite.id,
            "node_id": node_id("CheckSuite", suite.id),
            "head_branch": suite.head_branch,
            "head_sha": suite.head_sha,
            "status": "completed" if done else ("in_progress" if runs else "queued"),
            "conclusion": worst([run.conclusion for run in runs]) if done else None,
            "url": url,
            "before": None,
            "after": suite.head_sha,
            "pull_requests": [],
            "app": self.app(app) if app else None,
            "repository": self.repository(repo, "read"),
            "created_at": suite.created,
            "updated_at": suite.updated,
            "head_commit": self.simple_commit(head) if head else None,
            "latest_check_runs_count": len(runs),
            "check_runs_url": f"{url}/check-runs",
        }

    @staticmethod
    def simple_commit(commit: Commit) -> Json:
        return {
            "id": commit.sha,
            "tree_id": commit.tree,
            "message": commit.message,
            "timestamp": commit.committer[2],
            "author": {"name": commit.author[0], "email": commit.author[1]},
            "committer": {"name": commit.committer[0], "email": commit.committer[1]},
        }

    def workflow_run(self, repo: Repo, run: WorkflowRun) -> Json:
        url = f"{self.url(repo)}/actions/runs/{run.id}"
        jobs = [repo.check_runs[job] for job in run.jobs]
        done = all(job.status == "completed" for job in jobs)
        head = repo.bare.commit(run.head_sha)
        return {
            "id": run.id,
            "name": run.name,
            "node_id": node_id("WorkflowRun", run.id),
            "check_suite_id": run.suite_id,
            "check_suite_node_id": node_id("CheckSuite", run.suite_id),
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
            "path": ".github/workflows/ci.yml",
            "run_number": run.number,
            "run_attempt": 1,
            "event": run.event,
            "status": "completed" if done else "in_progress",
            "conclusion": worst([job.conclusion for job in jobs]) if done else None,
            "workflow_id": 1,
            "url": url,
            "html_url": f"{self.page(repo)}/actions/runs/{run.id}",
            "pull_requests": [
                self.minimal_pull(repo, pull) for pull in repo.pulls.values() if pull.head_sha == run.head_sha
            ],
            "created_at": run.created,
            "updated_at": run.created,
            "run_started_at": run.created,
            "actor": self.user(run.login),
            "triggering_actor": self.user(run.login),
            "jobs_url": f"{url}/jobs",
            "logs_url": f"{url}/logs",
            "check_suite_url": f"{self.url(repo)}/check-suites/{run.suite_id}",
            "artifacts_url": f"{url}/artifacts",
            "cancel_url": f"{url}/cancel",
            "rerun_url": f"{url}/rerun",
            "previous_attempt_url": None,
            "workflow_url": f"{self.url(repo)}/actions/workflows/1",
            "head_commit": self.simple_commit(head) if head else None,
            "repository": self.repository(repo, "read"),
            "head_repository": self.repository(repo, "read"),
            "display_title": run.name,
        }

    def job(self, repo: Repo, run: WorkflowRun, job: CheckRun) -> Json:
        started = job.started or run.created
        return {
            "id": job.id,
            "run_id": run.id,
            "run_url": f"{self.url(repo)}/actions/runs/{run.id}",
            "run_attempt": 1,
            "node_id": node_id("CheckRun", job.id),
            "head_sha": job.head_sha,
            "url": f"{self.url(repo)}/actions/jobs/{job.id}",
            "html_url": f"{self.page(repo)}/actions/runs/{run.id}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": run.created,
            "started_at": started,
            "completed_at": job.completed,
            "name": job.name,
            "steps": [
                {
                    "name": "Run tests",
                    "status": job.status,
                    "conclusion": job.conclusion,
                    "number": 1,
                    "started_at": started,
                    "completed_at": job.completed,
                }
            ],
            "check_run_url": f"{self.url(repo)}/check-runs/{job.id}",
            "labels": ["ubuntu-latest"],
            "runner_id": 1,
            "runner_name": "runner-1",
            "runner_group_id": 1,
            "runner_group_name": "Default",
            "workflow_name": run.name,
            "head_branch": run.head_branch,
        }


_UNVERIFIED: Json = {
    "verified": False,
    "reason": "unsigned",
    "signature": None,
    "payload": None,
    "verified_at": None,
}


def _git_user(person: tuple[str, str, str]) -> Json:
    return {"name": person[0], "email": person[1], "date": person[2]}


def quoted(name: str) -> str:
    """A branch or a path as a part of an address."""
    return urllib.parse.quote(name)


def node_id(kind: str, identity: int | str) -> str:
    """The id of GraphQL, which says what it is of to this fake only."""
    return base64.urlsafe_b64encode(f"{kind}:{identity}".encode()).decode()


def of_node_id(node: str) -> tuple[str, str]:
    """(kind, id) of `node_id`; raises ValueError for what is none."""
    kind, found, identity = base64.urlsafe_b64decode(node.encode()).decode().partition(":")
    if not found:
        raise ValueError(node)
    return kind, identity


def noreply(account: Account) -> str:
    """The address that GitHub gives an account."""
    return f"{account.id}+{account.login}@users.noreply.github.example"


def permissions(level: str) -> Json:
    rank = LEVELS.index(level)
    words: dict[str, Literal["read", "triage", "write", "maintain", "admin"]] = {
        "pull": "read",
        "triage": "triage",
        "push": "write",
        "maintain": "maintain",
        "admin": "admin",
    }
    return {word: rank >= LEVELS.index(needed) for word, needed in words.items()}


def worst(conclusions: list[Any]) -> str:
    """What all together come to."""
    for conclusion in ("failure", "timed_out", "action_required", "cancelled"):
        if conclusion in conclusions:
            return conclusion
    return "success" if "success" in conclusions else "neutral"
