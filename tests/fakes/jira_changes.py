"""What happens in the fake Jira, whoever does it: the change, its history, the webhooks.

The API's handlers and tests that play a person both come through here. Rights are the handlers' business.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from tests.fakes import jira_text
from tests.fakes.jira_jql import Query, View
from tests.fakes.jira_state import Change, Comment, Issue, IssueLink, RichText, State, Transition, User
from tests.fakes.jira_webhooks import Sender, Webhook
from tests.fakes.jira_wire import Json, Wire


class Changes:
    """Makes changes to the state, which the caller holds the lock of."""

    def __init__(self, state: State, sender: Sender, webhooks: list[Webhook], base: str = "") -> None:
        self.state, self.sender, self.webhooks, self.base = state, sender, webhooks, base

    # --- issues -------------------------------------------------------------------------------

    def created(self, issue: Issue, by: User) -> None:
        self.state.data.issues[issue.key] = issue
        self._announce("jira:issue_created", by, issue, {"issue_event_type_name": "issue_created"})

    def deleted(self, issue: Issue, by: User) -> None:
        data = self.state.data
        payload = self._issue(issue)
        for key in [issue.key, *(other.key for other in data.issues.values() if other.parent == issue.key)]:
            data.issues.pop(key, None)
            data.links = [link for link in data.links if key not in (link.source, link.target)]
        self._send("jira:issue_deleted", by, issue, {"issue": payload})

    def moved(self, issue: Issue, project: str, by: User) -> str:
        """To another project, under a new key; the old one leads there."""
        data, old = self.state.data, issue.key
        new = self.state.next_key(project)
        del data.issues[old]
        data.moved[old], issue.key, data.issues[new] = new, new, issue
        for link in data.links:
            link.source = new if link.source == old else link.source
            link.target = new if link.target == old else link.target
        for other in data.issues.values():
            other.parent = new if other.parent == old else other.parent
        self._record(issue, by, [_item("Key", old, new)], "issue_moved")
        return new

    def edited(self, issue: Issue, by: User, values: dict[str, Any], event: str = "") -> None:
        """Set fields (ids, with values as `Issue` keeps them); nothing happens for those that don't differ."""
        items: list[Json] = []
        for name, value in values.items():
            target: Any = issue.custom if name.startswith("customfield_") else vars(issue)
            before = target.get(name)
            if before != value:
                target[name] = value
                items.append(self._change_of(name, before, value))
        if items:
            fallback = "issue_assigned" if set(values) == {"assignee"} else "issue_updated"
            self._record(issue, by, items, event or fallback)

    def transitioned(self, issue: Issue, by: User, transition: Transition, values: dict[str, Any]) -> None:
        changes = {**values, "status": transition.to}
        if transition.resolution is not None and "resolution" not in values:
            changes["resolution"] = transition.resolution or None
        self.edited(issue, by, changes, "issue_generic")

    def _change_of(self, name: str, before: Any, after: Any) -> Json:
        match name:
            case "assignee" | "reporter":
                return _item(name, self._id(before), self._id(after), self._display(before), self._display(after))
            case "status":
                ids = {status.name: status.id for status in self.state.workflow.statuses}
                return _item(name, ids.get(before), ids.get(after), before, after)
            case "labels":
                return _item(name, None, None, " ".join(before), " ".join(after))
        custom = name.startswith("customfield_")
        shown = [str(jira_text.as_wiki(value)) if isinstance(value, dict) else value for value in (before, after)]
        texts = [None if value is None else str(value) for value in shown]
        found = _item(self.state.fields[name].name if custom else name, None, None, *texts)
        return {**found, "fieldtype": "custom" if custom else "jira", "fieldId": name}

    def _id(self, name: str | None) -> str | None:
        if name is None:
            return None
        user = self.state.users[name]
        return user.account_id if self.state.cloud else user.key

    def _display(self, name: str | None) -> str | None:
        return self.state.users[name].display_name if name else None

    def _record(self, issue: Issue, by: User, items: list[Json], event: str) -> None:
        issue.updated = datetime.now(UTC)
        change = Change(self.state.new_id(), by.name, issue.updated, items)
        issue.history.append(change)
        extra = {"issue_event_type_name": event, "changelog": {"id": change.id, "items": items}}
        self._announce("jira:issue_updated", by, issue, extra)

    # --- comments -----------------------------------------------------------------------------

    def commented(
        self,
        issue: Issue,
        by: User,
        body: RichText,
        properties: dict[str, Any] | None = None,
        visibility: Json | None = None,
    ) -> Comment:
        now = datetime.now(UTC)
        comment = Comment(self.state.new_id(), by.name, body, now, now, by.name, properties or {}, visibility)
        issue.comments.append(comment)
        issue.updated = now
        self._about_comment("comment_created", by, issue, comment)
        return comment

    def comment_edited(self, issue: Issue, by: User, comment: Comment, body: RichText) -> None:
        comment.body, comment.update_author = body, by.name
        comment.updated = issue.updated = datetime.now(UTC)
        self._about_comment("comment_updated", by, issue, comment)

    def comment_deleted(self, issue: Issue, by: User, comment: Comment) -> None:
        issue.comments.remove(comment)
        issue.updated = datetime.now(UTC)
        self._about_comment("comment_deleted", by, issue, comment)

    def _about_comment(self, event: str, by: User, issue: Issue, comment: Comment) -> None:
        written = self._wire(by).comment(issue, comment)
        # Data Center names the issue only in the second telling.
        extra = {"issue": self._issue(issue, brief=True)} if self.state.cloud else {}
        self._send(event, by, issue, {"comment": written, **extra})
        if not self.state.cloud:  # Data Center tells it a second time, as a change of the issue
            kinds = {"comment_created": "issue_commented", "comment_updated": "issue_comment_edited"}
            name = kinds.get(event, "issue_comment_deleted")
            self._announce("jira:issue_updated", by, issue, {"issue_event_type_name": name, "comment": written})

    # --- links --------------------------------------------------------------------------------

    def linked(self, link: IssueLink, by: User) -> None:
        self.state.data.links.append(link)
        self._about_link("issuelink_created", by, link)

    def unlinked(self, link: IssueLink, by: User) -> None:
        self.state.data.links.remove(link)
        self._about_link("issuelink_deleted", by, link)

    def _about_link(self, event: str, by: User, link: IssueLink) -> None:
        ends = [self.state.data.issues[key] for key in (link.source, link.target)]
        for end in ends:
            end.updated = datetime.now(UTC)
        told = {
            "id": int(link.id),
            "sourceIssueId": int(ends[0].id),
            "destinationIssueId": int(ends[1].id),
            "issueLinkType": self._wire(by).link_type(link.type),
        }
        self._send(event, by, None, {"issueLink": told})

    # --- telling ------------------------------------------------------------------------------

    def _wire(self, reader: User | None) -> Wire:
        """Webhooks are written as version 2 of the API writes: text is wiki markup on Cloud too."""
        return Wire(self.state, self.state.data, self.base, 2, reader)

    def _issue(self, issue: Issue, *, brief: bool = False) -> Json:
        wire = self._wire(None)
        if brief:
            return wire.issue(
                issue, ["summary", "issuetype", "project", "assignee", "priority", "status"], "", lambda _: True
            )
        return wire.issue(issue, ["*all", "-comment"], "", lambda _: True)

    def _announce(self, event: str, by: User, issue: Issue, extra: Json) -> None:
        self._send(event, by, issue, {**extra, "issue": self._issue(issue)})

    def _send(self, event: str, by: User, issue: Issue | None, payload: Json) -> None:
        whole = {"timestamp": int(time.time() * 1000), "webhookEvent": event, **payload}
        if event.startswith("jira:"):
            whole["user"] = self._wire(None).user(by)
        for webhook in self.webhooks:
            if webhook.events and event not in webhook.events:
                continue
            if webhook.jql and issue is not None and not self._matches(webhook.jql, issue):
                continue
            self.sender.send(webhook, event, whole, (by.name, by.key))

    def _matches(self, jql: str, issue: Issue) -> bool:
        anybody = User("webhooks", permissions={"BROWSE_PROJECTS"})
        view = View(self.state, self.state.data, anybody)
        return bool(Query(jql).select(view, [issue]))


def _item(
    field: str, before: str | None, after: str | None, before_text: str | None = None, after_text: str | None = None
) -> Json:
    return {
        "field": field,
        "fieldtype": "jira",
        "fieldId": field,
        "from": before,
        "fromString": before if before_text is None else before_text,
        "to": after,
        "toString": after if after_text is None else after_text,
    }
