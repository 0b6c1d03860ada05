"""Comments of the fake Jira, and their properties."""

from __future__ import annotations

from typing import Any

from tests.fakes.jira_api import Answer, Call, route
from tests.fakes.jira_issues import check_property
from tests.fakes.jira_state import Comment, Issue, JiraProblem


@route("GET", "issue/{key}/comment")
def comments(call: Call, key: str) -> Answer:
    """A page: on Cloud of 100 at most, on Data Center of all unless asked for fewer."""
    issue = call.issue(key)
    wire = call.wire
    shown = [comment for comment in issue.comments if wire.may_read(comment)]
    order = call.asked("orderBy", "created")
    if order.lstrip("+- ") != "created":
        raise JiraProblem(400, f"Cannot order by '{order}'. Only the field 'created' is supported.")
    if order.startswith("-"):
        shown.reverse()
    start = call.number("startAt", 0)
    most = min(call.number("maxResults", 100), call.page_cap) if call.cloud else call.number("maxResults", 1_048_576)
    page = [wire.comment(issue, comment, expand=call.asked("expand")) for comment in shown[start : start + most]]
    return Answer(200, {"startAt": start, "maxResults": most, "total": len(shown), "comments": page})


@route("POST", "issue/{key}/comment")
def add(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    if not call.may("ADD_COMMENTS"):
        raise JiraProblem(400 if call.cloud else 403, "You do not have the permission to comment on this issue.")
    body = call.payload()
    text, properties, visibility = _text(call, body), _properties(body), _visibility(call, body)
    comment = call.changes.commented(issue, call.me(), text, properties, visibility)
    return Answer(201, call.wire.comment(issue, comment, expand=call.asked("expand")))


@route("GET", "issue/{key}/comment/{number}")
def read(call: Call, key: str, number: str) -> Answer:
    issue, comment = _found(call, key, number)
    return Answer(200, call.wire.comment(issue, comment, expand=call.asked("expand")))


@route("PUT", "issue/{key}/comment/{number}")
def edit(call: Call, key: str, number: str) -> Answer:
    issue, comment = _found(call, key, number)
    _refuse_unless_own(call, comment, "EDIT")
    body = call.payload()
    text, properties, visibility = _text(call, body), _properties(body), _visibility(call, body)
    comment.properties |= properties
    comment.visibility = visibility or comment.visibility
    call.changes.comment_edited(issue, call.me(), comment, text)
    return Answer(200, call.wire.comment(issue, comment, expand=call.asked("expand")))


@route("DELETE", "issue/{key}/comment/{number}")
def delete(call: Call, key: str, number: str) -> Answer:
    issue, comment = _found(call, key, number)
    _refuse_unless_own(call, comment, "DELETE")
    call.changes.comment_deleted(issue, call.me(), comment)
    return Answer(204)


@route("GET", "comment/{number}/properties")
def property_keys(call: Call, number: str) -> Answer:
    comment = _anywhere(call, number)
    root = f"{call.wire.root}/comment/{comment.id}/properties"
    return Answer(200, {"keys": [{"self": f"{root}/{name}", "key": name} for name in comment.properties]})


@route("GET", "comment/{number}/properties/{name}")
def read_property(call: Call, number: str, name: str) -> Answer:
    comment = _anywhere(call, number)
    if name not in comment.properties:
        raise JiraProblem(404, f"The property {name} does not exist.")
    return Answer(200, {"key": name, "value": comment.properties[name]})


@route("PUT", "comment/{number}/properties/{name}")
def write_property(call: Call, number: str, name: str) -> Answer:
    comment = _anywhere(call, number)
    _refuse_unless_own(call, comment, "EDIT", status=403)
    check_property(name, call.body)
    status = 200 if name in comment.properties else 201
    comment.properties[name] = call.body
    return Answer(status)


@route("DELETE", "comment/{number}/properties/{name}")
def drop_property(call: Call, number: str, name: str) -> Answer:
    comment = _anywhere(call, number)
    _refuse_unless_own(call, comment, "EDIT", status=403)
    if name not in comment.properties:
        raise JiraProblem(404, f"The property {name} does not exist.")
    del comment.properties[name]
    return Answer(204)


def _text(call: Call, body: dict[str, Any]) -> Any:
    text = call.rich("comment", body.get("body"))
    if text is None or (isinstance(text, str) and not text.strip()):
        raise JiraProblem(400, comment="Comment body can not be empty!")
    if isinstance(text, dict) and not text["content"]:
        raise JiraProblem(400, comment="Comment body can not be empty!")
    return text


def _properties(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("properties") or []
    for entry in given:
        check_property(str(entry.get("key", "")), entry.get("value"))
    return {entry["key"]: entry["value"] for entry in given}


def _visibility(call: Call, body: dict[str, Any]) -> dict[str, Any] | None:
    given: dict[str, Any] | None = body.get("visibility")
    if given and given.get("type") == "group" and given.get("value") not in call.state.groups:
        raise JiraProblem(400, commentLevel=f"Group: {given.get('value')} does not exist.")
    return given or None


def _found(call: Call, key: str, number: str) -> tuple[Issue, Comment]:
    issue = call.issue(key)
    for comment in issue.comments:
        if comment.id == number and call.wire.may_read(comment):
            return issue, comment
    raise JiraProblem(404, f"Can not find a comment for the id: {number}.")


def _anywhere(call: Call, number: str) -> Comment:
    for issue in call.data.issues.values():
        if call.visible(issue.key):
            for comment in issue.comments:
                if comment.id == number and call.wire.may_read(comment):
                    return comment
    raise JiraProblem(404, f"Can not find a comment for the id: {number}.")


def _refuse_unless_own(call: Call, comment: Comment, verb: str, *, status: int = 400) -> None:
    own = call.me().name == comment.author and call.may(f"{verb}_OWN_COMMENTS")
    if not own and not call.may(f"{verb}_ALL_COMMENTS"):
        raise JiraProblem(status, f"You do not have permission to {verb.lower()} comment with id: {comment.id}")
