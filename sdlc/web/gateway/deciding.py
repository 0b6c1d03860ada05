"""What people do to a run, always in the name of the one who is signed in."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sdlc.domain import ApprovalDecision, AttentionAnswer, Instruction, Person
from sdlc.errors import RunNotFound, UsageError
from sdlc.run_payloads import ModelChosen, Reassigned, Spoken
from sdlc.web.gateway.asking import Asking
from sdlc.web.views import Attend, Cancel, Decide, Escalate, Instruct, Pause, Reassign, Receipt, Resume, Steer

SOURCE = "web"


class Conflict(Exception):
    """Refused as things stand with the run; the sentence says why."""


@asynccontextmanager
async def heard(asking: Asking, key: str) -> AsyncIterator[None]:
    """Conflict for what the run refuses or is too late for; RunNotFound and a UsageError about the key as they are."""
    asking.check(key)
    try:
        yield
    except RunNotFound as error:
        await asking.is_open(key)  # says so where there is no such run at all
        raise Conflict(str(error)) from error
    except UsageError as error:
        raise Conflict(str(error)) from error


async def decide(asking: Asking, key: str, person: Person, says: tuple[str, ...], asked: Decide) -> Receipt:
    """`says`: what they only say that they are called; good for a refusal."""
    name = person.name
    decision = ApprovalDecision(
        kind=asked.kind,
        by=name,
        aliases=_others(person),
        also_called=says,
        head_sha=asked.head_sha,
        comment=asked.comment,
        source=SOURCE,
        decision_id=message_id(key, name, asked),
    )
    async with heard(asking, key):
        return Receipt(message=(await asking.decide(key, decision)).message)


async def attend(asking: Asking, key: str, person: Person, asked: Attend) -> Receipt:
    answer = AttentionAnswer(
        kind=asked.kind,
        by=person.name,
        aliases=_others(person),
        source=SOURCE,
        reason=asked.reason,
        instruction=asked.instruction,
        fingerprints=asked.fingerprints,
        message_id=message_id(key, person.name, asked),
    )
    async with heard(asking, key):
        return Receipt(message=(await asking.attend(key, answer)).message)


async def steer(asking: Asking, key: str, person: Person, asked: Steer) -> Receipt:
    name = person.name
    identity = message_id(key, name, asked)
    async with heard(asking, key):
        match asked:
            case Pause():
                await asking.signal(key, "pause", _spoken(name, asked.reason, identity))
                return Receipt(message="It pauses before the next step or turn.")
            case Resume():
                await asking.signal(key, "resume", _spoken(name, asked.reason, identity))
                return Receipt(message="It goes on.")
            case Instruct():
                word = Instruction(text=asked.text, by=name, message_id=identity)
                await asking.signal(key, "inject_instruction", word)
                return Receipt(message="The engine reads it between two turns, if it has more to do.")
            case Escalate():
                await asking.signal(key, "escalate_model", ModelChosen(model=asked.model, by=name))
                what = asked.model or "the next model of the ladder"
                return Receipt(message=f"Asked for {what}, from the next turn on; the audit trail shows if it counted.")
            case Reassign():
                said = Reassigned(
                    by=name,
                    to=asked.to,
                    reason=asked.reason,
                    aliases=_others(person),
                    source=SOURCE,
                    message_id=identity,
                )
                return Receipt(message=(await asking.reassign(key, said)).message)
            case Cancel():
                if not await asking.is_open(key):
                    raise RunNotFound(f"The run for {key} is over.")
                await asking.cancel_by(key, f"{name} (web): {asked.reason}".rstrip(": "))
                return Receipt(message="It is cancelled, and tidies up.")
    raise AssertionError(asked)


def _spoken(name: str, reason: str, identity: str) -> Spoken:
    return Spoken(by=name, reason=reason, source=SOURCE, message_id=identity)


def _others(person: Person) -> tuple[str, ...]:
    return tuple(alias for alias in person.names if alias != person.name)


def message_id(key: str, name: str, asked: Decide | Attend | Steer) -> str:
    """By which a repeated delivery counts once. Nobody can make that of somebody else's message."""
    once = asked.once or uuid.uuid4().hex
    said = json.dumps([key, name, once, type(asked).__name__, asked.model_dump(mode="json")], sort_keys=True)
    return f"web-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
