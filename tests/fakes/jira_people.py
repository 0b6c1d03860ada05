"""The instance itself, people, groups, permissions and the lists of what there is, in the fake Jira."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.fakes.jira_api import Answer, Call, route
from tests.fakes.jira_state import CATEGORIES, ISSUE_TYPES, PERMISSIONS, PRIORITIES, RESOLUTIONS, JiraProblem, User
from tests.fakes.jira_wire import Json, moment


@route("GET", "serverInfo")
def server_info(call: Call) -> Answer:
    """For everybody. Data Center calls itself `Server`."""
    common = {"baseUrl": call.base, "serverTime": moment(datetime.now(UTC)), "serverTitle": "Jira"}
    if call.cloud:
        version: Json = {"version": "1001.0.0-SNAPSHOT", "versionNumbers": [1001, 0, 0], "buildNumber": 100_283}
        return Answer(200, {**common, **version, "deploymentType": "Cloud", "serverTimeZone": "Etc/UTC"})
    version = {"version": "9.12.15", "versionNumbers": [9, 12, 15], "buildNumber": 9_120_015}
    return Answer(200, {**common, **version, "deploymentType": "Server", "scmInfo": "0" * 40})


@route("GET", "myself")
def myself(call: Call) -> Answer:
    return Answer(200, call.wire.full_user(call.me(), call.asked("expand")))


@route("GET", "mypermissions")
def my_permissions(call: Call) -> Answer:
    wanted = call.names("permissions")
    if call.cloud and not wanted:
        raise JiraProblem(400, "The 'permissions' query parameter is required.")
    unknown = [name for name in wanted if name not in PERMISSIONS]
    if call.cloud and unknown:
        raise JiraProblem(400, f"Unrecognized permission: {', '.join(unknown)}")
    key = call.asked("issueKey") or call.asked("issueId")
    if key:
        call.issue(key)
    project = call.asked("projectKey")
    if project and project not in call.state.projects:
        raise JiraProblem(404, f"No project could be found with key '{project}'.")
    found = {
        name: {
            "id": str(index),
            "key": name,
            "name": name.replace("_", " ").capitalize(),
            "type": "GLOBAL" if name in ("ADMINISTER", "USER_PICKER") else "PROJECT",
            "description": "",
            "havePermission": call.may(name),
        }
        for index, name in enumerate(PERMISSIONS)
        if not call.cloud or name in wanted
    }
    return Answer(200, {"permissions": found})


# --- people -------------------------------------------------------------------------------------


@route("GET", "user")
def user(call: Call) -> Answer:
    return Answer(200, call.wire.full_user(_asked_user(call), call.asked("expand")))


@route("GET", "user/groups", flavour="cloud")
def groups_of(call: Call) -> Answer:
    """For those who may browse users and groups."""
    call.me()
    if not call.may("USER_PICKER"):
        raise JiraProblem(403, "You are not authorized to perform this operation.")
    return Answer(200, [call.wire.group(name) for name in _asked_user(call).groups])


@route("GET", "user/search")
def search_users(call: Call) -> Answer:
    """By the beginning of words of name and e-mail; nobody is found by those who may not browse people."""
    wanted = _wanted(call)
    call.me()
    found = [person for person in call.state.users.values() if person.active and _fits(call, person, wanted)]
    return _page_of_users(call, found if call.may("USER_PICKER") else [])


@route("GET", "user/assignable/search")
def search_assignable(call: Call) -> Answer:
    if call.asked("issueKey"):
        call.issue(call.asked("issueKey"))
    elif call.asked("project") not in call.state.projects:
        raise JiraProblem(404 if call.cloud else 400, f"No project could be found with key '{call.asked('project')}'.")
    wanted = call.asked("query") if call.cloud else call.asked("username")
    able = [u for u in call.state.users.values() if u.active and "ASSIGNABLE_USER" in u.permissions]
    return _page_of_users(call, [person for person in able if _fits(call, person, wanted)])


def _asked_user(call: Call) -> User:
    call.me()
    if call.cloud:
        given = [call.asked("accountId")]
        if "username" in call.query or "key" in call.query:
            raise JiraProblem(400, "'accountId' must be the only user identifying query parameter in GDPR strict mode.")
    else:
        given = [call.asked("username"), call.asked("key")]
        if not any(given):
            raise JiraProblem(400, "Either the 'username' or the 'key' query parameters need to be provided")
    for person in call.state.users.values():
        if person.account_id in given if call.cloud else (person.name == given[0] or person.key == given[-1]):
            return person
    reference = next((value for value in given if value), "")
    if call.cloud:
        raise JiraProblem(404, "Specified user does not exist or you do not have required permissions")
    raise JiraProblem(404, f"The user named '{reference}' does not exist")


def _wanted(call: Call) -> str:
    if call.cloud:
        if "username" in call.query:
            wrong = "The query parameter 'username' is not supported in GDPR strict mode."
            raise JiraProblem(400, wrong)
        if not call.asked("query") and not call.asked("accountId"):
            raise JiraProblem(400, "The query parameter 'query' or 'accountId' is required.")
        return call.asked("query") or call.asked("accountId")
    if not call.asked("username"):
        raise JiraProblem(400, "The username query parameter was not provided")
    return call.asked("username")


def _fits(call: Call, person: User, wanted: str) -> bool:
    if call.cloud and wanted == person.account_id:
        return True
    lower = wanted.lower()
    words = [*person.display_name.lower().split(), person.display_name.lower(), person.email.lower()]
    if not call.cloud:
        words.append(person.name.lower())
    return lower in ("", ".") or any(word.startswith(lower) for word in words)


def _page_of_users(call: Call, found: list[User]) -> Answer:
    start, most = call.number("startAt", 0), min(call.number("maxResults", 50), 1000)
    return Answer(200, [call.wire.user(person) for person in found[start : start + most]])


# --- groups -------------------------------------------------------------------------------------


@route("GET", "group/member")
def members(call: Call) -> Answer:
    """Pages of members; on Data Center for administrators only."""
    if not call.may("USER_PICKER" if call.cloud else "ADMINISTER"):
        raise JiraProblem(
            403, "You are not authorized to perform this operation. Administrator privileges are required."
        )
    name = _asked_group(call)
    everybody = call.asked("includeInactiveUsers") == "true"
    found = [person for person in call.state.users.values() if name in person.groups and (person.active or everybody)]
    start, most = call.number("startAt", 0), min(call.number("maxResults", 50), 50)
    page = [call.wire.user(person) for person in found[start : start + most]]
    last = start + most >= len(found)
    link = f"{call.wire.root}/group/member?groupname={name}"
    return Answer(
        200, {"self": link, "maxResults": most, "startAt": start, "total": len(found), "isLast": last, "values": page}
    )


@route("GET", "groups/picker")
def pick_groups(call: Call) -> Answer:
    call.me()
    found = sorted(name for name in call.state.groups if call.asked("query").lower() in name.lower())
    shown: list[Json] = [{"name": name, "html": name, "labels": []} for name in found]
    if call.cloud:
        shown = [{**entry, "groupId": f"group-{entry['name']}"} for entry in shown]
    return Answer(
        200, {"header": f"Showing {len(found)} of {len(found)} matching groups", "total": len(found), "groups": shown}
    )


def _asked_group(call: Call) -> str:
    name = call.asked("groupname") or call.asked("groupId").removeprefix("group-")
    if not name:
        raise JiraProblem(400, "Query parameter 'groupname' or 'groupId' is required.")
    if name not in call.state.groups:
        raise JiraProblem(404, f"The group named '{name}' does not exist.")
    return name


# --- lists --------------------------------------------------------------------------------------


@route("GET", "field")
def fields(call: Call) -> Answer:
    return Answer(200, [call.wire.field(field) for field in call.state.fields.values()])


@route("GET", "project")
def projects(call: Call) -> Answer:
    return Answer(200, [call.wire.project(key) for key in call.state.projects] if call.may("BROWSE_PROJECTS") else [])


@route("GET", "project/search", flavour="cloud")
def search_projects(call: Call) -> Answer:
    found: list[Any] = projects(call).body
    start, most = call.number("startAt", 0), min(call.number("maxResults", 50), 100)
    last = start + most >= len(found)
    page = {"startAt": start, "maxResults": most, "total": len(found), "isLast": last}
    return Answer(200, {**page, "self": f"{call.wire.root}/project/search", "values": found[start : start + most]})


@route("GET", "project/{key}")
def project(call: Call, key: str) -> Answer:
    return Answer(200, {**call.wire.project(_project(call, key)), "issueTypes": _issue_types(call)})


@route("GET", "project/{key}/statuses")
def project_statuses(call: Call, key: str) -> Answer:
    _project(call, key)
    statuses = [call.wire.status(status) for status in call.state.workflow.statuses]
    kinds = [{name: kind[name] for name in ("self", "id", "name", "subtask")} for kind in _issue_types(call)]
    return Answer(200, [{**kind, "statuses": statuses} for kind in kinds])


def _project(call: Call, key: str) -> str:
    for known in call.state.projects if call.may("BROWSE_PROJECTS") else ():
        if key.upper() == known or key == call.wire.project(known)["id"]:
            return known
    raise JiraProblem(404, f"No project could be found with key '{key}'.")


def _issue_types(call: Call) -> list[Json]:
    return [call.wire.issuetype(name) for name in ISSUE_TYPES]


@route("GET", "issuetype")
def issue_types(call: Call) -> Answer:
    return Answer(200, _issue_types(call))


@route("GET", "status")
def statuses(call: Call) -> Answer:
    return Answer(200, [call.wire.status(status) for status in call.state.workflow.statuses])


@route("GET", "statuscategory")
def categories(call: Call) -> Answer:
    root = call.wire.root
    return Answer(
        200,
        [
            {"self": f"{root}/statuscategory/{number}", "id": number, "key": key, "colorName": colour, "name": name}
            for key, (number, name, colour) in CATEGORIES.items()
        ],
    )


@route("GET", "priority")
def priorities(call: Call) -> Answer:
    return Answer(200, [call.wire.priority(name) for name in PRIORITIES])


@route("GET", "resolution")
def resolutions(call: Call) -> Answer:
    return Answer(200, [call.wire.resolution(name) for name in RESOLUTIONS])
