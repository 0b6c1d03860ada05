"""How a process reaches Temporal. Imports little: `sdlc status` has a second for everything."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from sdlc.errors import ConfigurationError, ServiceUnavailable, UsageError
from sdlc.runtime.conversion import data_converter
from sdlc.runtime.dev_server import SEARCH_ATTRIBUTES, namespace_of, running_server
from sdlc.runtime.quiet_runtime import quiet_runtime

if TYPE_CHECKING:
    from temporalio.client import Plugin

    from sdlc.config import Settings

_REACH_SECONDS = 3.0
_HANDSHAKE_SECONDS = 10.0
_DEFAULT_PORT = 7233

NO_SERVER = "No Temporal server is running; start one with `sdlc dev`, or set TEMPORAL_ADDRESS."


def configured_address(settings: Settings) -> str:
    """host:port of the server that somebody named, by environment, profile or configuration; empty: the embedded one.

    Raises ConfigurationError for a profile that can't be read.
    """
    return str(_profile().get("target_host") or _legacy_host() or settings.temporal.address)


def task_queue(settings: Settings) -> str:
    """`TEMPORAL_TASK_QUEUE`, else the configured one."""
    return os.environ.get("TEMPORAL_TASK_QUEUE") or settings.temporal.task_queue


async def connect(
    settings: Settings, *, address: str | None = None, plugins: Sequence[Plugin] = (), identity: str | None = None
) -> Client:
    """A client of the server that is configured, else of the embedded one that runs.

    `address` (host:port) wins over every configuration. The standard `TEMPORAL_*` variables and the
    profiles of `temporal.toml` give address, namespace, TLS and key; `TEMPORAL_HOST` is understood too.
    Raises UsageError when there is no server to be found, and within about 3 s ServiceUnavailable when
    nothing answers at the address.
    """
    profile = _profile()
    named = address or configured_address(settings)
    if not named:
        record = running_server(settings)
        if record is None:
            raise UsageError(NO_SERVER)
        profile = {"namespace": record.namespace}  # a key or TLS of a profile without an address is not for this one
        named = record.address
    options: dict[str, Any] = {"namespace": namespace_of(settings), **profile, "target_host": named}
    await _reach(named)
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            return await Client.connect(
                **options,
                data_converter=data_converter(settings),
                plugins=plugins,
                identity=identity,
                runtime=quiet_runtime(),
            )
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise ServiceUnavailable(
            f"What answers at {named} is no Temporal server that lets us in ({_short(error)}); "
            "check TEMPORAL_ADDRESS, and TEMPORAL_TLS or TEMPORAL_API_KEY if it needs them."
        ) from error


async def ensure_search_attributes(client: Client) -> bool:
    """Add our search attributes to the namespace where they are missing.

    False if the server has them under another type or does not let us: runs then go without.
    """
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest

    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            listing = ListSearchAttributesRequest(namespace=client.namespace)
            known = (await client.operator_service.list_search_attributes(listing)).custom_attributes
            if any(known.get(name, keyword) != keyword for name in SEARCH_ATTRIBUTES):
                return False
            missing = {name: keyword for name in SEARCH_ATTRIBUTES if name not in known}
            if missing:
                await client.operator_service.add_search_attributes(
                    AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
                )
    except (RPCError, TimeoutError) as error:
        logging.getLogger(__name__).warning("Search attributes can't be added: %s", _short(error))
        return False
    return True


async def ensure_retention(client: Client, days: int) -> None:
    """Let the namespace remember what is over for at least so long; one that we may not change stays as it is."""
    from google.protobuf.duration_pb2 import Duration
    from temporalio.api.namespace.v1 import NamespaceConfig
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest

    wanted = Duration(seconds=days * 86_400)
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            asked = DescribeNamespaceRequest(namespace=client.namespace)
            about = await client.workflow_service.describe_namespace(asked)
            if about.config.workflow_execution_retention_ttl.ToTimedelta() < wanted.ToTimedelta():
                config = NamespaceConfig(workflow_execution_retention_ttl=wanted)
                request = UpdateNamespaceRequest(namespace=client.namespace, config=config)
                await client.workflow_service.update_namespace(request)
    except (RPCError, TimeoutError) as error:
        logging.getLogger(__name__).warning("The retention can't be changed: %s", _short(error))


def _profile() -> dict[str, Any]:
    try:
        return dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"The Temporal profile can't be read: {_short(error)}; check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and "
            "the TEMPORAL_* variables."
        ) from error


def _legacy_host() -> str:
    host = os.environ.get("TEMPORAL_HOST", "")
    if not host:
        return ""
    has_port = host.rpartition(":")[2].isdigit() and not host.endswith("]")
    return host if has_port else f"{host}:{os.environ.get('TEMPORAL_PORT') or _DEFAULT_PORT}"


async def _reach(address: str) -> None:
    """Raises ServiceUnavailable when nothing listens there: the SDK itself would try for a long time."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError(f"`{address}` is no Temporal address; write host:port, such as localhost:7233.")
    try:
        async with asyncio.timeout(_REACH_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
    except (OSError, TimeoutError) as error:
        raise ServiceUnavailable(
            f"No Temporal server answers at {address} ({_short(error)}); start it, or correct TEMPORAL_ADDRESS."
        ) from error


def _short(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "time-out"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:300]
