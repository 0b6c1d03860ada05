"""The API of the fake GitHub: pull requests, their reviews and inline comments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes import github_errors as errors
from tests.fakes.github_call import Answer, Call, Params, Routes
from tests.fakes.github_errors import ApiError
from tests.fakes.github_state import Issue, Json, Pull, Repo, Review, ReviewComment

R = "/repos/{owner}/{repo}"
P = f"{R}/pulls/{{pull_number}}"
EVENTS = ("APPROVE", "REQUEST_CHANGES", "COMMENT")
MAX_FILES = 3000
"""Of a pull request."""


def add_to(routes: Routes) -> None:
    _review_comments(routes)
    _pulls(routes)
    _parts(routes)
    _reviews(routes)
    _merging(routes)


def _pull(call: Call, params: Params, wanted: str = "read", level: str = "read") -> tuple[Repo, Pull]:
    repo = call.repo(params, "pull_requests", wanted, level)
    return repo, repo.pull(int(params["pull_number"]))


def ordered(call: Call, items: list[Any], issue_of: Callable[[Any], Issue]) -> list[Any]:
    """Sorted as the query wishes; newest first without a wish."""
    key = "updated" if call.query.get("sort") == "updated" else "created"
    backwards = (call.query.get("direction") or "desc") == "desc"
    return sorted(items, key=lambda item: (getattr(issue_of(item), key), issue_of(item).number), reverse=backwards)


def _pulls(routes: Routes) -> None:
    @routes.add("GET", f"{R}/pulls")
    def pulls(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "pull_requests")
        found = list(repo.pulls.values())
        state = call.query.get("state") or "open"
        if state not in ("open", "closed", "all"):
            raise errors.invalid("PullRequest", field="state")
        if state != "all":
            found = [pull for pull in found if repo.issues[pull.number].state == state]
        # Without an owner before it, GitHub does not filter by head at all.
        owner, colon, branch = (call.query.get("head") or "").partition(":")
        if colon:
            found = [pull for pull in found if (owner.lower(), branch) == (repo.owner.lower(), pull.head)]
        if base := call.query.get("base"):
            found = [pull for pull in found if pull.base == base]
        found = ordered(call, found, lambda pull: repo.issues[pull.number])
        return call.listed(found, lambda pull: call.shapes.pull(repo, pull))

    @routes.add("POST", f"{R}/pulls")
    def make(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "pull_requests", "write", "read")
        title = call.text("title")
        head, base, body = call.text("head"), call.text("base"), call.optional("body")
        pull = call.hub.add_pull(repo, title, head, base, body, call.login, draft=call.flag("draft"))
        shown = call.hub.whole_pull(repo, pull, compute=False)
        return Answer(201, shown, {"Location": shown["url"]})

    @routes.add("GET", P)
    def pull(call: Call, params: Params) -> Answer:
        repo, found = _pull(call, params)
        if "diff" in call.headers.get("accept", ""):
            text = call.hub.diff_text(repo, found)
            return Answer(200, text, media="application/vnd.github.diff; charset=utf-8")
        return Answer(200, call.hub.whole_pull(repo, found, compute=True))

    @routes.add("PATCH", P)
    def edit(call: Call, params: Params) -> Answer:
        repo, found = _pull(call, params, "write")
        issue = repo.issues[found.number]
        if issue.login != call.login and call.token.kind != "installation":
            call.hub.may(call.token, repo, "pull_requests", "write", "write")
        state = call.choice("state", ("open", "closed"))
        call.hub.edit_issue(repo, issue, call.optional("title"), call.optional("body"), call.login)
        if (base := call.optional("base")) and base != found.base:
            if base not in repo.branches:
                raise errors.invalid("PullRequest", field="base")
            before, found.base, found.base_sha = found.base, base, repo.branches[base]
            call.hub.announce(repo, issue, "edited", call.login, changes={"base": {"ref": {"from": before}}})
        if state == "closed":
            call.hub.close_issue(repo, issue, call.login)
        elif state == "open":
            call.hub.reopen_issue(repo, issue, call.login)
        return Answer(200, call.hub.whole_pull(repo, found, compute=False))


def _parts(routes: Routes) -> None:
    @routes.add("GET", f"{P}/files")
    def files(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params)
        found = call.hub.diff(repo, pull)[:MAX_FILES]
        return call.listed(found, lambda change: call.shapes.file(repo, change, pull.head_sha))

    @routes.add("GET", f"{P}/commits")
    def commits(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params)
        base = pull.base_sha if pull.merged else repo.branches.get(pull.base, pull.base_sha)
        found = repo.bare.commits(["--reverse", f"{base}..{pull.head_sha}"])[:250]
        return call.listed(found, lambda commit: call.shapes.commit(repo, commit))

    @routes.add("GET", f"{P}/requested_reviewers")
    def requested(call: Call, params: Params) -> Answer:
        _, pull = _pull(call, params)
        return Answer(200, {"users": [call.shapes.user(login) for login in pull.reviewers], "teams": []})

    @routes.add("POST", f"{P}/requested_reviewers")
    def request(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write", "write")
        if call.names("team_reviewers"):
            raise ApiError(422, "Could not resolve to a node with the global id of the team.")
        call.hub.request_reviews(repo, pull, call.names("reviewers"), call.login)
        return Answer(201, call.shapes.pull(repo, pull))

    @routes.add("DELETE", f"{P}/requested_reviewers")
    def unrequest(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write", "write")
        leave = {login.lower() for login in call.names("reviewers")}
        pull.reviewers = [login for login in pull.reviewers if login.lower() not in leave]
        return Answer(200, call.shapes.pull(repo, pull))


def _reviews(routes: Routes) -> None:
    @routes.add("GET", f"{P}/reviews")
    def reviews(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params)
        # A pending review is seen by its author only.
        seen = [review for review in pull.reviews if review.state != "PENDING" or review.login == call.login]
        return call.listed(seen, lambda review: call.shapes.review(repo, pull, review))

    @routes.add("POST", f"{P}/reviews")
    def make(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write")
        event = call.choice("event", EVENTS) or ""
        comments = call.body.get("comments") or []
        if not isinstance(comments, list):
            raise errors.wrong_type("comments", comments)
        for comment in comments:
            for name in ("path", "body"):
                if name not in comment:
                    raise errors.not_supplied(name)
        body, commit = call.optional("body") or "", call.optional("commit_id") or ""
        review = call.hub.add_review(repo, pull, call.login, event, body, commit, comments)
        return Answer(200, call.shapes.review(repo, pull, review))

    @routes.add("GET", f"{P}/reviews/{{review_id}}")
    def review(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params)
        return Answer(200, call.shapes.review(repo, pull, _review(pull, params)))

    @routes.add("PUT", f"{P}/reviews/{{review_id}}")
    def edit(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write")
        found = _review(pull, params)
        if found.login != call.login:
            raise ApiError(403, "Must have admin rights to Repository.")
        found.body = call.text("body")
        call.hub.emit_review(repo, pull, found, "edited", call.login)
        return Answer(200, call.shapes.review(repo, pull, found))

    @routes.add("GET", f"{P}/reviews/{{review_id}}/comments")
    def comments(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params)
        found = [comment for comment in pull.comments if comment.review_id == _review(pull, params).id]
        return call.listed(found, lambda comment: call.shapes.review_comment(repo, pull, comment, of_review=True))

    @routes.add("POST", f"{P}/reviews/{{review_id}}/events")
    def submit(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write")
        found = _review(pull, params)
        event = call.choice("event", EVENTS, required=True) or ""
        if found.state != "PENDING":
            raise errors.unprocessable("Can not submit a review that is not pending")
        found.body = call.optional("body") or found.body
        call.hub.submit_review(repo, pull, found, event)
        return Answer(200, call.shapes.review(repo, pull, found))

    @routes.add("PUT", f"{P}/reviews/{{review_id}}/dismissals")
    def dismiss(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write", "write")
        found = _review(pull, params)
        call.text("message")
        call.hub.dismiss_review(repo, pull, found, call.login)
        return Answer(200, call.shapes.review(repo, pull, found))


def _review(pull: Pull, params: Params) -> Review:
    for review in pull.reviews:
        if review.id == int(params["review_id"]):
            return review
    raise errors.not_found()


def _review_comments(routes: Routes) -> None:
    @routes.add("GET", f"{R}/pulls/comments/{{comment_id}}")
    def comment(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "pull_requests")
        return Answer(200, call.shapes.review_comment(repo, *_comment(repo, params)))

    @routes.add("PATCH", f"{R}/pulls/comments/{{comment_id}}")
    def edit(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "pull_requests", "write")
        pull, found = _comment(repo, params)
        body = call.text("body")
        call.hub.check_comment(body)
        found.body = body
        call.hub.emit_review_comment(repo, pull, found, "edited", call.login)
        return Answer(200, call.shapes.review_comment(repo, pull, found))

    @routes.add("DELETE", f"{R}/pulls/comments/{{comment_id}}")
    def delete(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "pull_requests", "write")
        pull, found = _comment(repo, params)
        pull.comments.remove(found)
        return Answer(204)

    @routes.add("GET", f"{P}/comments")
    def comments(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params)
        pending = {review.id for review in pull.reviews if review.state == "PENDING"}
        seen = [comment for comment in pull.comments if comment.review_id not in pending]
        return call.listed(seen, lambda found: call.shapes.review_comment(repo, pull, found))

    @routes.add("POST", f"{P}/comments")
    def make(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write")
        given: Json = call.body
        if isinstance(parent := given.get("in_reply_to"), int):
            found = call.hub.reply(repo, pull, _of(pull, parent), call.text("body"), call.login)
        else:
            for name in ("body", "commit_id", "path"):
                call.text(name)
            found = call.hub.add_review_comment(repo, pull, given, call.login)
        shown = call.shapes.review_comment(repo, pull, found)
        return Answer(201, shown, {"Location": shown["url"]})

    @routes.add("POST", f"{P}/comments/{{comment_id}}/replies")
    def reply(call: Call, params: Params) -> Answer:
        repo, pull = _pull(call, params, "write")
        to = _of(pull, int(params["comment_id"]))
        if to.in_reply_to:
            raise errors.not_found()
        found = call.hub.reply(repo, pull, to, call.text("body"), call.login)
        shown = call.shapes.review_comment(repo, pull, found)
        return Answer(201, shown, {"Location": shown["url"]})


def _of(pull: Pull, comment_id: int) -> ReviewComment:
    for comment in pull.comments:
        if comment.id == comment_id:
            return comment
    raise errors.not_found()


def _comment(repo: Repo, params: Params) -> tuple[Pull, ReviewComment]:
    for pull in repo.pulls.values():
        for comment in pull.comments:
            if comment.id == int(params["comment_id"]):
                return pull, comment
    raise errors.not_found()


def _merging(routes: Routes) -> None:
    @routes.add("GET", f"{P}/merge")
    def merged(call: Call, params: Params) -> Answer:
        _, pull = _pull(call, params)
        if not pull.merged:
            raise errors.not_found()
        return Answer(204)

    @routes.add("PUT", f"{P}/merge")
    def merge(call: Call, params: Params) -> Answer:
        repo = call.repo(params, "contents", "write", "write")
        pull = repo.pull(int(params["pull_number"]))
        method = call.choice("merge_method", ("merge", "squash", "rebase")) or "merge"
        sha = call.hub.merge(
            repo,
            pull,
            call.login,
            sha=call.optional("sha") or "",
            method=method,
            title=call.optional("commit_title") or "",
            text=call.optional("commit_message") or "",
        )
        return Answer(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})
