"""Asking the person at the terminal, while the worker goes on and others may answer first."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sdlc.cli.context import say
from sdlc.cli.interrupts import Interrupted
from sdlc.cli.keyboard import ask, choose
from sdlc.cli.view import plain
from sdlc.cli.watching import until_it_goes_on
from sdlc.domain import ApprovalDecision, AttentionAnswer, AttentionKind, DecisionKind, MessageReceipt
from sdlc.errors import SdlcError
from sdlc.progress import RunProgress
from sdlc.runtime.runs import Runs

_DECISIONS = {
    "approve": DecisionKind.APPROVE,
    "changes": DecisionKind.REQUEST_CHANGES,
    "reject": DecisionKind.REJECT,
}
_LEAVE = "leave"
_BACK = "Nothing was said; back to the question."


async def ask_about_approval(runs: Runs, progress: RunProgress) -> None:
    """Approve, ask for changes, reject, or leave, which raises Interrupted."""
    await _unless_it_goes_on(runs, progress, lambda: _decided(runs, progress))


async def ask_about_trouble(runs: Runs, progress: RunProgress) -> None:
    """Retry, waive, abort, or leave, which raises Interrupted."""
    say(f"{progress.ticket_key} needs you: {plain(progress.waits_for)}")
    await _unless_it_goes_on(runs, progress, lambda: _answered(runs, progress))


async def _decided(runs: Runs, progress: RunProgress) -> None:
    while True:
        choice = await _choice("Your decision", [*_DECISIONS])
        kind = _DECISIONS[choice]
        comment = ""
        if kind is not DecisionKind.APPROVE:
            comment = await ask("What should change" if kind is DecisionKind.REQUEST_CHANGES else "Why") or ""
            if not comment:
                say(_BACK)
                continue
        decision = ApprovalDecision(
            kind=kind,
            by=getpass.getuser(),
            comment=comment,
            head_sha=progress.change.head_sha if progress.change else "",
            source="cli",
            decision_id=uuid.uuid4().hex,
        )
        if await _counts(runs.decide(progress.ticket_key, decision)):
            return


async def _answered(runs: Runs, progress: RunProgress) -> None:
    while True:
        kind = AttentionKind(await _choice("Your answer", [kind.value for kind in AttentionKind]))
        is_retry = kind is AttentionKind.RETRY
        text = await ask("A word for the engine, or nothing" if is_retry else "Why") or ""
        if kind is AttentionKind.WAIVE and not text:
            say(_BACK)
            continue
        answer = AttentionAnswer(
            kind=kind,
            by=getpass.getuser(),
            instruction=text if is_retry else "",
            reason="" if is_retry else text,
        )
        if await _counts(runs.attend(progress.ticket_key, answer)):
            return


async def _choice(question: str, choices: list[str]) -> str:
    choice = await choose(question, [*choices, _LEAVE])
    if choice is None or choice == _LEAVE:
        raise Interrupted
    return choice


async def _counts(sending: Awaitable[MessageReceipt]) -> bool:
    try:
        await sending
    except SdlcError as error:
        say(str(error))
        return False
    return True


async def _unless_it_goes_on(
    runs: Runs, progress: RunProgress, asking: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Ask, and give the question up when the run goes on without an answer: somebody else has decided."""
    question = asyncio.create_task(asking())
    elsewhere = asyncio.create_task(until_it_goes_on(runs, progress))
    try:
        await asyncio.wait({question, elsewhere}, return_when=asyncio.FIRST_COMPLETED)
        if question.done():
            question.result()
        else:
            say("\nIt was decided elsewhere.")
    finally:
        for task in (question, elsewhere):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
