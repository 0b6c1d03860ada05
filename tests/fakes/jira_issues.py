"""Issues of the fake Jira: reading, editing, assigning, moving through the workflow, properties, links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.fakes.jira_api import Answer, Call, route
from tests.fakes.jira_fields import person, values_of
from tests.fakes.jira_state import LINK_TYPES, Issue, IssueLink, JiraProblem, RemoteLink, Transition
from tests.fakes.jira_wire import Json

_NOT_NOW = (
    "It seems that you have tried to perform a workflow operation ({name}) that is not valid for the current state of "
    "this issue ({key}). The likely cause is that somebody has changed the issue recently, please look at the issue "
    "history for details."
)


@route("POST", "issue")
def create(call: Call) -> Answer:
    body = call.payload()
    fields = dict(body.get("fields") or {})
    project = fields.pop("project", None) or {}
    if not call.may("CREATE_ISSUES"):
        raise JiraProblem(400, project="You cannot create issues in this project.")
    known = {name: key for key in call.state.projects for name in (key, call.wire.project(key)["id"])}
    if not isinstance(project, dict) or project.get("key", project.get("id")) not in known:
        raise JiraProblem(400, project="valid project is required")
    place = known[project.get("key", project.get("id"))]
    if "issuetype" not in fields:
        raise JiraProblem(400, issuetype="Specify an issue type")
    new = Issue(call.state.new_id(), call.state.next_key(place), "", rank=call.state.new_rank())
    new.reporter = call.me().name
    fields.setdefault("summary", "")
    values = values_of(call, new, fields, body.get("update"), _edit_screen(call))
    if values.get("issuetype") == "Sub-task" and not values.get("parent"):
        raise JiraProblem(400, parent="Issue type is a sub-task but parent issue key or id not specified.")
    for name, value in values.items():
        (new.custom if name.startswith("customfield_") else vars(new))[name] = value
    call.changes.created(new, call.me())
    return Answer(201, {"id": new.id, "key": new.key, "self": f"{call.wire.root}/issue/{new.id}"})


@route("GET", "issue/{key}")
def read(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    found = call.wire.issue(issue, call.names("fields"), call.asked("expand"), call.visible)
    if "transitions" in call.names("expand"):
        found["transitions"] = [call.wire.transition(entry, "") for entry in _open_to(call, issue)]
    if "editmeta" in call.names("expand"):
        found["editmeta"] = _editmeta(call)
    wanted = call.names("properties")
    if wanted:
        everything = "*all" in wanted
        found["properties"] = {k: v for k, v in issue.properties.items() if everything or k in wanted}
    return Answer(200, found)


@route("PUT", "issue/{key}")
def edit(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    if not call.cloud and call.asked("notifyUsers") == "false" and not call.may("ADMINISTER"):
        raise JiraProblem(
            403, "To discard the user notification either admin or project admin permissions are required."
        )
    body = call.payload()
    # Without the permission no field is on the screen, and that is what one is told.
    screen = _edit_screen(call) if call.may("EDIT_ISSUES") else set()
    values = values_of(call, issue, body.get("fields"), body.get("update"), screen)
    comments = _added_comments(call, body)
    _set_properties(issue, body)
    call.changes.edited(issue, call.me(), values)
    for text in comments:
        call.changes.commented(issue, call.me(), text)
    if call.cloud and call.asked("returnIssue") == "true":
        return Answer(200, call.wire.issue(issue, [], "", call.visible))
    return Answer(204)


@route("DELETE", "issue/{key}")
def delete(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    if not call.may("ADMINISTER"):
        raise JiraProblem(403, "You do not have permission to delete issues in this project.")
    subtasks = [other for other in call.data.issues.values() if other.parent == issue.key]
    if subtasks and call.asked("deleteSubtasks") != "true":
        hint = "You must specify the 'deleteSubtasks' parameter to delete this issue and all its subtasks."
        raise JiraProblem(400, f"The issue '{issue.key}' has subtasks.  {hint}")
    call.changes.deleted(issue, call.me())
    return Answer(204)


@route("GET", "issue/{key}/editmeta")
def editmeta(call: Call, key: str) -> Answer:
    call.issue(key)
    return Answer(200, _editmeta(call))


@route("PUT", "issue/{key}/assignee")
def assign(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    if not call.may("ASSIGN_ISSUES"):
        raise JiraProblem(403, "You do not have permission to assign issues.")
    user = person(call, "assignee", call.payload())
    call.changes.edited(issue, call.me(), {"assignee": user.name if user else None})
    return Answer(204)


@route("GET", "issue/{key}/changelog", flavour="cloud")
def changelog(call: Call, key: str) -> Answer:
    histories = list(reversed(call.wire.changelog(call.issue(key))["histories"]))
    start, most = call.number("startAt", 0), min(call.number("maxResults", 100), 100)
    page = histories[start : start + most]
    last = start + most >= len(histories)
    return Answer(200, {"startAt": start, "maxResults": most, "total": len(histories), "isLast": last, "values": page})


def _edit_screen(call: Call) -> set[str]:
    return {field.id for field in call.state.fields.values() if field.editable}


def _editmeta(call: Call) -> Json:
    fields = [field for field in call.state.fields.values() if field.editable] if call.may("EDIT_ISSUES") else []
    wire = call.wire
    return {"fields": {field.id: wire.field_meta(field, required=field.id == "summary") for field in fields}}


def _added_comments(call: Call, body: Json) -> list[Any]:
    operations = (body.get("update") or {}).get("comment", [])
    if operations and not call.may("ADD_COMMENTS"):
        raise JiraProblem(400, comment="You do not have the permission to comment on this issue.")
    return [call.rich("comment", (operation.get("add") or {}).get("body")) for operation in operations]


def _set_properties(issue: Issue, body: Json) -> None:
    for entry in body.get("properties") or []:
        issue.properties[entry["key"]] = entry.get("value")


# --- the workflow -------------------------------------------------------------------------------


def _open_to(call: Call, issue: Issue) -> list[Transition]:
    if not call.may("TRANSITION_ISSUES"):
        return []
    return [
        entry
        for entry in call.state.workflow.transitions
        if entry.leaves(issue.status) and (entry.allowed is None or call.me().name in entry.allowed)
    ]


@route("GET", "issue/{key}/transitions")
def transitions(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    only = call.asked("transitionId")
    found = [entry for entry in _open_to(call, issue) if only in ("", entry.id)]
    wire = call.wire
    return Answer(
        200, {"expand": "transitions", "transitions": [wire.transition(e, call.asked("expand")) for e in found]}
    )


@route("POST", "issue/{key}/transitions")
def transition(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    body = call.payload()
    chosen = _chosen(call, issue, body.get("transition"))
    screen = {*chosen.screen, *chosen.required}
    values = values_of(call, issue, body.get("fields"), body.get("update"), screen)
    missing = [name for name in chosen.required if not values.get(name)]
    if missing:
        raise JiraProblem(400, **{name: f"{call.state.fields[name].name} is required." for name in missing})
    comments = _added_comments(call, body)
    call.changes.transitioned(issue, call.me(), chosen, values)
    for text in comments:
        call.changes.commented(issue, call.me(), text)
    return Answer(204)


def _chosen(call: Call, issue: Issue, given: Any) -> Transition:
    if not isinstance(given, dict) or given.get("id") in (None, ""):
        raise JiraProblem(400, "Missing 'transition' identifier")
    number = str(given["id"])
    if not number.isdigit():
        raise JiraProblem(400, "'transition' identifier must be an integer")
    for entry in _open_to(call, issue):
        if entry.id == number:
            return entry
    for entry in call.state.workflow.transitions:
        if entry.id == number:
            raise JiraProblem(400, _NOT_NOW.format(name=entry.name, key=issue.key))
    raise JiraProblem(400, f"Transition id '{number}' is not valid for this issue.")


# --- properties ---------------------------------------------------------------------------------


@route("GET", "issue/{key}/properties")
def property_keys(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    root = f"{call.wire.root}/issue/{issue.key}/properties"
    return Answer(200, {"keys": [{"self": f"{root}/{name}", "key": name} for name in issue.properties]})


@route("GET", "issue/{key}/properties/{name}")
def read_property(call: Call, key: str, name: str) -> Answer:
    issue = call.issue(key)
    if name not in issue.properties:
        raise JiraProblem(404, f"The property {name} does not exist.")
    return Answer(200, {"key": name, "value": issue.properties[name]})


@route("PUT", "issue/{key}/properties/{name}")
def write_property(call: Call, key: str, name: str) -> Answer:
    issue = call.issue(key)
    if not call.may("EDIT_ISSUES"):
        raise JiraProblem(403, "You do not have permission to edit issues in this project.")
    check_property(name, call.body)
    status = 200 if name in issue.properties else 201
    issue.properties[name] = call.body
    return Answer(status)


@route("DELETE", "issue/{key}/properties/{name}")
def drop_property(call: Call, key: str, name: str) -> Answer:
    issue = call.issue(key)
    if not call.may("EDIT_ISSUES"):
        raise JiraProblem(404, "You do not have permission to edit issues in this project.")
    if name not in issue.properties:
        raise JiraProblem(404, f"The property {name} does not exist.")
    del issue.properties[name]
    return Answer(204)


def check_property(name: str, value: object) -> None:
    """Its limits: 255 characters of key, 32,768 of value, which is JSON and not empty."""
    if len(name) > 255:
        raise JiraProblem(400, "The property key exceeds 255 characters.")
    if value is None:
        raise JiraProblem(400, "The property value must be a non-empty valid JSON.")
    if len(str(value)) > 32_768:
        raise JiraProblem(400, "The property value exceeds 32768 characters.")


# --- remote links -------------------------------------------------------------------------------


@route("GET", "issue/{key}/remotelink")
def remote_links(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    wire = call.wire
    if "globalId" not in call.query:
        return Answer(200, [wire.remote_link(issue, link) for link in issue.remote_links])
    return Answer(200, wire.remote_link(issue, _by_global_id(call, issue)))


@route("POST", "issue/{key}/remotelink")
def write_remote_link(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    link = _remote_link(call)
    old = next((entry for entry in issue.remote_links if link.global_id and entry.global_id == link.global_id), None)
    if old is not None:
        link.id = old.id
        issue.remote_links[issue.remote_links.index(old)] = link
    else:
        link.id = int(call.state.new_id())
        issue.remote_links.append(link)
    issue.updated = datetime.now(UTC)
    address = f"{call.wire.root}/issue/{issue.key}/remotelink/{link.id}"
    return Answer(200 if old else 201, {"id": link.id, "self": address})


@route("DELETE", "issue/{key}/remotelink")
def drop_remote_link(call: Call, key: str) -> Answer:
    issue = call.issue(key)
    if not call.may("LINK_ISSUES"):
        raise JiraProblem(403, "No Link Issue Permission for issue.")
    issue.remote_links.remove(_by_global_id(call, issue))
    return Answer(204)


@route("GET", "issue/{key}/remotelink/{number}")
def remote_link(call: Call, key: str, number: str) -> Answer:
    issue = call.issue(key)
    return Answer(200, call.wire.remote_link(issue, _by_number(issue, number)))


@route("PUT", "issue/{key}/remotelink/{number}")
def replace_remote_link(call: Call, key: str, number: str) -> Answer:
    issue = call.issue(key)
    old, link = _by_number(issue, number), _remote_link(call)
    link.id = old.id
    issue.remote_links[issue.remote_links.index(old)] = link
    return Answer(204)


@route("DELETE", "issue/{key}/remotelink/{number}")
def delete_remote_link(call: Call, key: str, number: str) -> Answer:
    issue = call.issue(key)
    issue.remote_links.remove(_by_number(issue, number))
    return Answer(204)


def _remote_link(call: Call) -> RemoteLink:
    if not call.may("LINK_ISSUES"):
        raise JiraProblem(403, "No Link Issue Permission for issue.")
    body = call.payload()
    shown = body.get("object")
    wrong = {name: f"'{name}' is required." for name in ("url", "title") if not (shown or {}).get(name)}
    if wrong:
        raise JiraProblem(400, **wrong)
    identity = body.get("globalId") or ""
    if len(identity) > 255:
        raise JiraProblem(400, globalId="'globalId' cannot be longer than 255 characters.")
    return RemoteLink(0, dict(shown or {}), identity, body.get("relationship") or "", body.get("application") or {})


def _by_global_id(call: Call, issue: Issue) -> RemoteLink:
    identity = call.asked("globalId")
    if not identity:
        raise JiraProblem(400, "The 'globalId' query parameter is required.")
    for link in issue.remote_links:
        if link.global_id == identity:
            return link
    raise JiraProblem(404, f"No remote issue link found for issue {issue.key} with global id {identity}")


def _by_number(issue: Issue, number: str) -> RemoteLink:
    for link in issue.remote_links:
        if str(link.id) == number:
            return link
    raise JiraProblem(404, f"No remote issue link found for id {number}")


# --- links between issues -----------------------------------------------------------------------


@route("GET", "issueLinkType")
def link_types(call: Call) -> Answer:
    return Answer(200, {"issueLinkTypes": [call.wire.link_type(name) for name in LINK_TYPES]})


@route("POST", "issueLink")
def link(call: Call) -> Answer:
    """`inwardIssue` is where the link starts: it blocks `outwardIssue`."""
    body = call.payload()
    name = str((body.get("type") or {}).get("name"))
    if name not in LINK_TYPES:
        raise JiraProblem(404, f"No issue link type with name '{name}' found.")
    ends = [call.issue(str((body.get(end) or {}).get("key"))) for end in ("inwardIssue", "outwardIssue")]
    if not call.may("LINK_ISSUES"):
        raise JiraProblem(401, "No Link Issue Permission for issue.")
    if ends[0] is ends[1]:
        raise JiraProblem(400, "You cannot link an issue to itself.")
    same = (name, ends[0].key, ends[1].key)
    if same not in [(entry.type, entry.source, entry.target) for entry in call.data.links]:
        call.changes.linked(IssueLink(call.state.new_id(), *same), call.me())
    return Answer(201)


@route("GET", "issueLink/{number}")
def read_link(call: Call, number: str) -> Answer:
    return Answer(200, call.wire.link(_link(call, number)))


@route("DELETE", "issueLink/{number}")
def unlink(call: Call, number: str) -> Answer:
    if not call.may("LINK_ISSUES"):
        raise JiraProblem(401, "No Link Issue Permission for issue.")
    call.changes.unlinked(_link(call, number), call.me())
    return Answer(204)


def _link(call: Call, number: str) -> IssueLink:
    for entry in call.data.links:
        if entry.id == number and call.visible(entry.source) and call.visible(entry.target):
            return entry
    raise JiraProblem(404, f"No issue link with id '{number}' exists.")
