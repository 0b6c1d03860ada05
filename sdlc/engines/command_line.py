"""A coding program of others, run once in the sandbox, with the model as all that it reaches.

    workspace → program ┬ gateway to its model         → one clean commit
                        ├ checkpoints of its files
                        └ its output, to the log

What it has done is published while it works and on every way out, so that a successor goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sdlc.activities import EngineRequest, EngineResult
from sdlc.domain import Record, Usage
from sdlc.engines.batons import Finished, finished, work_ref
from sdlc.engines.checkpoints import Checkpoints
from sdlc.engines.command_launch import Engine, Model, prepared
from sdlc.engines.command_model import endpoint_of
from sdlc.engines.command_verdict import End, emptied, verdict
from sdlc.engines.engine_log import EngineLog
from sdlc.errors import GuardRailViolation
from sdlc.integrations.gateway import Gateway, GatewayLimits
from sdlc.integrations.git.throw_away import throw_away
from sdlc.integrations.sandbox import Service

if TYPE_CHECKING:
    from sdlc.integrations.project.environment import Environment
    from sdlc.integrations.sandbox import CommandResult
    from sdlc.integrations.services import Services
    from sdlc.integrations.workspace import Workspace

GRACE = 10.0
"""Seconds in which a program whose model calls are refused may end by itself."""
_MOST_PATHS = 200
"""That one git is told; above it whole folders are."""
_TAKEN_OVER = (
    "\n\n## An earlier try\n\nAn earlier try was cut off; what it changed is in the files. Look at `git status` and "
    "`git diff` first and go on from there.\n"
)

_log = logging.getLogger(__name__)


class Progress(Record):
    """How far all tries together have come: what a heartbeat carries, and a successor begins with."""

    head_sha: str = ""
    """The commit that was published last; empty: none, nobody has begun."""
    usage: Usage = Usage()
    turns: int = 0
    seconds: float = 0.0
    """For which programs have run."""
    spent_usd: float = 0.0
    """Of the cost what is known: bounds hold also where `usage.usd` is not."""
    taken_over: int = 0


class CommandLineRun:
    """One try. `progress` can be asked at any time."""

    def __init__(
        self,
        services: Services,
        request: EngineRequest,
        engine: Engine,
        redact: Callable[[str], str],
        *,
        before: Progress | None = None,
        most_seconds: float | None = None,
        handing_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """`before` is what earlier tries have done. `redact` takes the worker's secrets out of a text.

        When the run is cancelled it raises CancelledError if `handing_over()`, and has a result otherwise.
        Raises ConfigurationError for a model that can't be asked.
        """
        settings = services.settings
        self._services = services
        self._request = request
        self._engine = engine
        self._before = before or Progress()
        self._handing_over = handing_over
        taken_over = self._before.taken_over + bool(self._before.seconds)
        self._start = self._before.model_copy(update={"taken_over": taken_over})
        self._head = self._before.head_sha or request.change.head_sha
        self._left_out = ""
        self._checkpoint = ""
        self._began: float | None = None
        self._seconds = 0.0
        self._seconds_left = request.seconds - self._before.seconds
        self._deadline = time.monotonic() + (math.inf if most_seconds is None else most_seconds)
        self._endpoint = endpoint_of(settings, engine.program.wire, request.model)
        self._key = secrets.token_urlsafe(32)
        self._limits = _limits_left(request, self._before)
        self._gateway = Gateway(
            base_url=self._endpoint.base_url,
            api_key=self._endpoint.api_key,
            model=self._endpoint.model,
            wire=engine.program.wire,
            key=self._key,
            limits=self._limits,
            price=settings.llm.prices.get(self._endpoint.model),
            timeout_seconds=settings.llm.timeout_seconds,
        )
        self._printed = EngineLog(
            redact,
            (self._key, self._endpoint.api_key),
            engine=engine.program.name,
            run_id=request.run.run_id,
            limit=settings.sandbox.output_bytes,
        )

    @property
    def progress(self) -> Progress:
        """With this try in it, as far as it is published."""
        running = time.monotonic() - self._began if self._began is not None else 0.0
        return Progress(
            head_sha=self._head,
            usage=self._start.usage + self._gateway.usage,
            turns=self._start.turns + self._gateway.calls,
            seconds=round(self._start.seconds + self._seconds + running, 3),
            spent_usd=self._start.spent_usd + self._gateway.spent_usd,
            taken_over=self._start.taken_over,
        )

    async def result(self) -> EngineResult:
        """Run the program to its end, and have what it changed as one clean commit on top of where the round began.

        Raises ModelKeyRefused, ServiceUnavailable and EngineUnusable where it couldn't do anything for that reason,
        GuardRailViolation for a change that nobody may make, and what sandbox and git raise.
        """
        try:
            end = self._over_already() or await self._work()
        except asyncio.CancelledError:
            if self._handing_over():
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            end = End(stopped="interrupted", reason=f"{self._engine.label} was stopped to hear what was said to it.")
        self._printed.close()
        finishing = asyncio.create_task(self._finished(end))
        try:
            return await asyncio.shield(finishing)
        except asyncio.CancelledError:
            await asyncio.wait([finishing])  # so near to its end it is brought there
            return finishing.result()

    def _over_already(self) -> End | None:
        over, _ = self._limits.reached(calls=0, usage=Usage(), usd=0.0) or ("", "")
        over = over or ("time" if self._seconds_left <= 0 else "")
        left = {"turns": "no turns are", "budget": "no budget is", "time": "no time is"}.get(over, "")
        return End(stopped=over, reason=f"{self._engine.label} was not begun: {left} left for it.") if over else None

    # --- the program and what runs beside it ------------------------------------------------

    async def _work(self) -> End:
        request, services = self._request, self._services
        change, run = request.change, request.run
        async with services.workspaces.at(change.repository, change.head_sha, run_id=run.run_id) as workspace:
            await workspace.sandbox_git()
            environment = await services.environments.ensure(workspace, scratch=run.run_id)
            await self._take_over(workspace)
            droppings = self._engine.program.droppings
            checkpoints = Checkpoints(services.workspaces, workspace, run, self._head, droppings)
            try:
                async with self._checkpoints(checkpoints):
                    return await self._run(workspace, environment)
            finally:
                await checkpoints.close()

    async def _take_over(self, workspace: Workspace) -> None:
        """Have the files as the earlier try left them; the sandbox's git shows them as changes."""
        start = self._request.change.head_sha
        if self._head == start:
            return
        files = await workspace.changed_files(start, self._head)
        paths = sorted({path for file in files for path in (file.path, file.old_path) if path})
        if len(paths) > _MOST_PATHS:
            paths = sorted({"." if path.startswith('"') else path.partition("/")[0] for path in paths})
        if paths:
            await workspace.overlay(self._head, paths)

    @asynccontextmanager
    async def _checkpoints(self, checkpoints: Checkpoints) -> AsyncIterator[None]:
        """Take them while the block runs, and a last one however it ends."""
        ended = asyncio.Event()

        async def take_now_and_then() -> None:
            while True:
                try:
                    async with asyncio.timeout(self._services.settings.engine.checkpoint_seconds):
                        await ended.wait()
                    return
                except TimeoutError:
                    pass
                try:
                    await checkpoints.take(self.progress.turns)
                    self._head = checkpoints.head
                except Exception as error:
                    _log.warning("a checkpoint failed and is taken again later: %s", error)

        taking = asyncio.create_task(take_now_and_then(), name="checkpoints")
        try:
            yield
        finally:
            ended.set()
            await asyncio.wait([taking])
            last = asyncio.create_task(checkpoints.take_last(self.progress.turns))
            try:
                await asyncio.shield(last)
            finally:
                await asyncio.wait([last])
                self._head, self._left_out = checkpoints.head, checkpoints.left_out
            if self._left_out:
                _log.warning("not everything of %s was kept: %s", self._engine.exact, self._left_out)

    async def _run(self, workspace: Workspace, environment: Environment) -> End:
        services, request = self._services, self._request
        brief = await services.artifacts.text(request.brief)
        brief += _TAKEN_OVER if self._head != request.change.head_sha else ""
        turns = self._limits.calls or request.max_turns
        model = Model(self._endpoint.model, self._key, turns, services.settings.llm.context_tokens)
        port = services.sandbox.service_port()
        # On the same disk, which a HOME may fill; and whoever has this workspace next finds what a kill has left.
        folder = workspace.path.with_name("engine")
        await throw_away(folder)
        folder.mkdir()
        try:
            ready = prepared(self._engine, services.sandbox, environment, folder, brief, model, port)
            running = services.sandbox.run(
                ready.launched.command,
                workspace=workspace.path,
                timeout=max(1.0, min(self._seconds_left, self._deadline - time.monotonic())),
                env=ready.env,
                mounts=ready.mounts,
                stdin=ready.launched.stdin,
                service=Service(self._gateway.serve, port),
                on_output=self._printed.feed,
            )
            result = await self._until_it_ends(running)
        finally:
            await throw_away(folder)
        exit_code, limit = (result.exit_code, result.limit) if result else (None, None)
        return End(exit_code, limit, self._gateway.stopped, self._gateway.reason, self._gateway.trouble)

    async def _until_it_ends(self, started: Coroutine[Any, Any, CommandResult]) -> CommandResult | None:
        """None where it was stopped because its model calls are refused. It is dead when this returns or raises."""
        self._began = time.monotonic()
        running = asyncio.create_task(started, name="engine")
        stopped = asyncio.create_task(self._gateway.stop_event.wait())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await asyncio.wait({running}, timeout=GRACE)
        finally:
            stopped.cancel()
            running.cancel()
            await asyncio.wait({running, stopped})
            self._seconds, self._began = time.monotonic() - self._began, None
        return None if running.cancelled() else running.result()

    # --- what comes of it -------------------------------------------------------------------

    async def _finished(self, end: End) -> EngineResult:
        request, label = self._request, self._engine.label
        text = await asyncio.to_thread(self._printed.text)
        name = f"{self._engine.program.name}-{request.run.ticket_key}.log"
        log = await self._services.artifacts.put(text, name=name)
        start = request.change.head_sha
        objects = await self._services.workspaces.objects(request.change.repository)
        files = await objects.changed_files(start, self._head) if self._head != start else []
        said = self._printed.last_lines()
        ended, reason = verdict(end, label, changed=bool(files), left_out=self._left_out, said=said)
        done_what = f"{label} changed {len(files):,} file{'' if len(files) == 1 else 's'}."
        summary = self._printed.last_words() or done_what
        accident = emptied(files, len(await objects.list_files(start))) if files and ended != "interrupted" else ""
        if accident:
            ended = "failed"
            reason = (
                f"What {label} did was not taken: {accident}. It is kept in {work_ref(request.run, self._head)}; "
                "look at it, and retry with an instruction."
            )
            done = Finished(request.change)
        else:
            try:
                done = await self._done(summary, ended)
            except GuardRailViolation as violation:
                # An answer rather than an error: what it has cost counts, and the log is kept.
                ended, reason, done = "failed", str(violation), Finished(request.change)
        progress = self.progress
        return EngineResult(
            change=done.change,
            summary=summary,
            ended=ended,
            reason=reason[:2_000],
            usage=progress.usage,
            turns=progress.turns,
            engine=self._engine.exact,
            model=self._endpoint.model,
            protected=done.protected,
            allowed=done.allowed,
            sandboxed=self._services.sandbox.name != "none",
            log=log,
            taken_over=progress.taken_over,
            checkpoint=self._checkpoint,
        )

    async def _done(self, summary: str, ended: str) -> Finished:
        workspaces, request, head = self._services.workspaces, self._request, self._head
        message = "\n\n".join(filter(None, [request.title, summary]))
        try:
            return await finished(workspaces, request, head, message, ended, guard=self._services.settings.guard)
        except GuardRailViolation:
            if ended != "interrupted":
                raise
        # Half of a work is no offence: it is gone on with, and the whole is judged when it is done.
        self._checkpoint = head
        return Finished(request.change)


def _limits_left(request: EngineRequest, before: Progress) -> GatewayLimits:
    tokens, usd = request.tokens_left, request.usd_left
    spent = before.usage.input_tokens + before.usage.output_tokens
    return GatewayLimits(
        calls=max(0, request.max_turns - before.turns),
        tokens=max(0, tokens - spent) if tokens is not None else None,
        usd=max(0.0, usd - before.spent_usd) if usd is not None else None,
    )
