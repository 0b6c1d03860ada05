"""Asking the person at the terminal. Input is read in a thread, so that the worker goes on meanwhile."""

from __future__ import annotations

import asyncio
import getpass
import uuid

from rich.prompt import Prompt

from sdlc.cli.context import say
from sdlc.cli.view import console, plain
from sdlc.domain import ApprovalDecision, AttentionAnswer, AttentionKind, DecisionKind
from sdlc.errors import SdlcError
from sdlc.progress import RunProgress
from sdlc.runtime.runs import Runs


async def _ask(question: str, choices: list[str] | None = None, default: str = "") -> str:
    def read() -> str:
        try:
            return Prompt.ask(question, choices=choices, default=default, console=console(stderr=True))
        except EOFError:
            return default

    return (await asyncio.to_thread(read)).strip()


async def ask_about_approval(runs: Runs, progress: RunProgress) -> None:
    """Approve, request changes, reject or leave; LEAVE raises KeyboardInterrupt."""
    kinds = {
        "approve": DecisionKind.APPROVE,
        "changes": DecisionKind.REQUEST_CHANGES,
        "reject": DecisionKind.REJECT,
    }
    while True:
        choice = await _ask("Your decision", [*kinds, "leave"], "leave")
        if choice == "leave":
            raise KeyboardInterrupt
        comment = "" if choice == "approve" else await _ask("What should change" if choice == "changes" else "Why")
        decision = ApprovalDecision(
            kind=kinds[choice],
            by=getpass.getuser(),
            comment=comment,
            head_sha=progress.change.head_sha if progress.change else "",
            source="cli",
            decision_id=uuid.uuid4().hex,
        )
        try:
            await runs.decide(progress.ticket_key, decision)
        except SdlcError as error:
            say(str(error))
        else:
            return


async def ask_about_trouble(runs: Runs, progress: RunProgress) -> None:
    """Retry, waive, abort or leave; LEAVE raises KeyboardInterrupt."""
    say(f"{progress.ticket_key} needs you: {plain(progress.waits_for)}")
    while True:
        choice = await _ask("Your answer", [kind.value for kind in AttentionKind] + ["leave"], "leave")
        if choice == "leave":
            raise KeyboardInterrupt
        kind = AttentionKind(choice)
        text = await _ask("A word for the engine, if you have one" if kind is AttentionKind.RETRY else "Why")
        answer = AttentionAnswer(
            kind=kind,
            by=getpass.getuser(),
            instruction=text if kind is AttentionKind.RETRY else "",
            reason="" if kind is AttentionKind.RETRY else text,
        )
        try:
            await runs.attend(progress.ticket_key, answer)
        except SdlcError as error:
            say(str(error))
        else:
            return
