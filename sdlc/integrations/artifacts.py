"""Documents of a run (logs, reports, briefs) in a folder, named by their content.

The same folder holds the large payloads that leave a history (`sdlc.runtime.conversion`).
A name is the SHA-256 of the bytes, so writing twice is harmless and what is read can be checked.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path

from sdlc.domain import ArtifactRef
from sdlc.errors import ArtifactMissing

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ArtifactStore:
    """A folder of documents. Safe for any number of writers and readers on one host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put(self, data: bytes | str, *, name: str, media_type: str = "text/plain") -> ArtifactRef:
        """Keep the document and return its reference; text is stored as UTF-8 (lone surrogates as escapes).

        When this returns the bytes are on the disk (fsync) in a file that only the owner reads.
        """
        content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
        digest = await asyncio.to_thread(self.write, content)
        return ArtifactRef(sha256=digest, size=len(content), media_type=media_type, name=name)

    async def get(self, ref: ArtifactRef) -> bytes:
        """The document's bytes. Raises ArtifactMissing if it is gone or not what was written."""
        return await asyncio.to_thread(self.read, ref.sha256, ref.name)

    async def text(self, ref: ArtifactRef) -> str:
        """The document as text; bytes that are not UTF-8 are shown as U+FFFD."""
        return (await self.get(ref)).decode("utf-8", "replace")

    def path(self, ref: ArtifactRef) -> Path:
        """Where the document lies; not checked for existence."""
        return self._file(ref.sha256)

    def write(self, content: bytes) -> str:
        """Blocking `put`: returns the SHA-256 in hexadecimal."""
        digest = hashlib.sha256(content).hexdigest()
        target = self._file(digest)
        if self._is_whole(target, content):
            return digest
        # The folders hold the repository's source as well: nobody else's to read.
        for folder in (self.folder, target.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp gives mode 0600 and a name of its own, so that two writers never share a file.
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return digest

    def read(self, digest: str, name: str = "") -> bytes:
        """Blocking `get` by SHA-256."""
        target = self._file(digest)
        what = f"`{name}` ({digest[:12]})" if name else digest[:12]
        try:
            content = target.read_bytes()
        except OSError as error:
            raise ArtifactMissing(
                f"Artifact {what} can't be read from {self.folder} ({error.strerror}); "
                "give this worker the folder that the run wrote to (storage.folder)."
            ) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactMissing(
                f"Artifact {what} in {self.folder} is damaged: its content does not match its name; "
                f"put {target} back from a copy, or delete it and retry the step."
            )
        return content

    def _file(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):  # a reference comes from a payload: never a way out of the folder
            raise ArtifactMissing(f"`{digest[:80]}` is not the name of an artifact.")
        return self.folder / digest[:2] / digest

    @staticmethod
    def _is_whole(target: Path, content: bytes) -> bool:
        """A file of that name with that content; a damaged one is written again."""
        try:
            return target.stat().st_size == len(content) and target.read_bytes() == content
        except OSError:
            return False


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: without it a power cut can lose the name though the bytes are there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
