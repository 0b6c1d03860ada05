"""Search in the fake Jira: token-paged without a total on Cloud, the classic one on Data Center."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

from tests.fakes.jira_api import Answer, Call, route
from tests.fakes.jira_jql import JqlError, Query
from tests.fakes.jira_state import Data, Issue, JiraProblem
from tests.fakes.jira_wire import Json

_CLOUD_BODY = {
    "jql": str,
    "nextPageToken": str,
    "maxResults": int,
    "fields": list,
    "expand": str,
    "properties": list,
    "fieldsByKeys": bool,
    "reconcileIssues": list,
}
_CLASSIC_BODY = {"jql": str, "startAt": int, "maxResults": int, "validateQuery": bool, "fields": list, "expand": list}
_GONE = (
    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. "
    "A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046"
)


@route("GET", "search", flavour="cloud")
@route("POST", "search", flavour="cloud", reads=True)
def gone(call: Call) -> Answer:
    raise JiraProblem(410, _GONE)


# --- Cloud --------------------------------------------------------------------------------------


@route("GET", "search/jql", flavour="cloud")
def token_paged(call: Call) -> Answer:
    jql, token = call.asked("jql"), call.asked("nextPageToken")
    reconciled = [str(number) for number in call.names("reconcileIssues")]
    page = (token, call.number("maxResults", 50))
    return _token_page(
        call, jql, page, call.names("fields"), call.asked("expand"), reconciled, call.names("properties")
    )


@route("POST", "search/jql", flavour="cloud", reads=True)
def token_paged_by_post(call: Call) -> Answer:
    body = _checked(call, _CLOUD_BODY)
    reconciled = [str(number) for number in body.get("reconcileIssues", [])]
    page = (body.get("nextPageToken", ""), body.get("maxResults", 50))
    fields, properties = body.get("fields", []), body.get("properties", [])
    return _token_page(call, body.get("jql", ""), page, fields, body.get("expand", ""), reconciled, properties)


@route("POST", "search/approximate-count", flavour="cloud", reads=True)
def count(call: Call) -> Answer:
    return Answer(200, {"count": len(_select(call, _bounded(str(call.payload().get("jql", "")))))})


def _token_page(
    call: Call,
    jql: str,
    page: tuple[str, int],
    fields: list[str],
    expand: str,
    reconciled: list[str],
    properties: list[str],
) -> Answer:
    """`fields` defaults to the id alone. The index may lag, but not for the issues named to be reconciled."""
    if len(reconciled) > 50:
        raise JiraProblem(400, "The maximum number of issues to reconcile is 50.")
    if len(properties) > 5:
        raise JiraProblem(400, "The maximum number of properties is 5.")
    query = _bounded(jql)
    call = replace(call, data=_indexed(call, reconciled))
    found = _select(call, query)
    digest = hashlib.sha256(jql.encode()).hexdigest()[:16]
    start = _start(page[0], digest)
    only_ids = not fields or set(fields) == {"id"}
    if page[1] < 0:
        raise JiraProblem(400, "The maximum number of results must not be negative.")
    most = min(page[1], 5_000 if only_ids else call.page_cap)
    shown = found[start : start + most]
    if only_ids:
        issues: list[Json] = [{"id": issue.id} for issue in shown]
    else:
        issues = [call.wire.issue(issue, fields, expand, call.visible) for issue in shown]
    for entry, issue in zip(issues, shown, strict=True):
        if properties:
            entry["properties"] = {name: issue.properties[name] for name in properties if name in issue.properties}
    last = start + most >= len(found)
    answer: Json = {"issues": issues, "isLast": last}
    if not last:
        answer["nextPageToken"] = base64.b64encode(json.dumps([digest, start + most]).encode()).decode()
    return Answer(200, answer)


def _bounded(jql: str) -> Query:
    query = _parsed(jql)
    if query.where is None:
        raise JiraProblem(
            400, "Unbounded JQL queries are not allowed here. Please add a search restriction to your query."
        )
    return query


def _start(token: str, digest: str) -> int:
    if not token:
        return 0
    try:
        of_query, start = json.loads(base64.b64decode(token, validate=True))
        if of_query == digest:
            return int(start)
    except (ValueError, TypeError):
        pass
    raise JiraProblem(400, "The provided next page token is invalid or expired.")


def _indexed(call: Call, reconciled: list[str]) -> Data:
    """What the index has, with those issues as they are now."""
    index = call.search_data
    if index is None:
        return call.data
    issues = {key: issue for key, issue in index.issues.items() if issue.id not in reconciled}
    issues |= {key: issue for key, issue in call.data.issues.items() if issue.id in reconciled}
    return Data(issues, index.links, index.moved)


# --- Data Center --------------------------------------------------------------------------------


@route("GET", "search", flavour="datacenter")
def classic(call: Call) -> Answer:
    page = (call.number("startAt", 0), call.number("maxResults", 50))
    return _classic_page(call, call.asked("jql"), page, call.names("fields"), call.asked("expand"))


@route("POST", "search", flavour="datacenter", reads=True)
def classic_by_post(call: Call) -> Answer:
    body = _checked(call, _CLASSIC_BODY)
    page = (body.get("startAt", 0), body.get("maxResults", 50))
    return _classic_page(call, body.get("jql", ""), page, body.get("fields", []), ",".join(body.get("expand", [])))


def _classic_page(call: Call, jql: str, page: tuple[int, int], fields: list[str], expand: str) -> Answer:
    call = replace(call, data=call.search_data or call.data)
    found = _select(call, _parsed(jql))
    start, most = page[0], min(page[1], 1_000)
    if most < 0:
        most = 1_000
    fields = fields or ["*navigable"]
    issues = [call.wire.issue(issue, fields, expand, call.visible) for issue in found[start : start + most]]
    head = {"expand": "schema,names", "startAt": start, "maxResults": most, "total": len(found)}
    return Answer(200, {**head, "issues": issues})


# --- both ---------------------------------------------------------------------------------------


def _checked(call: Call, known: dict[str, type]) -> Json:
    """The body without nulls; 400 for what the service does not know or has another type."""
    body: dict[str, Any] = call.payload()
    for name, value in body.items():
        kind = known.get(name)
        right = kind is not None and (value is None or type(value) is kind)
        if not right and call.cloud:
            raise call.unreadable()
        if not right:
            raise JiraProblem(400, f'Unrecognized field "{name}" (Class SearchRequestBean), not marked as ignorable')
    return {name: value for name, value in body.items() if value is not None}


def _parsed(jql: str) -> Query:
    try:
        return Query(jql)
    except JqlError as error:
        raise JiraProblem(400, *error.args) from None


def _select(call: Call, query: Query) -> list[Issue]:
    try:
        return query.select(call.view, [issue for issue in call.data.issues.values() if call.view.sees(issue)])
    except JqlError as error:
        raise JiraProblem(400, *error.args) from None
