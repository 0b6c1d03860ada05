"""How values become payloads: pydantic JSON, and what is large goes to the artifact folder instead of the history."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    PayloadCodec,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from sdlc.errors import PayloadMissing, WorkspaceBroken
from sdlc.integrations.artifacts import ArtifactStore

if TYPE_CHECKING:
    from sdlc.config import Settings

_DIGEST = "sha256"


class FolderStorageDriver(StorageDriver):
    """Payloads in the artifact folder, each named by the SHA-256 of its serialised bytes.

    What was encoded before it gets here (a codec runs first) lies encoded in the folder.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def name(self) -> str:
        return "folder"

    def type(self) -> str:
        return "sdlc.folder"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        return await asyncio.gather(*(self._store_one(payload) for payload in payloads))

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Raises PayloadMissing naming the folder and the setting that is likely wrong."""
        return await asyncio.gather(*(self._retrieve_one(claim) for claim in claims))

    async def _store_one(self, payload: Payload) -> StorageDriverClaim:
        # Deterministic, because the metadata is a map: the same value gets the same name.
        content = payload.SerializeToString(deterministic=True)
        return StorageDriverClaim({_DIGEST: await asyncio.to_thread(self._store.write, content)})

    async def _retrieve_one(self, claim: StorageDriverClaim) -> Payload:
        digest = claim.claim_data.get(_DIGEST, "")
        try:
            content = await asyncio.to_thread(self._store.read, digest)
        except WorkspaceBroken as error:
            raise PayloadMissing(
                f"A large payload of this run is not in {self._store.folder}; every worker and command must use the "
                f"folder that it was written to (storage.folder, or SDLC_DATA_DIR). {error}"
            ) from error
        return Payload.FromString(content)


def data_converter(settings: Settings) -> DataConverter:
    """The converter of every client and worker. All that talk to one server must use the same."""
    return DataConverter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=_codec(settings),
        external_storage=ExternalStorage(
            drivers=[FolderStorageDriver(ArtifactStore(settings.artifacts_dir))],
            payload_size_threshold=settings.storage.payload_threshold_bytes,
        ),
    )


def _codec(settings: Settings) -> PayloadCodec | None:
    """Where encryption goes: what it returns is applied before a payload is stored in folder or history."""
    return None
