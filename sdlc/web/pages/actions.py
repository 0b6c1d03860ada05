"""What people can do to a run by its page: forms, who may send them, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData

from sdlc.domain import AttentionKind, DecisionKind
from sdlc.web import views
from sdlc.web.gateway import Gateway
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.identity import Identity, Role
from sdlc.web.views import Action

_BY_APPROVERS = frozenset({"approve", "request_changes", "reject", "waive"})
_SAYS_WHY = {
    "request_changes": "Say what should change: the engine reads it in the next round.",
    "reject": "Say why: the reason stands in the audit trail and in the ticket.",
    "waive": "Say why this may stand: the reason stands in the audit trail and in the pull request.",
    "abort": "Say why: the reason stands in the audit trail.",
    "instruct": "Say what the engine should know.",
}
"""What a reason is due for, and what is told where there is none."""
_STEER: TypeAdapter[views.Steer] = TypeAdapter(views.Steer)
_TOO_LONG = "This is too long, or not what it has to be; a reason has at most 65,536 characters."


@dataclass(frozen=True)
class Draft:
    """What somebody wrote, so that a refusal takes none of it away."""

    reason: str = ""
    instruction: str = ""
    to: str = ""
    model: str = ""
    action: str = ""


NOTHING = Draft()


def role_for(action: str) -> Role:
    return Role.APPROVER if action in _BY_APPROVERS else Role.OPERATOR


def allowed(actions: tuple[Action, ...], identity: Identity) -> tuple[Action, ...]:
    return tuple(action for action in actions if identity.role >= role_for(action))


def draft_of(form: FormData) -> Draft:
    return Draft(**{name: _text(form, name)[:65_536] for name in ("reason", "instruction", "to", "model", "action")})


class Unfit(Exception):
    """What was sent can't be meant so; a sentence for the page that sent it."""


async def act(gateway: Gateway, key: str, identity: Identity, form: FormData) -> str:
    """Do what the form says, in the name of who is signed in; what became of it, in a sentence.

    Raises Refused (403) for somebody who may not, Unfit for what is missing or too long, Conflict where the run
    refuses it.
    """
    action = _text(form, "action")
    if action not in get_args(Action):
        raise Unfit("This is nothing that can be done to a run.")
    needed = role_for(action)
    if identity.role < needed:
        raise Refused(403, f"This needs the role {needed.words}; {identity.name} is {identity.role.words}.")
    reason = _text(form, "reason").strip()
    if not reason and action in _SAYS_WHY:
        raise Unfit(_SAYS_WHY[action])
    said: dict[str, Any] = {"once": _text(form, "once"), "reason": reason}
    try:
        if action in set(DecisionKind):
            return await decide(gateway, key, identity, form)
        if action in set(AttentionKind):
            said |= {"kind": action, "instruction": _text(form, "instruction")}
            said["fingerprints"] = tuple(str(one) for one in form.getlist("fingerprint")) if action == "waive" else ()
            return (await gateway.attend(key, identity, views.Attend(**said))).message
        return (await gateway.steer(key, identity, _STEER.validate_python(_steering(action, said, form)))).message
    except ValidationError:
        raise Unfit("Name somebody." if action == "reassign" and not _names(form) else _TOO_LONG) from None


async def decide(gateway: Gateway, key: str, identity: Identity, form: FormData, head_sha: str = "") -> str:
    """Approve, reject or request changes: about the form's head, or the given one. Raises as `act`."""
    kind, reason = _text(form, "action"), _text(form, "reason").strip()
    if kind not in set(DecisionKind):
        raise Unfit("A link decides, and does nothing else.")
    if not reason and kind in _SAYS_WHY:
        raise Unfit(_SAYS_WHY[kind])
    head = head_sha or _text(form, "head_sha")
    try:
        asked = views.Decide(once=_text(form, "once"), kind=DecisionKind(kind), head_sha=head, comment=reason)
    except ValidationError:
        raise Unfit(_TOO_LONG if head else "There is no change yet that could be decided about.") from None
    return (await gateway.decide(key, identity, asked)).message


def _steering(action: str, said: Mapping[str, Any], form: FormData) -> dict[str, Any]:
    about = {"once": said["once"], "action": action}
    match action:
        case "instruct":
            return {**about, "text": said["reason"]}
        case "escalate":
            return {**about, "model": _text(form, "model").strip()}
        case "reassign":
            return {**about, "to": _names(form), "reason": said["reason"]}
    return {**about, "reason": said["reason"]}


def _names(form: FormData) -> tuple[str, ...]:
    return tuple(name.strip() for name in _text(form, "to").split(",") if name.strip())


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
