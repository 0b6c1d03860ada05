"""What `sdlc doctor` looks at in Temporal: reachable, ready for our runs, served by a worker, polled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sdlc.naming import counted

if TYPE_CHECKING:
    from temporalio.client import Client

    from sdlc.config import Settings

WORKER_SEEN = timedelta(minutes=2)
"""A worker asks for work once a minute; Temporal names those of the last five."""
LEAST_RETENTION = timedelta(days=2)
"""Commands are looked for over 24 hours, and a delivery may be sent again by hand a day later."""

State = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    state: State
    found: str
    mend: str = ""
    """What to do; empty where nothing is to be done."""


async def temporal_checks(settings: Settings) -> list[Check]:
    """Is the server there, ready for our runs, and does somebody work for it?"""
    from temporalio.service import RPCError, RPCStatusCode

    from sdlc.runtime.client import configured_address, connect
    from sdlc.runtime.dev_server import running_server
    from sdlc.runtime.server_binary import find_server_binary

    if not configured_address(settings) and running_server(settings) is None:
        first = "" if find_server_binary(settings.cache_dir) else " (it is fetched first)"
        mend = f"`sdlc run` and `sdlc dev` start the embedded one{first}; for another set TEMPORAL_ADDRESS."
        return [Check("temporal", "warning", "No Temporal server is running.", mend)]
    client = await connect(settings)
    where = f"{client.service_client.config.target_host}, namespace {client.namespace}"
    try:
        return [
            Check("temporal", "ok", f"Temporal answers at {where}."),
            await _search_attributes(client),
            await _worker(client, settings),
            *await _retention(client, settings),
            *await _polling(client, settings),
        ]
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            mend = "Create the namespace, or correct TEMPORAL_NAMESPACE or temporal.namespace."
            return [Check("temporal", "fault", f"Temporal at {where}: there is no such namespace.", mend)]
        mend = "Check TEMPORAL_API_KEY, TEMPORAL_TLS… and the rights of our account there."
        return [Check("temporal", "fault", f"Temporal at {where} refuses us: {str(error)[:200]}.", mend)]


async def _search_attributes(client: Client) -> Check:
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.service import RPCError, RPCStatusCode

    from sdlc.runtime.dev_server import SEARCH_ATTRIBUTES

    name, keyword = "search attributes", IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    try:
        listing = ListSearchAttributesRequest(namespace=client.namespace)
        known = (await client.operator_service.list_search_attributes(listing)).custom_attributes
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise
        mend = f"See in its UI that there are, of type Keyword: {', '.join(SEARCH_ATTRIBUTES)}."
        return Check(name, "warning", "Temporal does not tell us its search attributes.", mend)
    if wrong := [one for one in SEARCH_ATTRIBUTES if known.get(one, keyword) != keyword]:
        mend = "Remove them there, and let a worker add them."
        return Check(name, "warning", f"Not of type Keyword, so runs go without: {', '.join(wrong)}.", mend)
    if missing := [one for one in SEARCH_ATTRIBUTES if one not in known]:
        mend = "`sdlc setup` adds them, or `temporal operator search-attribute create`, with the right to."
        return Check(name, "warning", f"Temporal has no search attributes {', '.join(missing)}.", mend)
    return Check(name, "ok", f"All {len(SEARCH_ATTRIBUTES)} search attributes are there.")


async def _worker(client: Client, settings: Settings) -> Check:
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

    from sdlc.runtime.client import task_queue

    queue = task_queue(settings)
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    pollers = (await client.workflow_service.describe_task_queue(request)).pollers
    since = datetime.now(UTC) - WORKER_SEEN
    live = {poller.identity for poller in pollers if poller.last_access_time.ToDatetime(UTC) >= since}
    if not live:
        mend = "Start one with `sdlc worker`; `sdlc run` and `sdlc dev` bring their own."
        return Check("worker", "warning", f"No worker asks for work on the task queue {queue}.", mend)
    asks = "asks" if len(live) == 1 else "ask"
    return Check("worker", "ok", f"{counted(len(live), 'worker')} {asks} for work on {queue}.")


async def _retention(client: Client, settings: Settings) -> list[Check]:
    """What Temporal forgets, a late redelivery does a second time."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

    if settings.tracker.kind == "local" and settings.forge.kind == "local":
        return []
    about = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept = about.config.workflow_execution_retention_ttl.ToTimedelta()
    days = f"{kept.total_seconds() / 86_400:g} days"
    if kept < LEAST_RETENTION:
        mend = f"`temporal operator namespace update --retention 72h --namespace {client.namespace}`."
        said = f"Temporal forgets runs and deliveries after {days}; one that is repeated later is taken for new."
        return [Check("retention", "warning", said, mend)]
    return [Check("retention", "ok", f"Temporal remembers runs and deliveries for {days}.")]


async def _polling(client: Client, settings: Settings) -> list[Check]:
    """Whatever webhooks miss is found by the schedule, if it runs."""
    from temporalio.service import RPCError, RPCStatusCode

    from sdlc.deliveries import POLL_SCHEDULE

    if settings.tracker.kind == "local" and settings.forge.kind == "local":
        return []
    try:
        schedule = (await client.get_schedule_handle(POLL_SCHEDULE).describe()).schedule
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        mend = "`sdlc serve --poll` makes it."
        return [Check("polling", "warning", "Nothing polls: what webhooks miss, and tickets that wait, stay.", mend)]
    if schedule.state.paused:
        mend = f"`temporal schedule toggle --unpause --schedule-id {POLL_SCHEDULE} --reason …`."
        return [Check("polling", "warning", f"The schedule {POLL_SCHEDULE} is paused.", mend)]
    return [Check("polling", "ok", f"The schedule {POLL_SCHEDULE} polls.")]
