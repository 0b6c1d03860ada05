"""Everything that pages and the API ask for. It keeps no state but answers of the last moments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client

from sdlc.domain import ArtifactRef, AuditEntry, Person
from sdlc.errors import GuardRailViolation, RepositoryInvalid, RunNotFound, ServiceUnavailable, UsageError, WorldError
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.progress import RunProgress
from sdlc.runtime.client import task_queue
from sdlc.runtime.connection import Connection
from sdlc.runtime.dev_server import running_server
from sdlc.runtime.last_known import may_be_the_worker, no_worker
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.run_reviews import reviews_of
from sdlc.runtime.runs import Look, RunRow, workflow_id
from sdlc.web import views
from sdlc.web.gateway import deciding
from sdlc.web.gateway.asking import Asking, Fresh, Past
from sdlc.web.gateway.card_page import CardView, card_view
from sdlc.web.gateway.conversation import conversation_of, documents_of
from sdlc.web.gateway.lists import MOST_WAITING, inbox_of, line_of, runs_page, safe_url
from sdlc.web.gateway.patch import read_diff
from sdlc.web.gateway.run_page import (
    actions_of,
    at_lines,
    audit_of,
    costs_of,
    line_now,
    review_view,
    told,
    trouble_view,
)
from sdlc.web.gateway.shown import Shown
from sdlc.web.gateway.stats import MOST_RUNS, stats_of
from sdlc.web.sign_in.sealing import Sealer, web_secret

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.integrations.workspace import Workspaces
    from sdlc.web.sign_in.identity import Identity

MOST_DAYS = 365
CONNECT_WITHIN = 5.0
"""Seconds that somebody waits for a connection; making it may take longer, for those who come later."""
_SILENT_SECONDS = 30.0
_SHORT_PATIENCE = 2.0
"""Seconds for a run for which no worker answered just now: whoever goes from tab to tab waits ten once."""
_MOST_SILENT = 1_000
_FRESH_SECONDS = 2.0
_COUNTED_SECONDS = 15.0
"""How long it may take until it is seen that one wait has ended while another began."""
_SHOWN_CHARS = 400_000
"""Of a document."""
_READ_BYTES = 64 * 1024**2
"""A larger document is not read."""


class Gateway:
    """`connection`, or what it is made of, gives clients made by `sdlc.runtime.client.connect`.

    Of a run that nobody knows RunNotFound is raised, of what can't be a key or a place in a list UsageError, and
    ServiceUnavailable while Temporal or a worker does not answer: each with a sentence for people.
    """

    def __init__(
        self,
        connection: Connection | Callable[[], Awaitable[Client]],
        settings: Settings,
        *,
        artifacts: ArtifactStore | None = None,
        workspaces: Workspaces | None = None,
    ) -> None:
        self._connection = connection if isinstance(connection, Connection) else Connection(connection)
        self._settings = settings
        self._artifacts = artifacts or ArtifactStore(settings.artifacts_dir)
        self._given_workspaces = workspaces
        self._redact = Redactor.of(settings)
        self._shown = Shown(self._redact)
        self._known: Asking | None = None
        self._silent: dict[str, float] = {}
        """Runs for which no worker has answered, and until when that is taken for granted."""
        self._sealer: Sealer | None = None
        self._waiting: Fresh[list[RunRow]] = Fresh(_FRESH_SECONDS, most=1)
        self._counts: Fresh[int] = Fresh(_FRESH_SECONDS, most=1)
        self._counted: Fresh[list[RunRow]] = Fresh(_COUNTED_SECONDS, most=1)
        self._lately: Fresh[list[RunRow]] = Fresh(_FRESH_SECONDS, most=4)
        self._pasts: Fresh[list[Past]] = Fresh(_FRESH_SECONDS, most=8)

    def person(self, identity: Identity) -> Person:
        """With all the names that the configuration has for them."""
        return identity.person(self._settings.people)

    # --- lists ----------------------------------------------------------------------------------

    async def inbox(
        self, names: Sequence[str], *, everything: bool = False, offset: int = 0, limit: int = 50
    ) -> views.Inbox:
        """What waits for one of these names; with `everything` also what waits for others."""
        asking = await self._asking()
        rows = await self._waiting.get("", lambda: asking.waiting(MOST_WAITING))
        found = inbox_of(rows, names, everything=everything, offset=offset, limit=limit)
        return self._shown.deep(found)

    async def inbox_count(self, names: Sequence[str]) -> views.InboxCount:
        """How many wait; looked at anew when their number changes, and now and then."""
        asking = await self._asking()
        waiting = await self._counts.get("", asking.count_waiting)
        rows = await self._counted.get(waiting, lambda: asking.waiting(MOST_WAITING))
        return views.InboxCount(mine=sum(line_of(row, names).for_me for row in rows), waiting=waiting)

    async def runs(
        self, wanted: views.RunFilter, cursor: str = "", *, limit: int = 50, names: Sequence[str] = ()
    ) -> views.RunsPage:
        """Runs that fit, the newest first, from the cursor on. UsageError for one that is not ours."""
        asking = await self._asking()
        if self._sealer is None:
            self._sealer = Sealer(web_secret(self._settings), "a place in a list")
        return self._shown.deep(await runs_page(asking, wanted, cursor, limit, names, self._sealer))

    async def stats(self, days: int = 30, wanted: views.RunFilter | None = None) -> views.Stats:
        """How runs of the last days went; by repository and state where `wanted` says so."""
        asking = await self._asking()
        repository = wanted.repository if wanted else ""
        state = str(wanted.state) if wanted else ""
        since = (datetime.now(UTC) - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        question = (since, repository, state)
        rows = await self._lately.get(
            question, lambda: asking.lately(since, MOST_RUNS, repository=repository, state=state)
        )
        return stats_of(rows, since, days)

    # --- a run ----------------------------------------------------------------------------------

    async def first_run(self, key: str) -> str:
        """As `Runs.first_run`: what an approval link names its run by."""
        return await (await self._asking()).first_run(key)

    async def progress(self, key: str) -> RunProgress:
        """How it stands now, also where it was ended from outside; for who looks again and again."""
        return self._shown.deep((await (await self._asking()).look(key)).progress)

    async def run(self, key: str, names: Sequence[str] = ()) -> views.RunView:
        """All of it but the change, the conversation and the documents. `names`: of the one who looks."""
        asking = await self._asking()
        return await self._whole(asking, key, names, await asking.look(key))

    async def run_or_card(self, key: str, names: Sequence[str] = ()) -> views.RunView | CardView:
        """As `run`; what the run's card says where no worker answers for it. Raises as `run` where it has none."""
        asking = await self._asking()
        seconds = _SHORT_PATIENCE if self._silent.get(key, 0.0) > time.monotonic() else None
        try:
            async with asyncio.timeout(seconds):
                look = await asking.look(key)
        except (ServiceUnavailable, TimeoutError) as error:
            failed = error if isinstance(error, ServiceUnavailable) else no_worker(key)
            known = await asking.last_known(key) if may_be_the_worker(failed) else None
            if known is None:
                raise failed from error
            if len(self._silent) >= _MOST_SILENT:
                self._silent.clear()
            self._silent[key] = time.monotonic() + _SILENT_SECONDS
            link = await self._temporal_page(asking, key)
            return self._shown.deep(card_view(known, str(failed), names, link))
        self._silent.pop(key, None)
        return await self._whole(asking, key, names, look)

    async def _whole(self, asking: Asking, key: str, names: Sequence[str], look: Look) -> views.RunView:
        notes: list[str] = []
        card, ticket, reviews, audit, link = await asyncio.gather(
            told(asking.card(key), "What lists show of it", notes),
            told(asking.ticket(key), "The ticket", notes),
            told(reviews_of(asking, key, self._artifacts), "The reviews", notes),
            told(asking.audit(key), "The audit trail", notes),
            self._temporal_page(asking, key),
        )
        progress = look.progress
        line = line_now(key, progress, card, names)
        view = views.RunView(
            key=key,
            line=line,
            progress=progress,
            troubles=tuple(trouble_view(trouble) for trouble in look.troubles),
            ticket=ticket,
            reviews=tuple(review_view(review) for review in reviews or ()),
            tests=progress.tests,
            audit=audit_of(audit or ()),
            costs=costs_of(progress),
            links=views.Links(
                temporal=link, pull_request=line.pull_request_url, ticket=safe_url(ticket.url) if ticket else ""
            ),
            actions=actions_of(progress.state),
            notes=tuple(notes),
        )
        return self._shown.deep(view)

    async def reviews(self, key: str) -> tuple[views.ReviewView, ...]:
        """By panel."""
        found = await reviews_of(await self._asking(), key, self._artifacts)
        return tuple(self._shown.deep(review_view(review)) for review in found)

    async def audit(self, key: str) -> views.Audit:
        """Who decided what; `trouble` where the chain of its hashes is broken."""
        return self._shown.deep(audit_of(await (await self._asking()).audit(key)))

    async def trail(self, key: str) -> list[AuditEntry]:
        """The audit trail as it is kept, to be checked elsewhere: only secrets are taken out of it."""
        entries = await (await self._asking()).audit(key)
        told = (entry.model_copy(update={"detail": self._redact(entry.detail)}) for entry in entries)
        return [*told]

    async def costs(self, key: str) -> views.Costs:
        """By step."""
        return costs_of(await (await self._asking()).progress(key))

    async def diff(self, key: str) -> views.Diff:
        """The change with its findings; what can't be shown is said in it, and no error."""
        asking = await self._asking()
        progress = await asking.progress(key)
        change = progress.change
        if change is None or change.is_empty:
            return views.Diff(trouble="There is no change yet.")
        notes: list[str] = []
        reviews = await told(reviews_of(asking, key, self._artifacts), "Findings", notes)
        findings = [self._shown.deep(finding) for finding in at_lines(reviews or ())]
        try:
            clone = self._workspaces().clones.of(change.repository.url)
            found = await read_diff(clone, change, findings, self._redact)
        except (RepositoryInvalid, GuardRailViolation, WorldError) as error:
            trouble = self._shown.words(f"The change can't be read here: {error}")
            return views.Diff(base_sha=change.base_sha, head_sha=change.head_sha, trouble=trouble)
        return found.model_copy(update={"left_out": " ".join(filter(None, (found.left_out, *notes)))})

    async def conversation(self, key: str) -> views.Conversation:
        """What the engine was told, said and did, the last work loop first."""
        asking = await self._asking()
        return await conversation_of(asking, await self._histories(asking, key), self._shown)

    async def logs(self, key: str) -> views.Documents:
        """What the run has written, the first first."""
        asking = await self._asking()
        found, notes = await documents_of(asking, await self._histories(asking, key))
        return self._shown.deep(views.Documents(items=tuple(found), notes=tuple(notes)))

    async def log(self, key: str, sha256: str) -> views.DocumentText:
        """A document of this run, and of no other. Raises RunNotFound where it has none of that name."""
        known = next((one for one in (await self.logs(key)).items if one.sha256 == sha256), None)
        if known is None:
            raise RunNotFound(f"The run for {key} has written no such document.")
        about = known.model_dump(include={"sha256", "name", "size", "media_type"})
        if known.size > _READ_BYTES:
            left_out = f"[It is too large to be shown here: {known.size:,} bytes.]"
            return views.DocumentText(**about, text=left_out, cut=known.size)
        ref = ArtifactRef(sha256=sha256, size=known.size, name=known.name)
        content = await self._artifacts.text(ref)
        text, cut = await asyncio.to_thread(self._shown.part, content, _SHOWN_CHARS)
        return views.DocumentText(**about, text=text, cut=cut)

    # --- what people do -------------------------------------------------------------------------

    async def decide(self, key: str, identity: Identity, asked: views.Decide) -> views.Receipt:
        """Raises Conflict for a decision that does not count, with the run's reason."""
        person, says = self.person(identity), identity.also_called
        return await self._done(deciding.decide(await self._asking(), key, person, says, asked))

    async def attend(self, key: str, identity: Identity, asked: views.Attend) -> views.Receipt:
        """Raises Conflict for an answer that does not count, with the run's reason."""
        return await self._done(deciding.attend(await self._asking(), key, self.person(identity), asked))

    async def steer(self, key: str, identity: Identity, asked: views.Steer) -> views.Receipt:
        """Raises Conflict where the run refuses it or is over."""
        return await self._done(deciding.steer(await self._asking(), key, self.person(identity), asked))

    async def _done(self, work: Awaitable[views.Receipt]) -> views.Receipt:
        try:
            return self._shown.deep(await work)
        finally:
            self._waiting.forget()
            self._counts.forget()  # whoever decides looks at the inbox next

    # --- what it works with -----------------------------------------------------------------------

    async def _asking(self) -> Asking:
        try:
            client = await self._connection.client(CONNECT_WITHIN)
        except TimeoutError as error:
            said = f"Temporal was not reached within {CONNECT_WITHIN:g} s; it is tried again."
            raise ServiceUnavailable(said) from error
        except UsageError as error:  # for whoever asks by the web it is no fault of theirs
            raise ServiceUnavailable(str(error)) from error
        if self._known is None or self._known.client is not client:
            self._known = Asking(client, self._connection, task_queue=task_queue(self._settings))
        return self._known

    async def _histories(self, asking: Asking, key: str) -> list[Past]:
        asking.check(key)
        return await self._pasts.get(key, lambda: asking.pasts(key))

    async def _temporal_page(self, asking: Asking, key: str) -> str:
        root = self._settings.temporal.ui_url.rstrip("/")
        if not root:
            record = await asyncio.to_thread(running_server, self._settings)
            root = record.ui_url if record is not None else ""
        if not root:
            return ""
        run, _ = await asking.status(key)
        return safe_url(f"{root}/namespaces/{asking.namespace}/workflows/{workflow_id(key)}/{run}")

    def _workspaces(self) -> Workspaces:
        if self._given_workspaces is None:
            from sdlc.runtime.services import build_workspaces

            self._given_workspaces = build_workspaces(self._settings)
        return self._given_workspaces
