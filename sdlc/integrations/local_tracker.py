"""The embedded tracker: a folder of Markdown tickets that people and runs edit side by side.

`KEY.md` is a ticket (`sdlc.integrations.ticket_file` says how it is written) and `KEY.comments.md`
its comments. A claim stands in the front matter as `claimed_by: <workflow id>/<run id>`, so that
one look tells who has it. Writers of one folder take turns by a lock, readers need none.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog

from sdlc import markdown
from sdlc.domain import RunIdentity, Ticket, TicketComment, TicketStatus
from sdlc.errors import TicketInvalid, TicketNotFound, TicketTaken
from sdlc.integrations import comment_file, local_files, ticket_file
from sdlc.integrations.ticket_file import TicketFile
from sdlc.naming import slug

READY_LABEL = "ai-ready"
"""Tickets are only taken unasked when they carry this: a folder may hold more than is meant for a run."""
MAX_COMMENTS = 32_000
"""Characters of all comments together; the newest are kept."""

_PRIORITY_WORDS = (
    "blocker highest critical p0 1",
    "high major p1 2",
    "medium normal p2 3",
    "low minor p3 4",
    "lowest trivial p4 5",
)
_PRIORITIES = {word: rank for rank, words in enumerate(_PRIORITY_WORDS) for word in words.split()}
_NO_PRIORITY = 2
_OURS = (TicketStatus.IN_PROGRESS.value, TicketStatus.IN_REVIEW.value)

log = structlog.get_logger(__name__)
T = TypeVar("T")


class LocalTracker:
    """Tickets in a folder, which is made when it is first written to."""

    def __init__(self, folder: Path, *, bot: str = "sdlc-bot") -> None:
        self.folder = folder
        self.bot = bot
        """Who signs our comments."""

    # --- reading ------------------------------------------------------------------------------

    async def next_key(self, *, besides: Collection[str] = ()) -> str | None:
        """The free To Do ticket labelled `ai-ready` that is most urgent: by priority, then by key (X-9 before X-10)."""
        return await asyncio.to_thread(self._next_key, besides)

    async def ticket(self, key: str) -> Ticket:
        """The ticket as it stands now. Raises TicketNotFound, or TicketInvalid if a person's edit broke it."""
        return await asyncio.to_thread(lambda: self._ticket(*self._found(key)))

    async def check(self) -> tuple[str, ...]:
        """Can the folder be written to?"""
        return await asyncio.to_thread(local_files.why_not_writable, self.folder)

    # --- writing ------------------------------------------------------------------------------

    async def claim(self, key: str, *, claimant: str, run: RunIdentity) -> Ticket:
        """Assign to `claimant`, In Progress, comment with the run's link; again by the same workflow is no harm.

        Raises TicketTaken naming who has it: another run, or a person it is assigned to.
        """
        return await self._locked(lambda: self._claim(key, claimant, run))

    async def release(self, key: str, *, run: RunIdentity, reason: str) -> None:
        """Give this run's claim back: unassigned, To Do (unless a person moved it elsewhere), comment with `reason`."""
        await self._locked(lambda: self._release(key, run, reason))

    async def move(self, key: str, status: TicketStatus, *, run: RunIdentity) -> None:
        """Set the status; Done ends the claim as well. Raises TicketTaken if another run has the ticket."""
        await self._locked(lambda: self._move(key, status, run))

    async def comment(self, key: str, body: str, *, run: RunIdentity, topic: str) -> None:
        """Write `body` (Markdown) as this run's comment on `topic`, or bring the one it wrote up to date."""
        await self._locked(lambda: self._comment(self._found(key)[0], body, run, topic))

    async def link(self, key: str, url: str, title: str, *, run: RunIdentity) -> None:
        """A file has no links of its own; the comments name the pull request."""

    async def import_ticket(self, path: Path) -> str:
        """Copy a ticket's file into the folder under its key, and return the key; the file itself is not changed.

        The key is that of the front matter, else the file's name, made into one that can be a key.
        A ticket of that key that no run has is replaced (its text is kept beside it); one that a run has stays.
        Raises TicketInvalid with place and mend.
        """
        return await self._locked(lambda: self._import(path))

    # --- within the lock ----------------------------------------------------------------------

    async def _locked(self, work: Callable[[], T]) -> T:
        def held() -> T:
            with local_files.locked(self.folder):
                return work()

        # Shielded: a cancelled activity waits for the write that is under way, so none comes after its end.
        writing = asyncio.ensure_future(asyncio.to_thread(held))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    def _claim(self, key: str, claimant: str, run: RunIdentity) -> Ticket:
        path, text, ticket = self._found(key)
        if ticket.claimed_by and _workflow(ticket.claimed_by) != run.workflow_id:
            raise TicketTaken(
                f"{key} is claimed by the run {_workflow(ticket.claimed_by)}; wait for it to end, or cancel it."
            )
        if not ticket.claimed_by:
            self._refuse_if_a_person_has_it(key, path, ticket, claimant)
        if ticket.claimed_by != _holder(run):
            status = TicketStatus.IN_PROGRESS.value
            text = self._write(path, text, status=status, assignee=claimant, claimed_by=_holder(run))
        self._comment(path, f"Taken up by the run {markdown.link(run.workflow_id, run.link)}.", run, "claim")
        return self._ticket(path, text, ticket_file.parse(text, path))

    @staticmethod
    def _refuse_if_a_person_has_it(key: str, path: Path, ticket: TicketFile, claimant: str) -> None:
        if ticket.status == TicketStatus.DONE:
            raise TicketTaken(f"{key} is {ticket.status}; set `status: To Do` in {path} if it is to be done again.")
        if ticket.assignee and ticket.assignee != claimant:
            raise TicketTaken(f"{key} is assigned to {ticket.assignee}; take `assignee` out of {path} to give it away.")

    def _release(self, key: str, run: RunIdentity, reason: str) -> None:
        path, text, ticket = self._found(key)
        if ticket.claimed_by != _holder(run):
            return
        # The comment first: as long as the claim stands, a try that broke off here is repeated.
        self._comment(path, f"Given back: {markdown.inline(reason, 2_000)}", run, "release")
        status = TicketStatus.TODO.value if ticket.status in _OURS else ticket.status
        self._write(path, text, status=status, assignee=None, claimed_by=None)

    def _move(self, key: str, status: TicketStatus, run: RunIdentity) -> None:
        path, text, ticket = self._found(key)
        if ticket.claimed_by and _workflow(ticket.claimed_by) != run.workflow_id:
            raise TicketTaken(f"{key} is claimed by the run {_workflow(ticket.claimed_by)} now; it was left as it is.")
        if status is TicketStatus.DONE:
            self._write(path, text, status=status.value, claimed_by=None)
        elif ticket.status != status:
            self._write(path, text, status=status.value)

    def _comment(self, path: Path, body: str, run: RunIdentity, topic: str) -> None:
        file = _comments_of(path)
        before = file.read_text("utf-8", "replace") if file.exists() else f"# Comments on {path.stem}\n"
        comment = comment_file.Comment(
            marker=run.marker, topic=topic, author=self.bot, body=body, created=datetime.now(UTC)
        )
        after = comment_file.upsert(before, comment)
        if after != before:
            local_files.write_whole(file, after)

    def _import(self, path: Path) -> str:
        text = ticket_file.read(path)
        ticket = ticket_file.parse(text, path)
        key = _key_for(path, ticket)
        if path.resolve().parent == self.folder.resolve():
            return key
        target = self.folder / f"{key}.md"
        try:
            target, old_text, old = self._found(key)
            if old.claimed_by:
                return key
            if old.revision != ticket.revision:
                _keep_aside(target, old_text.encode())
        except TicketNotFound:
            pass
        except TicketInvalid:  # what lies there is no ticket any more, and is about to be one again
            _keep_aside(target, target.read_bytes())
        status = None if ticket.status == TicketStatus.TODO else ticket.status
        local_files.write_whole(
            target, ticket_file.edited(text, {"key": key, "status": status, "claimed_by": None}, path)
        )
        return key

    def _write(self, path: Path, text: str, **changes: str | None) -> str:
        after = ticket_file.edited(text, dict(changes), path)
        if after != text:
            local_files.write_whole(path, after)
        return after

    # --- finding ------------------------------------------------------------------------------

    def _found(self, key: str) -> tuple[Path, str, TicketFile]:
        """The file whose key this is: `KEY.md`, or any whose front matter says so."""
        if not ticket_file.KEY.fullmatch(key):
            raise TicketNotFound(f"`{key[:80]}` can't be the key of a ticket; use letters, digits, `-` and `_`.")
        named = self.folder / f"{key}.md"
        others = sorted(path for path in self._files() if path != named)
        for path in [named, *others] if named.is_file() else others:
            try:
                text = ticket_file.read(path)
                ticket = ticket_file.parse(text, path)
            except TicketInvalid:
                if path == named:
                    raise
                continue
            if (ticket.key or path.stem) == key:
                return path, text, ticket
        known = ", ".join(sorted(path.stem for path in self._files())[:10])
        there = f"there are {known}" if known else "the folder has no tickets"
        raise TicketNotFound(f"There is no ticket {key} in {self.folder} ({there}); put it there as {key}.md.")

    def _files(self) -> Iterator[Path]:
        """Ticket files; `KEY.comments.md` and the like have a dot in their stem, which no key has."""
        return (path for path in self.folder.glob("*.md") if ticket_file.KEY.fullmatch(path.stem) and path.is_file())

    def _next_key(self, besides: Collection[str]) -> str | None:
        ready: list[tuple[int, tuple[str | int, ...], str]] = []
        for path in self._files():
            try:
                ticket = ticket_file.parse(ticket_file.read(path), path)
            except TicketInvalid as error:
                log.warning("ticket_skipped", reason=str(error))
                continue
            free = ticket.status == TicketStatus.TODO and not ticket.claimed_by
            if free and ticket.assignee in ("", self.bot) and READY_LABEL in ticket.labels:
                key = ticket.key or path.stem
                if key in besides:
                    continue
                ready.append((_PRIORITIES.get(ticket.priority.casefold(), _NO_PRIORITY), _natural(key), key))
        return min(ready)[2] if ready else None

    def _ticket(self, path: Path, text: str, ticket: TicketFile) -> Ticket:
        return Ticket(
            key=ticket.key or path.stem,
            title=ticket.title,
            description=ticket.description,
            acceptance_criteria=ticket.criteria,
            status=ticket.status,
            assignee=ticket.assignee,
            labels=ticket.labels,
            comments=self._comments(path),
            url=path.resolve().as_uri(),
            revision=ticket.revision,
            truncated=ticket.truncated,
        )

    def _comments(self, path: Path) -> tuple[TicketComment, ...]:
        """What was said, the oldest first; ours too, which tell of earlier runs."""
        file = _comments_of(path)
        if not file.exists():
            return ()
        kept: list[TicketComment] = []
        room = MAX_COMMENTS
        for comment in reversed(comment_file.every(file.read_text("utf-8", "replace"))):
            room -= len(comment.body)
            if room < 0:
                break
            kept.append(comment)
        return tuple(reversed(kept))


def _holder(run: RunIdentity) -> str:
    return f"{run.workflow_id}/{run.run_id}"


def _workflow(holder: str) -> str:
    return holder.rpartition("/")[0] or holder


def _comments_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.comments.md")


def _keep_aside(path: Path, content: bytes) -> None:
    """Nothing that a person may have written is lost by an import."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    local_files.write_whole(path.with_name(f"{path.stem}.replaced-{digest}.md"), content)


def _natural(key: str) -> tuple[str | int, ...]:
    """Sorts X-9 before X-10; text and numbers alternate, so that they are never compared with each other."""
    return tuple(int(part) if part.isdigit() else part.casefold() for part in re.split(r"(\d+)", key))


def _key_for(path: Path, ticket: TicketFile) -> str:
    if ticket.key:
        if ticket_file.KEY.fullmatch(ticket.key):
            return ticket.key
        raise TicketInvalid(
            f"{path}: the key `{ticket.key[:80]}` can't be used; "
            "begin it with a letter, go on with letters, digits, `-` and `_` (64 at most)."
        )
    if ticket_file.KEY.fullmatch(path.stem):
        return path.stem
    made = slug(path.stem, 48) or slug(ticket.title, 48)
    if not made:  # a name of no letters that we can write, such as one in Japanese
        return f"ticket-{hashlib.sha256(ticket.title.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return made if made[0].isalpha() else f"ticket-{made}"
