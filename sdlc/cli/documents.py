"""What a run has written down: documents in the artifact folder, found by the references in its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import typer
from rich.table import Table
from rich.text import Text
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from sdlc.cli.busy import busy
from sdlc.cli.guesses import closest
from sdlc.cli.output import print_json
from sdlc.cli.patches import show_text
from sdlc.cli.view import plain, show
from sdlc.config import Settings
from sdlc.domain import ArtifactRef
from sdlc.errors import RunNotFound, ServiceUnavailable, UsageError
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.runtime.client import connect, task_queue
from sdlc.runtime.documents import references
from sdlc.runtime.runs import Runs, workflow_id

_MOST_CHILDREN = 100


@dataclass(frozen=True)
class Document:
    ref: ArtifactRef
    by: str
    """The activity that wrote it."""
    at: datetime


async def show_documents(settings: Settings, key: str, name: str, *, as_json: bool) -> None:
    """List a run's documents, or print the one of this number or name. UsageError if there is none such."""
    client = await connect(settings)
    await Runs(client, task_queue=task_queue(settings)).is_open(key)  # says whether there is such a run
    async with busy("Reading the run's history"):
        found = await documents_of(client, key)
    if not found:
        raise UsageError(f"The run for {key} has written nothing down yet; `sdlc status {key}` shows where it stands.")
    if name:
        show_text(await ArtifactStore(settings.artifacts_dir).text(_named(found, name, key).ref))
    elif as_json:
        print_json([{**one.ref.model_dump(), "by": one.by, "at": one.at.isoformat()} for one in found])
    else:
        show(_table(found))
        typer.echo(f"`sdlc logs {key} NUMBER` shows one.")


def _named(found: list[Document], name: str, key: str) -> Document:
    if name.isdigit() and 1 <= int(name) <= len(found):
        return found[int(name) - 1]
    same = [one for one in found if one.ref.name == name or one.ref.sha256 == name]
    if not same:
        meant = closest(name, [one.ref.name for one in found])
        hint = f"did you mean {meant}?" if meant else f"`sdlc logs {key}` lists those there are."
        raise UsageError(f"The run for {key} has no document {name!r}; {hint}")
    return same[-1]  # the newest


def _table(found: list[Document]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("", "at", "by", "bytes", "name"):
        table.add_column(column, justify="right" if column in ("", "bytes") else "left")
    for number, one in enumerate(found, 1):
        when = one.at.astimezone().strftime("%H:%M:%S")
        table.add_row(str(number), when, Text(plain(one.by)), f"{one.ref.size:,}", Text(plain(one.ref.name)))
    return table


async def documents_of(client: Client, key: str) -> list[Document]:
    """Each document once, in the order in which they were written; those of the run's engines as well."""
    found: dict[str, Document] = {}
    waiting, seen = [(workflow_id(key), "")], 0
    while waiting and seen < _MOST_CHILDREN:
        identity, run = waiting.pop(0)
        seen += 1
        for event, by in _with_activity(await _events(client, identity, run, key)):
            if event.HasField("child_workflow_execution_started_event_attributes"):
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                waiting.append((child.workflow_id, child.run_id))
            elif by:
                results = event.activity_task_completed_event_attributes.result.payloads
                for value in await client.data_converter.decode(results) if results else ():
                    for ref in references(value):
                        found.setdefault(ref.sha256, Document(ref, by, event.event_time.ToDatetime(UTC)))
    return sorted(found.values(), key=lambda one: one.at)


async def _events(client: Client, identity: str, run: str, key: str) -> list[HistoryEvent]:
    try:
        return list((await client.get_workflow_handle(identity, run_id=run or None).fetch_history()).events)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and run:
            return []  # a child whose history is kept no longer
        if error.status is RPCStatusCode.NOT_FOUND:
            raise RunNotFound(f"There is no run for {key}; `sdlc list` shows those there are.") from error
        raise ServiceUnavailable(
            f"Temporal does not give the history of {key} ({error.message}); try again."
        ) from error


def _with_activity(events: list[HistoryEvent]) -> Iterator[tuple[HistoryEvent, str]]:
    """Events, and for one that ends an activity its name."""
    names: dict[int, str] = {}
    for event in events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        ended = event.HasField("activity_task_completed_event_attributes")
        scheduled = event.activity_task_completed_event_attributes.scheduled_event_id if ended else 0
        yield event, names.get(scheduled, "")
