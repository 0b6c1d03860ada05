"""What people said on a pull request, and which of it counts.

A review of somebody who may write to the repository is a decision about the head it was given on. What others
say is shown to people and obeyed by nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sdlc.domain import ApprovalDecision, DecisionKind, Remark
from sdlc.integrations.github.comments import is_marked

WRITERS = ("admin", "maintain", "write")
"""GitHub's words for who may push."""
_KINDS = {"APPROVED": DecisionKind.APPROVE, "CHANGES_REQUESTED": DecisionKind.REQUEST_CHANGES}
MAX_REMARK = 4_000
"""Characters of one remark, and of all words of a decision five times as many: they stand in a run's history."""
MOST_REMARKS = 50


@dataclass(frozen=True)
class Heard:
    """What was said, sorted by what it is good for."""

    decisions: tuple[ApprovalDecision, ...] = ()
    """The last word of each person with write access, in the order in which they were given."""
    feedback: tuple[Remark, ...] = ()
    """Words of people with write access that decide nothing by themselves."""
    shown: tuple[Remark, ...] = ()
    """Words of others, and reviews that do not count: for people to read."""


def people_in(*lists: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The logins whose permission must be known, each once."""
    return tuple(dict.fromkeys(login_of(item) for items in lists for item in items if _is_person(item)))


def may_write(permission: Mapping[str, Any]) -> bool:
    """From `GET /repos/…/collaborators/…/permission`: the role where there is one, else the older word."""
    return any(str(permission.get(name) or "") in WRITERS for name in ("role_name", "permission"))


def heard(
    reviews: Iterable[Mapping[str, Any]],
    review_comments: Iterable[Mapping[str, Any]] = (),
    comments: Iterable[Mapping[str, Any]] = (),
    *,
    writers: Collection[str],
    ours: Collection[str] = (),
) -> Heard:
    """Reviews, comments on lines and comments below, as GitHub lists them.

    `writers` are the logins with write access; `ours` those under which this system writes, whose words are never
    heard; nor is what ends with a mark of ours. An approval counts for the commit it was given on, and for none
    where GitHub names none. A person's later review replaces the earlier one, a mere comment does not; one that was
    dismissed leaves them without a decision. Remarks are the newest of their kind, in the order of their time.
    """
    trusted = {name.casefold() for name in writers}
    own = {name.casefold() for name in ours if name}
    on_lines: dict[int, list[Mapping[str, Any]]] = {}
    for comment in review_comments:
        on_lines.setdefault(int(comment.get("pull_request_review_id") or 0), []).append(comment)
    last: dict[str, ApprovalDecision] = {}
    feedback: list[Remark] = []
    shown: list[Remark] = []
    listed = sorted(reviews, key=lambda review: (str(review.get("submitted_at") or ""), int(review.get("id") or 0)))
    for review in listed:
        login, state = login_of(review), str(review.get("state") or "").upper()
        remarks = [_remark(one, "comment") for one in on_lines.pop(int(review.get("id") or 0), [])]
        said = [one for one in (_remark(review, "review"), *remarks) if one.body]
        if not login or login.casefold() in own or state == "PENDING":
            continue
        if login.casefold() not in trusted or not _is_person(review):
            shown += said or _without_words(review, state)
            continue
        decision = _decision(review, state, said)
        if decision is not None:
            last.pop(login.casefold(), None)
            last[login.casefold()] = decision
        elif state in _KINDS or state == "DISMISSED":
            # Of an approval without its commit, or one that was taken back, only the words remain.
            last.pop(login.casefold(), None)
            shown += said or _without_words(review, state)
        else:
            feedback += said
    # Those of a review that is not listed yet are its words: they are heard with it, at the next look.
    loose = on_lines.get(0, [])
    rest = [_remark(one, "comment") for one in loose]
    rest += [_remark(one, "issue-comment") for one in comments]
    people = {login_of(one).casefold() for one in loose if _is_person(one)}
    people |= {login_of(one).casefold() for one in comments if _is_person(one)}
    for remark in rest:
        name = remark.by.casefold()
        if not remark.body or not name or name in own:
            continue
        (feedback if name in trusted and name in people else shown).append(remark)
    return Heard(tuple(last.values()), _newest(feedback), _newest(shown))


def _newest(remarks: Iterable[Remark]) -> tuple[Remark, ...]:
    ordered = sorted(remarks, key=lambda one: one.at or datetime.min.replace(tzinfo=UTC))
    return tuple(ordered[-MOST_REMARKS:])


def _without_words(review: Mapping[str, Any], state: str) -> list[Remark]:
    """A review that says nothing but its verdict; none for a mere shell around comments on lines."""
    if state == "COMMENTED":
        return []
    return [_remark({**review, "body": f"({state.lower().replace('_', ' ')})"}, "review")]


def _decision(review: Mapping[str, Any], state: str, said: Iterable[Remark]) -> ApprovalDecision | None:
    kind, head = _KINDS.get(state), str(review.get("commit_id") or "")
    # Without a head a decision would be taken for one about the head of the moment in which it arrives.
    if kind is None or not head:
        return None
    return ApprovalDecision(
        kind=kind,
        by=login_of(review),
        head_sha=head,
        comment=_cut("\n\n".join(_with_place(remark) for remark in said), 5 * MAX_REMARK),
        source="forge",
        decision_id=f"github-review-{review.get('id')}-{state.lower()}",
    )


def _with_place(remark: Remark) -> str:
    at = f"{remark.path}:{remark.line}" if remark.line else remark.path
    return f"{at}: {remark.body}" if at else remark.body


def _remark(item: Mapping[str, Any], kind: str) -> Remark:
    """Without words where they are ours."""
    at = item.get("submitted_at") or item.get("updated_at") or item.get("created_at")
    body = str(item.get("body") or "").strip()
    return Remark(
        by=login_of(item),
        body="" if is_marked(body) else _cut(body, MAX_REMARK),
        identity=f"github-{kind}-{item.get('id')}",
        url=str(item.get("html_url") or ""),
        path=str(item.get("path") or ""),
        line=int(item.get("line") or item.get("original_line") or 0),
        head_sha=str(item.get("commit_id") or ""),
        at=_moment(at),
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def login_of(item: Mapping[str, Any]) -> str:
    """Empty for an account that is gone."""
    user = item.get("user")
    return str(user.get("login") or "") if isinstance(user, Mapping) else ""


def _is_person(item: Mapping[str, Any]) -> bool:
    user = item.get("user")
    return isinstance(user, Mapping) and bool(user.get("login")) and str(user.get("type") or "User") == "User"


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        return None
