"""Values of issue fields as they come in: checked, and brought into the form in which they are kept."""

from __future__ import annotations

from typing import Any

from tests.fakes.jira_api import Call
from tests.fakes.jira_state import ISSUE_TYPES, PRIORITIES, RESOLUTIONS, SPRINT, Issue, JiraProblem, User


def values_of(call: Call, issue: Issue, fields: Any, update: Any, screen: set[str]) -> dict[str, Any]:
    """What `fields` and `update` of a request set; JiraProblem with all that is wrong, by field."""
    if not isinstance(fields or {}, dict) or not isinstance(update or {}, dict):
        raise call.unreadable()
    found: dict[str, Any] = {}
    errors: dict[str, str] = {}
    messages: list[str] = []
    operations = [(name, {"set": value}) for name, value in (fields or {}).items()]
    for name, listed in (update or {}).items():
        if name in (fields or {}):
            errors[name] = f"Field '{name}' cannot appear in both 'fields' and 'update'"
        if name != "comment":
            operations += [(name, operation) for operation in listed]
    for name, operation in operations:
        try:
            if name not in screen:
                wrong = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
                raise JiraProblem(400, **{name: wrong})
            for verb, value in operation.items():
                where, kept = _kept(call, issue, name, verb, value, found)
                found[where] = kept
        except JiraProblem as problem:
            errors |= problem.errors
            messages += problem.messages
    if errors or messages:
        raise JiraProblem(400, *messages, **errors)
    return found


def _kept(call: Call, issue: Issue, name: str, verb: str, value: Any, found: dict[str, Any]) -> tuple[str, Any]:
    if name == "labels":
        return "labels", _labels(verb, value, found.get("labels", issue.labels))
    if verb != "set":
        raise JiraProblem(
            400, **{name: f"Field with id '{name}' and name '{name}' does not support operation '{verb}'."}
        )
    field = call.state.fields[name]
    if field.type == "rich":
        return name, call.rich(name, value)
    match name:
        case "summary":
            return name, _summary(value)
        case "assignee" | "reporter":
            user = person(call, name, value)
            return name, user.name if user else None
        case "priority":
            return name, _choice(name, value, PRIORITIES, "The priority selected is invalid.")
        case "resolution":
            return name, _choice(name, value, RESOLUTIONS, "The resolution selected is invalid.")
        case "issuetype":
            return name, _choice(name, value, ISSUE_TYPES, "The issue type selected is invalid.")
        case "parent":
            parent = call.data.find(str((value or {}).get("key") or (value or {}).get("id")))
            if parent is None:
                raise JiraProblem(400, parent="Could not find issue by id or key.")
            return name, parent.key
    if name == SPRINT:
        if value is not None and value not in call.state.sprints:
            raise JiraProblem(400, **{name: "Number value expected as the Sprint id."})
        return "sprints", [] if value is None else [value]
    if field.type == "number" and value is not None and not isinstance(value, int | float):
        raise JiraProblem(400, **{name: "Operation value must be a number"})
    return name, value


def _labels(verb: str, value: Any, before: list[str]) -> list[str]:
    given = value if verb == "set" else [value]
    if not isinstance(given, list) or not all(isinstance(label, str) for label in given):
        raise JiraProblem(400, labels="data was not an array" if verb == "set" else "string expected at index 0")
    for label in given:
        if " " in label:
            raise JiraProblem(400, labels=f"The label '{label}' contains spaces which is invalid.")
        if len(label) > 255:
            raise JiraProblem(400, labels=f"The label '{label}' exceeds the maximum length for a single label.")
    if verb == "set":
        return sorted(dict.fromkeys(given))
    if verb == "add":
        return sorted({*before, *given})
    if verb == "remove":
        return [label for label in before if label not in given]
    raise JiraProblem(400, labels=f"Field with id 'labels' and name 'labels' does not support operation '{verb}'.")


def _summary(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise JiraProblem(400, summary="You must specify a summary of the issue.")
    if "\n" in value or "\r" in value:
        raise JiraProblem(400, summary="The summary is invalid because it contains newline characters.")
    if len(value) > 255:
        raise JiraProblem(400, summary="Summary must be less than 255 characters.")
    return value


def _choice(name: str, value: Any, among: tuple[str, ...], wrong: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise JiraProblem(400, **{name: f"Could not find valid 'id' or 'name' in {name} object"})
    number = str(value.get("id", ""))
    chosen = among[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(among) else value.get("name")
    if chosen not in among:
        raise JiraProblem(400, **{name: wrong})
    return str(chosen)


def person(call: Call, name: str, value: Any) -> User | None:
    """Of `{"accountId": …}` (Cloud; `id` too in fields) or `{"name": …}` (Data Center); None: nobody."""
    if value is None:
        return None
    keys = ("accountId", "id") if call.cloud else ("name",)
    if not isinstance(value, dict) or not set(keys) & set(value):
        if call.cloud:
            raise JiraProblem(
                400, **{name: "'accountId' must be the only user identifying parameter in GDPR strict mode."}
            )
        raise JiraProblem(400, **{name: "expected Object containing a 'name' property"})
    reference = next(value[key] for key in keys if key in value)
    if reference in (None, "", "-1", -1):
        return None  # -1 is the project's default, which is nobody here
    user = call.state.user_of(str(reference))
    if user is None:
        raise JiraProblem(400, **{name: f"User '{reference}' does not exist."})
    if name == "assignee" and (not user.active or "ASSIGNABLE_USER" not in user.permissions):
        raise JiraProblem(400, **{name: f"User '{reference}' cannot be assigned issues."})
    return user
