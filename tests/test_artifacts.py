from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from sdlc.domain import ArtifactRef
from sdlc.errors import NON_RETRYABLE, ArtifactMissing
from sdlc.integrations.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


async def test_what_is_put_can_be_got_and_is_named_by_its_content(store: ArtifactStore) -> None:
    ref = await store.put("two lines\nof a log\n", name="unit-tests.log")
    assert (ref.size, ref.name, ref.media_type) == (19, "unit-tests.log", "text/plain")
    assert await store.get(ref) == b"two lines\nof a log\n"
    assert await store.text(ref) == "two lines\nof a log\n"
    assert store.path(ref).name == ref.sha256


async def test_the_same_content_has_the_same_reference_under_any_name(store: ArtifactStore) -> None:
    first, second = await store.put(b"same", name="a"), await store.put(b"same", name="b")
    assert first.sha256 == second.sha256
    assert [file for file in store.folder.rglob("*") if file.is_file()] == [store.path(first)]


async def test_only_the_owner_can_read_documents(store: ArtifactStore) -> None:
    path = store.path(await store.put("secret plans", name="plan"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (store.folder, path.parent)} == {0o700}


async def test_many_writers_of_the_same_content_leave_one_whole_file(store: ArtifactStore) -> None:
    refs = await asyncio.gather(*(store.put(b"x" * 200_000, name="big") for _ in range(20)))
    assert len({ref.sha256 for ref in refs}) == 1
    assert await store.get(refs[0]) == b"x" * 200_000
    assert [file.name for file in store.folder.rglob("*") if file.is_file()] == [refs[0].sha256]


async def test_a_missing_document_is_named_with_its_folder_and_retried(store: ArtifactStore) -> None:
    ref = await store.put("here", name="brief.md")
    store.path(ref).unlink()
    with pytest.raises(ArtifactMissing, match=r"brief\.md.*storage\.folder") as caught:
        await store.get(ref)
    assert str(store.folder) in str(caught.value)
    assert "ArtifactMissing" not in NON_RETRYABLE


async def test_a_damaged_document_is_not_taken_for_the_real_one_and_can_be_written_again(store: ArtifactStore) -> None:
    ref = await store.put("whole", name="report.json")
    store.path(ref).write_text("wh0le")
    with pytest.raises(ArtifactMissing, match="damaged"):
        await store.get(ref)
    await store.put("whole", name="report.json")
    assert await store.text(ref) == "whole"


async def test_a_reference_never_leads_out_of_the_folder(store: ArtifactStore) -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "", "A" * 64, "0" * 63):
        with pytest.raises(ArtifactMissing, match="not the name"):
            await store.get(ArtifactRef(sha256=name, size=1))


async def test_text_that_is_not_utf8_or_holds_lone_surrogates_is_kept_readable(store: ArtifactStore) -> None:
    assert await store.text(await store.put(b"caf\xe9", name="latin")) == "caf\ufffd"
    assert await store.text(await store.put("half \ud83d", name="model")) == "half \\ud83d"


async def test_an_interrupted_write_leaves_no_file_behind(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            await store.put("never", name="x")
    assert [file for file in store.folder.rglob("*") if file.is_file()] == []
