"""The embedded tracker: tickets that people and runs edit side by side."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.domain import RunIdentity, TicketStatus
from sdlc.errors import TicketInvalid, TicketNotFound, TicketTaken
from sdlc.integrations import comment_file, ticket_file
from sdlc.integrations.local_tracker import LocalTracker
from sdlc.integrations.notify import LocalNotifier
from sdlc.integrations.ports import Notice

RUN = RunIdentity(workflow_id="sdlc-BUG-1", run_id="run-1", ticket_key="BUG-1", link="http://localhost:8233/run")
OTHER = RunIdentity(workflow_id="sdlc-other", run_id="run-9", ticket_key="BUG-1")

TICKET = """\
---
# written by hand
title: 'Rounds half a cent down'
component: money   # nobody's business
labels: [bug, ai-ready]
priority: High
reviewers:
  - maria
---

`round_half_up(0.125)` gives 0.12.

## Acceptance criteria

- [ ] 0.125 becomes 0.13
- [x] negative amounts are mirrored,
  also -0.125
1. nothing else changes

## Notes

See the ledger.
"""


@pytest.fixture
def tracker(tmp_path: Path) -> LocalTracker:
    folder = tmp_path / "tickets"
    folder.mkdir()
    (folder / "BUG-1.md").write_text(TICKET)
    return LocalTracker(folder)


def text(tracker: LocalTracker, key: str = "BUG-1") -> str:
    return (tracker.folder / f"{key}.md").read_text()


def comments(tracker: LocalTracker, key: str = "BUG-1") -> str:
    return (tracker.folder / f"{key}.comments.md").read_text()


# --- reading ---------------------------------------------------------------------------------


async def test_a_ticket_is_read_with_its_criteria_and_without_them_in_the_description(tracker: LocalTracker) -> None:
    ticket = await tracker.ticket("BUG-1")

    assert ticket.title == "Rounds half a cent down"
    assert ticket.acceptance_criteria == (
        "0.125 becomes 0.13",
        "negative amounts are mirrored, also -0.125",
        "nothing else changes",
    )
    assert "gives 0.12" in ticket.description
    assert "See the ledger" in ticket.description
    assert "Acceptance" not in ticket.description
    assert ticket.labels == ("bug", "ai-ready")
    assert ticket.status == "To Do"
    assert ticket.url.endswith("/BUG-1.md")


async def test_the_first_heading_is_the_title_where_the_front_matter_has_none(tracker: LocalTracker) -> None:
    (tracker.folder / "A.md").write_text("\ufeff```\n# not this\n```\n# This one #\n\nText\n", encoding="utf-8")

    ticket = await tracker.ticket("A")

    assert ticket.title == "This one"
    assert "This one" not in ticket.description
    assert "# not this" in ticket.description


async def test_prose_under_the_criteria_stays_in_the_description(tracker: LocalTracker) -> None:
    (tracker.folder / "A.md").write_text("# T\n\n## Acceptance Criteria:\n\nMind the ledger.\n\n- one\n")

    ticket = await tracker.ticket("A")

    assert ticket.acceptance_criteria == ("one",)
    assert "Mind the ledger." in ticket.description


async def test_a_description_of_a_megabyte_is_capped_and_said_to_be(tracker: LocalTracker) -> None:
    (tracker.folder / "A.md").write_text("# T\n\n" + "word " * 200_000)

    ticket = await tracker.ticket("A")

    assert len(ticket.description) == 32_000
    assert ticket.truncated


async def test_the_revision_changes_with_the_text_and_not_with_the_status(tracker: LocalTracker) -> None:
    before = (await tracker.ticket("BUG-1")).revision
    await tracker.move("BUG-1", TicketStatus.IN_REVIEW, run=RUN)
    moved = (await tracker.ticket("BUG-1")).revision
    (tracker.folder / "BUG-1.md").write_text(text(tracker).replace("0.13", "0.14"))
    edited = (await tracker.ticket("BUG-1")).revision

    assert before == moved != edited


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("# Größe".encode("latin-1"), "not UTF-8"),
        (b"just text, no title", "no title"),
        (b"---\ntitle: Fix: this\n---\n", "line 2"),
        (b"---\ntitle: x\nno end", "no end"),
        (b"---\n- a\n- b\n---\n# T\n", "`key: value`"),
        (b"---\ntitle: [a, b]\n---\n", "not a text"),
        (b"---\na: &a [x]\nb: [*a, *a]\n---\n# T\n", "alias"),
        (b"---\na: " + b"[" * 5000 + b"\n---\n# T\n", "YAML"),
        (b"# T\0\n", "NUL"),
    ],
)
async def test_a_file_that_is_no_ticket_is_refused_with_place_and_mend(
    tracker: LocalTracker, tmp_path: Path, content: bytes, says: str
) -> None:
    file = tmp_path / "broken.md"
    file.write_bytes(content)

    with pytest.raises(TicketInvalid) as raised:
        await tracker.import_ticket(file)

    assert says in str(raised.value)
    assert str(file) in str(raised.value)
    assert str(raised.value).endswith(".")


async def test_a_file_that_is_missing_or_a_folder_is_refused(tracker: LocalTracker, tmp_path: Path) -> None:
    with pytest.raises(TicketInvalid, match="There is no ticket file"):
        await tracker.import_ticket(tmp_path / "none.md")
    with pytest.raises(TicketInvalid, match="is a folder"):
        await tracker.import_ticket(tmp_path)


@pytest.mark.parametrize("key", ["NONE-1", "../BUG-1", "", "a/b", "BUG-1.comments"])
async def test_an_unknown_key_is_not_found(tracker: LocalTracker, key: str) -> None:
    with pytest.raises(TicketNotFound):
        await tracker.ticket(key)


async def test_a_ticket_is_found_by_the_key_in_its_front_matter(tracker: LocalTracker) -> None:
    (tracker.folder / "some-name.md").write_text("---\nkey: ABC-7\n---\n# T\n")

    assert (await tracker.ticket("ABC-7")).title == "T"
    with pytest.raises(TicketNotFound):
        await tracker.ticket("some-name")


async def test_the_next_ticket_is_ready_free_and_the_most_urgent(tracker: LocalTracker) -> None:
    def put(key: str, front: str) -> None:
        (tracker.folder / f"{key}.md").write_text(f"---\n{front}\n---\n# T\n")

    put("BUG-10", "labels: ai-ready\npriority: highest")
    put("BUG-9", "labels: [ai-ready]\npriority: Highest")
    put("BUG-2", "labels: [ai-ready]\npriority: Highest\nassignee: maria")
    put("BUG-3", "labels: [ai-ready]\npriority: Highest\nstatus: done")
    put("BUG-4", "priority: Highest")
    put("BUG-5", "labels: [")

    assert await tracker.next_key() == "BUG-9"
    await tracker.claim("BUG-9", claimant="sdlc-bot", run=OTHER)
    assert await tracker.next_key() == "BUG-10"
    await tracker.claim("BUG-10", claimant="sdlc-bot", run=OTHER)
    assert await tracker.next_key() == "BUG-1"
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    assert await tracker.next_key() is None


# --- claims ----------------------------------------------------------------------------------


async def test_a_claim_assigns_moves_and_comments_and_keeps_a_persons_hand(tracker: LocalTracker) -> None:
    ticket = await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)

    assert (ticket.status, ticket.assignee) == ("In Progress", "sdlc-bot")
    written = text(tracker)
    for line in TICKET.splitlines():
        assert line in written.splitlines()
    assert RUN.link in comments(tracker)


async def test_a_claim_repeated_by_the_same_run_changes_nothing_more(tracker: LocalTracker) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    first = (text(tracker), comments(tracker))
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)

    assert (text(tracker), comments(tracker)) == first


async def test_a_claim_broken_off_before_its_comment_is_completed_by_the_next_try(tracker: LocalTracker) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    (tracker.folder / "BUG-1.comments.md").unlink()
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)

    assert comments(tracker).count("Taken up") == 1


async def test_a_ticket_of_another_run_or_person_is_not_taken(tracker: LocalTracker) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=OTHER)
    with pytest.raises(TicketTaken, match="sdlc-other"):
        await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    (tracker.folder / "A.md").write_text("---\nassignee: maria\n---\n# T\n")
    with pytest.raises(TicketTaken, match="maria"):
        await tracker.claim("A", claimant="sdlc-bot", run=RUN)
    (tracker.folder / "B.md").write_text("---\nstatus: Done\n---\n# T\n")
    with pytest.raises(TicketTaken, match="Done"):
        await tracker.claim("B", claimant="sdlc-bot", run=RUN)


CLAIM = """
import asyncio, sys
from pathlib import Path
from sdlc.domain import RunIdentity
from sdlc.errors import TicketTaken
from sdlc.integrations.local_tracker import LocalTracker
run = RunIdentity(workflow_id=sys.argv[2], run_id="r", ticket_key="BUG-1")
print("ready", flush=True)
sys.stdin.readline()
try:
    asyncio.run(LocalTracker(Path(sys.argv[1])).claim("BUG-1", claimant="sdlc-bot", run=run))
    print("got it")
except TicketTaken as error:
    print(error)
"""


def test_of_processes_that_claim_at_once_one_has_it_and_the_others_hear_who(tracker: LocalTracker) -> None:
    claimants = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(tracker.folder), f"sdlc-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for claimant in claimants:
        assert claimant.stdout
        assert claimant.stdout.readline() == "ready\n"
    for claimant in claimants:
        assert claimant.stdin
        claimant.stdin.write("go\n")
        claimant.stdin.flush()
    answers = [claimant.communicate(timeout=30)[0].strip() for claimant in claimants]

    assert answers.count("got it") == 1
    winner = f"sdlc-{answers.index('got it')}"
    assert all(winner in answer for answer in answers if answer != "got it")
    assert f"claimed_by: {winner}/r" in text(tracker)
    assert comments(tracker).count("Taken up") == 1


async def test_a_release_gives_back_what_is_ours_once_and_nothing_else(tracker: LocalTracker) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    await tracker.release("BUG-1", run=OTHER, reason="not mine")
    assert (await tracker.ticket("BUG-1")).status == "In Progress"

    await tracker.release("BUG-1", run=RUN, reason="cancelled")
    await tracker.release("BUG-1", run=RUN, reason="cancelled")

    ticket = await tracker.ticket("BUG-1")
    assert (ticket.status, ticket.assignee) == ("To Do", "")
    assert comments(tracker).count("Given back: cancelled") == 1
    assert "claimed_by" not in text(tracker)


async def test_a_release_leaves_a_status_that_a_person_set(tracker: LocalTracker) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    (tracker.folder / "BUG-1.md").write_text(text(tracker).replace("status: In Progress", "status: Won't do"))
    await tracker.release("BUG-1", run=RUN, reason="cancelled")

    assert (await tracker.ticket("BUG-1")).status == "Won't do"


async def test_done_ends_the_claim_and_keeps_who_did_it(tracker: LocalTracker) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    await tracker.move("BUG-1", TicketStatus.DONE, run=RUN)
    await tracker.move("BUG-1", TicketStatus.DONE, run=RUN)

    ticket = await tracker.ticket("BUG-1")
    assert (ticket.status, ticket.assignee) == ("Done", "sdlc-bot")
    assert "claimed_by" not in text(tracker)


async def test_writers_at_once_lose_nothing(tracker: LocalTracker) -> None:
    await asyncio.gather(
        *(tracker.comment("BUG-1", f"word {n}", run=RUN, topic=f"t{n}") for n in range(12)),
        *(tracker.move("BUG-1", status, run=RUN) for status in (TicketStatus.IN_PROGRESS, TicketStatus.IN_REVIEW)),
    )

    assert {c.body for c in (await tracker.ticket("BUG-1")).comments} == {f"word {n}" for n in range(12)}


# --- comments --------------------------------------------------------------------------------


async def test_a_comment_on_a_topic_is_edited_in_place_among_those_of_people(tracker: LocalTracker) -> None:
    await tracker.comment("BUG-1", "first", run=RUN, topic="status")
    file = tracker.folder / "BUG-1.comments.md"
    file.write_text(file.read_text() + "\n### maria, today\n\nMind the ledger.\n")
    await tracker.comment("BUG-1", "second", run=RUN, topic="status")
    await tracker.comment("BUG-1", "theirs", run=OTHER, topic="status")

    said = (await tracker.ticket("BUG-1")).comments
    assert [(c.author, c.body) for c in said] == [
        ("sdlc-bot", "second"),
        ("maria", "Mind the ledger."),
        ("sdlc-bot", "theirs"),
    ]


@given(
    bodies=st.lists(st.text(alphabet=st.characters(codec="utf-8")) | st.sampled_from(["<!-- sdlc:end -->", "### x"])),
    author=st.text(min_size=1, max_size=20),
)
def test_whatever_stands_in_a_comment_it_stays_one_comment(bodies: list[str], author: str) -> None:
    from datetime import UTC, datetime

    made = ""
    for _ in range(2):
        for number, body in enumerate(bodies):
            now = datetime.now(UTC)
            comment = comment_file.Comment(marker="m-->", topic=f"{number}", author=author, body=body, created=now)
            made = comment_file.upsert(made, comment)

    found = comment_file.ours(made)
    assert [comment.topic for comment in found] == [str(number) for number in range(len(bodies))]
    assert all(comment.author == author for comment in found)


# --- import ----------------------------------------------------------------------------------


async def test_an_imported_file_keeps_its_name_as_key_and_is_not_touched(tracker: LocalTracker, tmp_path: Path) -> None:
    file = tmp_path / "bug.md"
    file.write_bytes(b"# A bug\r\n\r\nText\r\n")

    assert await tracker.import_ticket(file) == "bug"

    assert file.read_bytes() == b"# A bug\r\n\r\nText\r\n"
    assert (await tracker.ticket("bug")).title == "A bug"
    await tracker.claim("bug", claimant="sdlc-bot", run=RUN)
    assert b"\r\nText\r\n" in (tracker.folder / "bug.md").read_bytes()


@pytest.mark.parametrize(
    ("name", "key"),
    [("my bug (2).md", "my-bug-2"), ("2024.md", "ticket-2024"), ("バグ.md", "a-bug"), ("B-1.md", "B-1")],
)
async def test_an_odd_file_name_becomes_a_key(tracker: LocalTracker, tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / name).write_text("# A bug\n")

    assert await tracker.import_ticket(tmp_path / name) == key
    assert (await tracker.ticket(key)).key == key


async def test_a_key_that_cant_be_one_is_refused(tracker: LocalTracker, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\nkey: ../../etc\n---\n# A bug\n")

    with pytest.raises(TicketInvalid, match="key"):
        await tracker.import_ticket(tmp_path / "a.md")


async def test_an_import_replaces_a_free_ticket_and_keeps_its_text_beside_it(
    tracker: LocalTracker, tmp_path: Path
) -> None:
    (tmp_path / "BUG-1.md").write_text("# Another story\n")
    await tracker.import_ticket(tmp_path / "BUG-1.md")

    assert (await tracker.ticket("BUG-1")).title == "Another story"
    kept = list(tracker.folder.glob("BUG-1.replaced-*.md"))
    assert [file.read_text() for file in kept] == [TICKET]


async def test_an_import_leaves_a_ticket_that_a_run_has(tracker: LocalTracker, tmp_path: Path) -> None:
    await tracker.claim("BUG-1", claimant="sdlc-bot", run=RUN)
    (tmp_path / "BUG-1.md").write_text("# Another story\n")

    assert await tracker.import_ticket(tmp_path / "BUG-1.md") == "BUG-1"
    assert (await tracker.ticket("BUG-1")).title == "Rounds half a cent down"


async def test_an_import_of_a_done_ticket_opens_it_again(tracker: LocalTracker, tmp_path: Path) -> None:
    (tmp_path / "bug.md").write_text("# A bug\n")
    key = await tracker.import_ticket(tmp_path / "bug.md")
    await tracker.claim(key, claimant="sdlc-bot", run=RUN)
    await tracker.move(key, TicketStatus.DONE, run=RUN)

    await tracker.import_ticket(tmp_path / "bug.md")

    assert (await tracker.ticket(key)).status == "To Do"


async def test_a_ticket_in_the_folder_itself_is_taken_as_it_is(tracker: LocalTracker) -> None:
    assert await tracker.import_ticket(tracker.folder / "BUG-1.md") == "BUG-1"
    assert text(tracker) == TICKET


# --- front matter ----------------------------------------------------------------------------

VALUE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)


@given(
    metadata=st.dictionaries(
        st.sampled_from(["title", "status", "assignee", "x", "y z", "ü"]), VALUE | st.lists(VALUE)
    ),
    status=VALUE.map(str.strip) | st.none(),
    body=st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=60),
    flow=st.booleans(),
)
def test_an_edit_changes_its_key_and_nothing_else(
    metadata: dict[str, object], status: str | None, body: str, flow: bool
) -> None:
    import yaml

    front = yaml.safe_dump(metadata, allow_unicode=True, default_flow_style=flow)
    path = Path("T.md")
    before = f"---\n{front}---\n{body}"
    after = ticket_file.edited(before, {"status": status}, path)

    expected = {key: value for key, value in metadata.items() if key != "status"}
    expected |= {} if status is None else {"status": status}
    assert ticket_file._front_matter(after, path) == (expected, body)


# --- notices ---------------------------------------------------------------------------------


async def test_a_notice_is_told_once_also_when_many_tell_it_at_once(tmp_path: Path) -> None:
    notice = Notice(event="needs_approval", title="BUG-1 waits", body="Look", run=RUN, url="file:///x")
    await asyncio.gather(*(LocalNotifier(tmp_path).notify(notice) for _ in range(8)))
    await LocalNotifier(tmp_path).notify(notice.model_copy(update={"event": "finished"}))

    told = [json.loads(line) for line in (tmp_path / "notices.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in told] == ["needs_approval", "finished"]


async def test_a_line_that_a_crash_cut_off_does_not_swallow_the_next(tmp_path: Path) -> None:
    (tmp_path / "notices.jsonl").write_text('{"at": "20')
    await LocalNotifier(tmp_path).notify(Notice(event="e", title="t", body="b", run=RUN))

    assert json.loads((tmp_path / "notices.jsonl").read_text().splitlines()[1])["title"] == "t"
