"""What the fake Jira sends: JSON of people, issues, comments and the rest, by flavour and version of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.fakes import jira_text
from tests.fakes.jira_state import (
    CATEGORIES,
    CRITERIA,
    ISSUE_TYPES,
    LINK_TYPES,
    PRIORITIES,
    RANK,
    RESOLUTIONS,
    SPRINT,
    Attachment,
    Comment,
    Data,
    Field,
    Issue,
    IssueLink,
    JiraProblem,
    RemoteLink,
    RichText,
    State,
    Status,
    Transition,
    User,
)

Json = dict[str, Any]


def moment(when: datetime) -> str:
    """`2026-05-01T10:00:00.000+0000`, as Jira writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}+0000"


class Wire:
    """Writes for one reader: `version` 2 or 3, links below `base`."""

    def __init__(self, state: State, data: Data, base: str, version: int, reader: User | None) -> None:
        self.state, self.data, self.base, self.version, self.reader = state, data, base, version, reader
        self.root = f"{base}/rest/api/{version}"

    def rich(self, text: RichText) -> Json | str | None:
        if self.version == 3:
            return jira_text.as_document(text) if text else None
        return jira_text.as_wiki(text)

    # --- people -------------------------------------------------------------------------------

    def user(self, user: User) -> Json:
        common: Json = {
            "avatarUrls": {
                size: f"{self.base}/avatar/{user.name}?size={size}" for size in ("48x48", "24x24", "16x16", "32x32")
            },
            "displayName": user.display_name,
            "active": user.active,
            "timeZone": "Etc/UTC",
        }
        if not self.state.cloud:
            link = f"{self.root}/user?username={user.name}"
            return {"self": link, "name": user.name, "key": user.key, "emailAddress": user.email, **common}
        link = f"{self.root}/user?accountId={user.account_id}"
        shown = user.email_visible or (self.reader is not None and self.reader.name == user.name)
        address = {"emailAddress": user.email} if shown else {}
        return {"self": link, "accountId": user.account_id, "accountType": user.account_type, **address, **common}

    def named(self, name: str | None) -> Json | None:
        return self.user(self.state.users[name]) if name else None

    def group(self, name: str) -> Json:
        link = f"{self.root}/group?groupname={name}"
        return (
            {"name": name, "groupId": f"group-{name}", "self": link}
            if self.state.cloud
            else {"name": name, "self": link}
        )

    def full_user(self, user: User, expand: str) -> Json:
        wanted = expand.split(",")
        groups: Json = {"size": len(user.groups), "items": []}
        if "groups" in wanted:
            groups["items"] = [self.group(name) for name in user.groups]
        return {
            **self.user(user),
            "locale": "en_GB",
            "groups": groups,
            "applicationRoles": {"size": 1, "items": []},
            "expand": "groups,applicationRoles",
        }

    # --- parts of issues ----------------------------------------------------------------------

    def status(self, status: Status) -> Json:
        number, name, colour = CATEGORIES[status.category]
        category = {
            "self": f"{self.root}/statuscategory/{number}",
            "id": number,
            "key": status.category,
            "colorName": colour,
            "name": name,
        }
        return {
            "self": f"{self.root}/status/{status.id}",
            "description": "",
            "iconUrl": f"{self.base}/images/icons/statuses/generic.png",
            "name": status.name,
            "id": status.id,
            "statusCategory": category,
        }

    def _listed(self, kind: str, name: str | None, names: tuple[str, ...]) -> Json | None:
        if name is None:
            return None
        number = str(names.index(name) + 1 if name in names else 99)
        return {"self": f"{self.root}/{kind}/{number}", "id": number, "name": name}

    def priority(self, name: str | None) -> Json | None:
        return self._listed("priority", name, PRIORITIES)

    def resolution(self, name: str | None) -> Json | None:
        found = self._listed("resolution", name, RESOLUTIONS)
        return found and {**found, "description": ""}

    def issuetype(self, name: str) -> Json:
        found = self._listed("issuetype", name, ISSUE_TYPES) or {}
        level = {"hierarchyLevel": {"Epic": 1, "Sub-task": -1}.get(name, 0)} if self.state.cloud else {}
        return {**found, "description": "", "subtask": name == "Sub-task", "iconUrl": "", **level}

    def project(self, key: str) -> Json:
        number = str(10_000 + list(self.state.projects).index(key))
        more = {"simplified": False} if self.state.cloud else {}
        return {
            "self": f"{self.root}/project/{number}",
            "id": number,
            "key": key,
            "name": self.state.projects[key],
            "projectTypeKey": "software",
            **more,
        }

    def comment(self, issue: Issue, comment: Comment, *, expand: str = "") -> Json:
        found: Json = {
            "self": f"{self.root}/issue/{issue.id}/comment/{comment.id}",
            "id": comment.id,
            "author": self.named(comment.author),
            "body": self.rich(comment.body),
            "updateAuthor": self.named(comment.update_author),
            "created": moment(comment.created),
            "updated": moment(comment.updated),
        }
        if self.state.cloud:
            found["jsdPublic"] = True
        if comment.visibility:
            found["visibility"] = comment.visibility
        if "properties" in expand.split(","):
            found["properties"] = [{"key": key, "value": value} for key, value in comment.properties.items()]
        if "renderedBody" in expand.split(","):
            found["renderedBody"] = f"<p>{jira_text.as_wiki(comment.body)}</p>"
        return found

    def comments(self, issue: Issue) -> Json:
        shown = [comment for comment in issue.comments if self.may_read(comment)]
        return {
            "comments": [self.comment(issue, comment) for comment in shown],
            "self": f"{self.root}/issue/{issue.id}/comment",
            "maxResults": len(shown),
            "total": len(shown),
            "startAt": 0,
        }

    def may_read(self, comment: Comment) -> bool:
        if not comment.visibility:
            return True
        groups = self.reader.groups if self.reader else ()
        return comment.visibility.get("value") in groups or comment.visibility.get("identifier") in groups

    def attachment(self, attachment: Attachment) -> Json:
        place = "attachment/content/" if self.state.cloud else "secure/attachment/"
        root = f"{self.root}/" if self.state.cloud else f"{self.base}/"
        name = "" if self.state.cloud else f"/{attachment.filename}"
        return {
            "self": f"{self.root}/attachment/{attachment.id}",
            "id": attachment.id,
            "filename": attachment.filename,
            "author": self.named(attachment.author),
            "created": moment(attachment.created),
            "size": attachment.size,
            "mimeType": attachment.mime_type,
            "content": f"{root}{place}{attachment.id}{name}",
        }

    def brief(self, key: str) -> Json:
        """An issue as others point at it."""
        issue = self.data.issues[key]
        fields = {
            "summary": issue.summary,
            "status": self.status(self.state.workflow.status(issue.status)),
            "priority": self.priority(issue.priority),
            "issuetype": self.issuetype(issue.issuetype),
        }
        return {"id": issue.id, "key": issue.key, "self": f"{self.root}/issue/{issue.id}", "fields": fields}

    def link_type(self, name: str) -> Json:
        number, inward, outward = LINK_TYPES[name]
        return {
            "id": number,
            "name": name,
            "inward": inward,
            "outward": outward,
            "self": f"{self.root}/issueLinkType/{number}",
        }

    def link(self, link: IssueLink, seen_from: str = "") -> Json:
        """Both ends, or what is at the other end from an issue."""
        found: Json = {"id": link.id, "self": f"{self.root}/issueLink/{link.id}", "type": self.link_type(link.type)}
        if seen_from != link.source:
            found["inwardIssue"] = self.brief(link.source)
        if seen_from != link.target:
            found["outwardIssue"] = self.brief(link.target)
        return found

    def remote_link(self, issue: Issue, link: RemoteLink) -> Json:
        found: Json = {"id": link.id, "self": f"{self.root}/issue/{issue.key}/remotelink/{link.id}"}
        if link.global_id:
            found["globalId"] = link.global_id
        found["application"] = link.application
        if link.relationship:
            found["relationship"] = link.relationship
        found["object"] = {"status": {"icon": {}}, "icon": {}, **link.object}
        return found

    def sprints(self, issue: Issue) -> list[Any] | None:
        """Objects on Cloud; on Data Center the text of a Java object, as its REST API has had it for ever."""
        sprints = [self.state.sprints[number] for number in issue.sprints]
        if not sprints:
            return None
        if self.state.cloud:
            return [
                {"id": sprint.id, "name": sprint.name, "state": sprint.state, "boardId": 1, "goal": ""}
                for sprint in sprints
            ]
        java = "com.atlassian.greenhopper.service.sprint.Sprint@1f2e3d[id={0},rapidViewId=1,state={1},name={2},goal=]"
        return [java.format(sprint.id, sprint.state.upper(), sprint.name) for sprint in sprints]

    # --- issues -------------------------------------------------------------------------------

    def fields(self, issue: Issue, visible: Any) -> Json:
        """All fields; `visible` tells of a key whether the reader may see that issue."""
        subtasks = [
            other.key for other in self.data.issues.values() if other.parent == issue.key and visible(other.key)
        ]
        links = [link for link in self.data.links if issue.key in (link.source, link.target)]
        links = [link for link in links if visible(link.source) and visible(link.target)]
        found: Json = {
            "summary": issue.summary,
            "description": self.rich(issue.description),
            "issuetype": self.issuetype(issue.issuetype),
            "project": self.project(issue.project),
            "status": self.status(self.state.workflow.status(issue.status)),
            "priority": self.priority(issue.priority),
            "resolution": self.resolution(issue.resolution),
            "resolutiondate": moment(issue.updated) if issue.resolution else None,
            "labels": list(issue.labels),
            "assignee": self.named(issue.assignee),
            "reporter": self.named(issue.reporter),
            "creator": self.named(issue.reporter),
            "created": moment(issue.created),
            "updated": moment(issue.updated),
            "subtasks": [self.brief(key) for key in subtasks],
            "issuelinks": [self.link(link, issue.key) for link in links],
            "comment": self.comments(issue),
            "attachment": [self.attachment(attachment) for attachment in issue.attachments],
            SPRINT: self.sprints(issue),
            RANK: f"0|i{issue.rank:05d}:",
        }
        if self.state.cloud:
            found["statusCategory"] = found["status"]["statusCategory"]
        if issue.parent:
            found["parent"] = self.brief(issue.parent)
        for field in self.state.fields.values():
            if field.custom and field.id not in found:
                value = issue.custom.get(field.id)
                found[field.id] = self.rich(value) if field.type == "rich" else value
        return found

    def issue(self, issue: Issue, wanted: list[str], expand: str, visible: Any) -> Json:
        chosen = chosen_fields(self.fields(issue, visible), wanted)
        found: Json = {
            "expand": "renderedFields,names,schema,operations,editmeta,changelog,versionedRepresentations",
            "id": issue.id,
            "self": f"{self.root}/issue/{issue.id}",
            "key": issue.key,
            "fields": chosen,
        }
        options = expand.split(",")
        if "names" in options:
            found["names"] = {name: self.state.fields[name].name for name in chosen if name in self.state.fields}
        if "renderedFields" in options:
            rich = {name: f"<p>{jira_text.as_wiki(issue.description) or ''}</p>" for name in ("description", CRITERIA)}
            found["renderedFields"] = {name: value for name, value in rich.items() if name in chosen}
        if "changelog" in options:
            found["changelog"] = self.changelog(issue)
        return found

    def changelog(self, issue: Issue) -> Json:
        histories = [
            {
                "id": change.id,
                "author": self.named(change.author),
                "created": moment(change.created),
                "items": change.items,
            }
            for change in reversed(issue.history)
        ]
        return {"startAt": 0, "maxResults": len(histories), "total": len(histories), "histories": histories}

    def transition(self, transition: Transition, expand: str) -> Json:
        found: Json = {
            "id": transition.id,
            "name": transition.name,
            "to": self.status(self.state.workflow.status(transition.to)),
        }
        if self.state.cloud:
            found |= {
                "hasScreen": bool(transition.screen or transition.required),
                "isGlobal": not transition.sources,
                "isInitial": False,
                "isAvailable": True,
                "isConditional": transition.allowed is not None,
                "isLooped": False,
            }
        if "transitions.fields" in expand.split(","):
            screen = dict.fromkeys((*transition.screen, *transition.required))
            found["fields"] = {
                name: self.field_meta(self.state.fields[name], required=name in transition.required) for name in screen
            }
        return found

    def field_meta(self, field: Field, *, required: bool = False) -> Json:
        found: Json = {
            "required": required,
            "schema": {"type": "string" if field.type == "rich" else field.type, "system": field.id},
            "name": field.name,
            "key": field.id,
            "hasDefaultValue": False,
            "operations": ["add", "set", "remove"] if field.type == "array" else ["set"],
        }
        if field.id == "resolution":
            found["allowedValues"] = [self.resolution(name) for name in RESOLUTIONS]
        if field.id == "priority":
            found["allowedValues"] = [self.priority(name) for name in PRIORITIES]
        return found

    def field(self, field: Field) -> Json:
        kind = "string" if field.type == "rich" else field.type
        schema: Json = {"type": kind, "custom": field.type} if field.custom else {"type": kind, "system": field.id}
        return {
            "id": field.id,
            "key": field.id,
            "name": field.name,
            "custom": field.custom,
            "orderable": True,
            "navigable": True,
            "searchable": True,
            "clauseNames": [field.id, *field.clauses],
            "schema": schema,
        }


def chosen_fields(fields: Json, wanted: list[str]) -> Json:
    """`*all`, `*navigable`, names, and `-name` for those left out; nothing asked for: all but these."""
    out = {name[1:] for name in wanted if name.startswith("-")}
    names = [name for name in wanted if name and not name.startswith("-")]
    if not names or "*all" in names:
        return {name: value for name, value in fields.items() if name not in out}
    if "*navigable" in names:
        out |= {"comment", "attachment"} - set(names)
        return {name: value for name, value in fields.items() if name not in out}
    return {name: value for name, value in fields.items() if name in names and name not in out}


def error_body(problem: JiraProblem) -> Json:
    return {"errorMessages": problem.messages, "errors": problem.errors}
