"""Commands about runs, against real runs on a real server: what they show, say and refuse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from sdlc.cli import busy as busy_module
from sdlc.config import Settings
from sdlc.domain import ApprovalPolicy, ChangeSet, Repository, RunRequest, RunState, Ticket, Usage
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.progress import RunProgress
from sdlc.runtime.client import connect, ensure_search_attributes
from sdlc.runtime.dev_server import ServerRecord
from sdlc.runtime.graphs import Graphs
from sdlc.runtime.runs import Runs
from sdlc.runtime.worker import workflow_runner
from sdlc.work_loop import WorkLoopWorkflow
from sdlc.workflow import SdlcWorkflow
from tests.commands import Done, at_terminal, running, sdlc
from tests.doors import Door, a_door
from tests.repositories import git, new_bare, new_checkout
from tests.stage import Script, Stage, quick_policy

T = TypeVar("T")
ESCAPE = "\x1b[31mred\x1b[0m \u202eevil"


@dataclass
class House:
    """A stage in a thread of its own, so that commands run in this one as people run them."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    client: Client
    holder: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    stages: dict[str, Stage] = field(default_factory=dict)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    @property
    def runs(self) -> Runs:
        return Runs(self.client, task_queue=self.settings.temporal.task_queue)

    def begin(self, script: Script | None = None, *, key: str = "", attributes: bool = True, **policy: Any) -> str:
        """Start a run; its key."""
        key = key or f"CLI{uuid.uuid4().hex[:8].upper()}-1"
        policy.setdefault("approval", ApprovalPolicy(allow_starter=True))
        request = RunRequest(
            ticket_key=key,
            repository="/src/parcel",
            starter="ada",
            policy=quick_policy(**policy),
            search_attributes=attributes,
        )

        async def start() -> None:
            stage = self.stages[key] = Stage(script or Script(ticket=lambda _: a_ticket(key)))
            queue = f"stage-{uuid.uuid4().hex[:8]}"
            worker = Worker(
                self.client,
                task_queue=queue,
                workflows=[SdlcWorkflow, WorkLoopWorkflow],
                activities=stage.activities(),
                plugins=[Graphs(stage.graphs())],
                workflow_runner=workflow_runner(),
            )
            await self.holder.enter_async_context(worker)
            await Runs(self.client, task_queue=queue).start(request)

        self.do(start())
        return key

    def until(self, key: str, wanted: Callable[[RunProgress], bool] | RunState, seconds: float = 30) -> RunProgress:
        fits = wanted if callable(wanted) else lambda progress: progress.state is wanted
        end = time.monotonic() + seconds
        while True:
            progress = self.do(self.runs.progress(key))
            if fits(progress):
                return progress
            assert time.monotonic() < end, progress
            time.sleep(0.05)

    def waiting(self, **more: Any) -> str:
        """A run that waits for an approval."""
        key = self.begin(**more)
        self.until(key, RunState.AWAITING_APPROVAL)
        return key

    def until_listed(self, key: str, *arguments: str) -> Done:
        """Temporal's index is a moment behind."""
        end = time.monotonic() + 20
        while key not in (done := sdlc("list", *arguments)).out:
            assert time.monotonic() < end, done
            time.sleep(0.1)
        return done


def a_ticket(key: str, **more: Any) -> Ticket:
    fields = {"description": "The sum is 0.31.", "acceptance_criteria": ("It is 0.30",), "revision": "r1", **more}
    return Ticket(key=key, title="Rounding", **fields)


@pytest.fixture
def house(tmp_path: Path, dev_server: ServerRecord, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    queue = f"cli-{uuid.uuid4().hex[:12]}"
    settings = Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")
    settings.temporal.address, settings.temporal.task_queue = dev_server.address, queue
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "SDLC_DATA_DIR": tmp_path / "data",
        "SDLC_CACHE_DIR": tmp_path / "cache",
        "TEMPORAL_ADDRESS": dev_server.address,
        "TEMPORAL_TASK_QUEUE": queue,
        "PAGER": "cat",
    }.items():
        monkeypatch.setenv(name, str(value))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    client = asyncio.run_coroutine_threadsafe(connect(settings), loop).result(30)
    made = House(settings, loop, client)
    made.do(ensure_search_attributes(client))
    yield made
    made.do(ended(made))
    made.do(made.holder.aclose())
    # What the worker had in memory goes while its loop is there; later, Python would print what generators say to that.
    loop.call_soon_threadsafe(gc.collect)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


async def ended(house: House) -> None:
    for key in house.stages:
        with contextlib.suppress(Exception):
            await house.client.get_workflow_handle(f"sdlc-{key}").terminate()


def refused(done: Done, *words: str, code: int = 2) -> str:
    assert done.code == code, done
    assert done.out == ""
    assert done.last.startswith("sdlc: "), done.err
    for word in words:
        assert word in done.last, done.last
    return done.last


def good(done: Done) -> Done:
    assert done.code == 0, done
    return done


# --- looking ----------------------------------------------------------------------------------


def test_the_list_is_filtered_by_state_repository_person_and_waiting(house: House) -> None:
    mine = house.waiting(approval=ApprovalPolicy(allow_starter=True, approvers=("grace",)))
    stuck = house.begin(Script(raises=lambda name, _: _never() if name == "open_repository" else None))
    house.until(stuck, RunState.NEEDS_ATTENTION)
    house.until_listed(mine, "--state", "awaiting-approval")
    house.until_listed(stuck, "--state", "needs_attention")

    def keys(*arguments: str) -> set[str]:
        return {row["ticket_key"] for row in good(sdlc("list", "--json", *arguments)).json} & {mine, stuck}

    assert keys("--state", "Awaiting Approval") == {mine}
    assert keys("--person", "Grace") == {mine}
    assert keys("--person", "ada") == {mine, stuck}
    assert keys("--person", "nobody") == set()
    assert keys("--repo", "parcel") == {mine}
    assert keys("--waiting") == {mine, stuck}
    house.do(house.client.get_workflow_handle(f"sdlc-{stuck}").terminate())
    end = time.monotonic() + 20
    while stuck in keys("--waiting"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert keys("--state", "needs_attention") == set()  # its index says so, and it is no longer true
    assert "No run is like that" in good(sdlc("list", "--repo", "no/such")).out
    refused(sdlc("list", "--state", "closd"), "did you mean closed?")
    refused(sdlc("list", "--state", "purple"), "there are running, paused")


def test_of_several_runs_the_status_of_each_is_shown(house: House) -> None:
    one, other = house.waiting(), house.waiting()
    shown = good(sdlc("status", one, other)).out
    assert shown.index(one) < shown.index(other)
    lines = good(sdlc("status", one, other, "--json")).out.splitlines()
    assert [json.loads(line)["ticket_key"] for line in lines] == [one, other]
    refused(sdlc("status", one, other, "--follow"), "--follow takes one key")


def test_without_a_worker_the_status_is_what_the_run_has_said_last(house: House) -> None:
    key = house.waiting(approval=ApprovalPolicy(allow_starter=True, approvers=("grace",)))
    progress = house.do(house.runs.progress(key))
    assert progress.change is not None
    house.do(house.holder.aclose())
    done = sdlc("status", key)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert done.last.startswith(f"sdlc: No worker answers for {key}; ")
    assert done.out.startswith(f"{key}  awaiting approval  Rounding\n")
    for label, text in (
        ("As it stood at", "20"),
        ("Step", r"\d+ Await approval"),
        ("Waits for", "1 approval of .*, since 20"),
        ("May decide", "grace"),
        ("Change", f"1 file, .*head {progress.change.head_sha[:10]}"),
        ("Open findings", "none"),
        ("Pull request", r"\S+"),
    ):
        assert re.search(f"^{label} +{text}", done.out, re.MULTILINE), (label, done.out)
    refused(sdlc("status", key, "--json"), "No worker answers", code=1)
    refused(sdlc("status", "NO-SUCH-1"), "no run for NO-SUCH-1")


def test_whoever_follows_a_run_through_an_outage_reads_sentences_of_ours(house: House, tmp_path: Path) -> None:
    key = house.waiting()

    async def shut(made: Door) -> None:
        made.close()

    async def opened() -> Door:
        made = await house.holder.enter_async_context(a_door(house.settings.temporal.address))
        await made.open()
        return made

    made = house.do(opened())
    there = {"TEMPORAL_ADDRESS": f"127.0.0.1:{made.port}"}
    with running(tmp_path / "follow", "status", key, "--follow", **there) as following:
        following.until_said("Waits for")
        house.do(shut(made))
        following.until_said("waiting for it …")
        time.sleep(10)  # the SDK tells of a call when it has tried it five times
        house.do(made.open())
        house.do(house.client.get_workflow_handle(f"sdlc-{key}").terminate())
        done = following.ended()
    assert "could not tidy up" in done.err
    assert "sdk_core" not in done.err
    assert "gRPC" not in done.err


def test_a_key_that_is_nearly_right_is_guessed(house: House) -> None:
    key = house.waiting()
    house.until_listed(key)
    wrong = key.replace("-1", "-2")
    refused(sdlc("status", wrong), f"There is no run for {wrong}", f"Did you mean {key}?")
    refused(sdlc("approve", key.lower()), f"Did you mean {key}?")
    assert "Did you mean" not in refused(sdlc("status", "ZZZZ-99999"), "There is no run for ZZZZ-99999")


def test_show_has_the_ticket_beside_the_result_and_all_that_is_known(house: House) -> None:
    key = house.waiting(approval=ApprovalPolicy(required=2, approvers=("grace", "linus"), allow_starter=True))
    good(sdlc("approve", key, "--by", "grace"))
    out = good(sdlc("show", key)).out
    for words in (
        *("The sum is 0.31.", "It is 0.30", "did 1", "awaiting approval", "Reviews", "security:", "Unit tests"),
        *("Proof", "1 test failing on the base", "Open findings", "Rounds", "Where", "pull.md"),
        *("started by ada; 1 of 2 approvals (grace), by grace, linus", "Waits for"),
    ):
        assert words in out, (words, out)
    document = good(sdlc("show", key, "--json")).json
    assert document["ticket"]["title"] == "Rounding"
    assert document["card"]["approved_by"] == ["grace"]
    assert document["progress"]["state"] == "awaiting_approval"


def test_at_a_terminal_ticket_and_result_stand_side_by_side(house: House, tmp_path: Path) -> None:
    key = house.waiting()
    with at_terminal(tmp_path / "show", "show", key) as shown:
        done = shown.ended()
    assert re.search(r"^Ticket +Result", done.err, re.M), done.err
    with at_terminal(tmp_path / "plain", "show", key, NO_COLOR="1") as shown:
        shown.ended()
        assert b"\x1b[3" not in bytes(shown._drawn)


def test_what_comes_from_outside_is_shown_as_text(house: House) -> None:
    hostile = a_ticket("X-1", description=f"{ESCAPE} [bold]x[/bold]")
    key = house.waiting(script=Script(ticket=lambda _: hostile, engine=lambda *_: {"summary": ESCAPE}))
    for arguments in (["show", key], ["status", key], ["cost", key], ["audit", key]):
        out = good(sdlc(*arguments)).out
        assert "\x1b" not in out
        assert "\u202e" not in out
    assert "[bold]x[/bold]" in sdlc("show", key).out


def test_cost_is_told_by_step_and_by_run(house: House) -> None:
    usage = Usage(model_calls=3, input_tokens=1_000, output_tokens=20, usd=0.25)
    key = house.waiting(script=Script(ticket=lambda _: a_ticket("X-1"), engine=lambda *_: {"usage": usage}))
    out = good(sdlc("cost", key)).out
    assert re.search(r"2 Implement +3 +1,000 +20 +0\.2500", out), out
    assert "In all: 3 model calls, 1,020 tokens, 0.2500 USD" in out
    assert good(sdlc("cost", key, "--json")).json["steps"]["implement"]["usd"] == 0.25
    house.until_listed(key)
    good(sdlc("approve", key))
    house.until(key, RunState.CLOSED)
    end = time.monotonic() + 20
    while True:
        document = good(sdlc("cost", "--json", "--days", "1")).json
        mine = [run for run in document["runs"] if run["ticket"] == key]
        if mine and mine[0]["state"] == "closed":
            break
        assert time.monotonic() < end, document
        time.sleep(0.1)
    assert mine == [{"ticket": key, "state": "closed", "repository": "parcel", "tokens": 1_020, "usd": 0.25}]
    assert document["usd_per_closed"] == pytest.approx(document["usd"] / document["closed"], abs=1e-5)
    assert f"{key} (closed)" in good(sdlc("cost")).out
    unknown = house.waiting(
        script=Script(ticket=lambda _: a_ticket("X-1"), engine=lambda *_: {"usage": Usage(model_calls=1, usd=None)})
    )
    assert "unknown" in good(sdlc("cost", unknown)).out


# --- the change, and what was written down ------------------------------------------------------


def changed(tmp_path: Path, text: str) -> ChangeSet:
    """A real change of a file, in a bare repository."""
    checkout = new_checkout(tmp_path / "work", {"a.py": "x = 1\n", "b.py": "y = 1\n"})
    base = git(checkout.path, "rev-parse", "HEAD")
    checkout.commit({"a.py": text})
    head = git(checkout.path, "rev-parse", "HEAD")
    bare = new_bare(checkout, tmp_path / "bare.git")
    repository = Repository(url=str(bare), name="acme/a", base_branch="main", base_sha=base)
    return ChangeSet(repository=repository, base_sha=base, head_sha=head, branch="sdlc/x", files_changed=1)


def test_the_diff_is_a_patch_that_git_takes(house: House, tmp_path: Path) -> None:
    change = changed(tmp_path, f"x = 2  # {ESCAPE}\n")
    key = house.waiting(script=Script(ticket=lambda _: a_ticket("X-1"), engine=lambda *_: {"change": change}))
    patch = good(sdlc("diff", key)).out
    git(tmp_path / "work", "checkout", "--quiet", change.base_sha)
    (tmp_path / "it.patch").write_text(patch)
    git(tmp_path / "work", "apply", str(tmp_path / "it.patch"))
    assert (tmp_path / "work" / "a.py").read_text() == f"x = 2  # {ESCAPE}\n"
    assert good(sdlc("diff", key, "--name-only")).out == "a.py\n"
    assert good(sdlc("diff", key, "--stat")).out == "a.py  +1 -1\n1 file, +1 -1\n"
    refused(sdlc("diff", key, "--stat", "--name-only"), "give one of them")
    with at_terminal(tmp_path / "diff", "diff", key, PAGER="cat") as shown:
        shown.ended()
        drawn = bytes(shown._drawn)
    assert b"\x1b[31mred" not in drawn
    assert "evil" in drawn.decode()
    assert b"\x1b[32m" in drawn  # our own colour of what is new
    with at_terminal(tmp_path / "no", "diff", key, PAGER="/no/such/pager") as shown:
        assert "x = 2" in shown.ended().err


def test_a_run_without_a_change_has_no_diff(house: House) -> None:
    key = house.begin(Script(raises=lambda name, _: _never() if name == "open_repository" else None))
    house.until(key, RunState.NEEDS_ATTENTION)
    refused(sdlc("diff", key), "has no change yet", f"`sdlc status {key}`")


def _never() -> Exception:
    from tests.stage import final

    return final()


def test_documents_of_a_run_are_listed_and_shown(house: House) -> None:
    log = house.do(ArtifactStore(house.settings.artifacts_dir).put(f"line 1\n{ESCAPE}\n", name="engine.log"))
    key = house.waiting(script=Script(ticket=lambda _: a_ticket("X-1"), engine=lambda *_: {"log": log}))
    listed = good(sdlc("logs", key, "--json")).json
    mine = next(one for one in listed if one["name"] == "engine.log")
    assert mine["sha256"] == log.sha256
    assert any(one["by"] == "write_brief" for one in listed)  # of the engine's own workflow
    number = listed.index(mine) + 1
    shown = good(sdlc("logs", key)).out
    assert re.search(rf"^ *{number} .*engine\.log$", shown, re.M), shown
    assert good(sdlc("logs", key, str(number))).out == f"line 1\n{ESCAPE}\n"  # a file, as it is
    assert good(sdlc("logs", key, "engine.log")).out.startswith("line 1")
    refused(sdlc("logs", key, "engin.log"), "did you mean engine.log?")
    refused(sdlc("logs", key, "0" * 64), "can't be read", "storage.folder", code=1)
    refused(sdlc("logs", "ZZZZ-9"), "There is no run for ZZZZ-9")


def test_logs_of_the_data_folder_are_shown_and_followed(house: House, tmp_path: Path) -> None:
    refused(sdlc("logs"), "There is no worker log", "sdlc worker")
    data = tmp_path / "data"
    (data / "temporal").mkdir(parents=True, exist_ok=True)
    (data / "temporal" / "server.log").write_text("server up\n")
    (data / "sdlc.log").write_text("".join(f"line {number} of sdlc-A-{number}\n" for number in range(300)))
    assert good(sdlc("logs", "temporal")).out == "server up\n"
    assert good(sdlc("logs", "-n", "2")).out == "line 298 of sdlc-A-298\nline 299 of sdlc-A-299\n"
    with running(tmp_path / "follow", "logs", "A-1", "--follow") as following:
        until(lambda: "line 1 of" in following.done.out)
        with (data / "sdlc.log").open("a") as log:
            log.write("more of sdlc-A-1/implement-1 \x1b[2J\nmore of sdlc-A-10\nhalf of sdlc-A-1")
        until(lambda: "more of sdlc-A-1/" in following.done.out)
        (data / "sdlc.log").replace(data / "sdlc.log.1")
        (data / "sdlc.log").write_text("anew: sdlc-A-1\n")
        until(lambda: "anew" in following.done.out)
        out = following.done.out
    assert "\x1b" not in out
    assert "A-10" not in out
    assert "half" not in out


def until(wanted: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- the trail ----------------------------------------------------------------------------------


def test_a_trail_is_exported_and_whoever_changes_it_is_found_out(house: House, tmp_path: Path) -> None:
    key = house.waiting(approval=ApprovalPolicy(required=2, approvers=("grace", "linus")))
    refused(sdlc("approve", key, "--by", "mallory"), "mallory")
    good(sdlc("approve", key, "--by", "grace", "-m", "fine"))
    shown = good(sdlc("audit", key)).out
    assert "mallory" in shown
    assert "The chain of 2 entries is whole." in shown
    file = tmp_path / "trail.jsonl"
    file.write_text(good(sdlc("audit", key, "--jsonl")).out)
    lines = file.read_text().splitlines()
    assert [json.loads(line)["accepted"] for line in lines] == [False, True]
    assert good(sdlc("audit", key, "--verify", file)).out == f"{file}: 2 entries, unchanged.\n"
    good(sdlc("approve", key, "--by", "linus"))
    assert "The run has" in good(sdlc("audit", key, "--verify", file)).out

    def found_out(text: str, *words: str) -> None:
        file.write_text(text)
        done = sdlc("audit", key, "--verify", file)
        assert done.code == 1, done
        for word in words:
            assert word in done.out, done.out

    found_out(lines[0].replace("mallory", "someone") + "\n" + lines[1], "Entry 1 was changed")
    found_out(lines[1], "Entry 1 does not follow")
    other = house.waiting()
    good(sdlc("pause", other))
    found_out(sdlc("audit", other, "--jsonl").out, f"entry 1 is not that of the run for {key}")
    file.write_text("not json\n")
    refused(sdlc("audit", key, "--verify", file), f"{file}, line 1", "no entry of a trail")
    refused(sdlc("audit", key, "--verify", tmp_path / "none"), "can't be read")


def test_a_trail_can_be_looked_at_when_the_run_is_gone(house: House, tmp_path: Path) -> None:
    key = house.waiting()
    good(sdlc("pause", key))
    file = tmp_path / "trail.jsonl"
    file.write_text(sdlc("audit", key, "--jsonl").out)
    done = good(sdlc("audit", "GONE-1", "--verify", file))
    assert "the chain of 1 entry is whole" in done.out
    assert "could not be compared" in done.err


# --- deciding and steering ----------------------------------------------------------------------


def test_nobody_approves_for_somebody_else(house: House) -> None:
    key = house.waiting()
    refused(sdlc("approve", key, "--on-behalf", "grace"), "on behalf of grace", f"`sdlc reassign {key} NAME`")
    assert house.until(key, RunState.AWAITING_APPROVAL)


def test_a_change_is_given_to_others_to_decide(house: House) -> None:
    key = house.waiting(approval=ApprovalPolicy(approvers=("grace",)))
    refused(sdlc("approve", key, "--by", "linus"), "linus")
    good(sdlc("reassign", key, "linus", "-m", "grace is away", "--by", "grace"))
    good(sdlc("approve", key, "--by", "linus"))
    house.until(key, RunState.CLOSED)
    refused(sdlc("reassign", key, "  "), "`to`")


def test_texts_of_any_size_and_bytes_that_are_no_text_are_told(house: House, tmp_path: Path) -> None:
    key = house.waiting()
    refused(sdlc("reject", key, "-m", "x" * 100_000), "`comment`", "at most 65536")
    refused(sdlc("instruct", key, "x" * 100_000), "`text`", "at most 65536")
    with running(tmp_path / "bytes", "pause", key, "--by", os.fsdecode(b"caf\xe9")) as paused:
        assert paused.ended().code == 0
    assert "caf\ufffd" in good(sdlc("audit", key)).out


def test_any_signal_can_be_sent_and_its_shape_is_looked_at(house: House) -> None:
    key = house.waiting()
    listed = good(sdlc("signal", key)).out
    assert re.search(r"^request_changes +\{by, comment\?, head_sha\?", listed, re.M), listed
    refused(sdlc("signal", key, "aprove"), "did you mean approve?", "--force")
    refused(sdlc("signal", key, "approve", "{"), "not JSON")
    refused(sdlc("signal", key, "approve", "[]"), "one JSON object")
    refused(sdlc("signal", key, "approve", '{"coment": "x"}'), "no field 'coment'", "comment?")
    refused(sdlc("signal", key, "inject_instruction"), "`text`", "required")
    good(sdlc("signal", key, "made_up", '{"a": 1}', "--force"))
    until(lambda: "made_up" in sdlc("audit", key).out)
    good(sdlc("signal", key, "approve", '{"comment": "by hand", "by": "grace"}'))
    house.until(key, RunState.CLOSED)
    assert "by hand" in good(sdlc("audit", key)).out


def test_escalate_model_is_escalate(house: House) -> None:
    key = house.waiting()
    for command in ("escalate", "escalate-model"):
        assert "asked for big" in good(sdlc(command, key, "--model", "big")).out
    assert house.until(key, lambda progress: progress.model == "big")


# --- while it takes long -----------------------------------------------------------------------


def test_what_takes_long_says_so_in_a_plain_line_or_one_that_moves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(busy_module, "AFTER", 0.05)

    async def work(seconds: float) -> None:
        async with busy_module.busy("Asking"):
            await asyncio.sleep(seconds)

    asyncio.run(work(0.0))
    assert capsys.readouterr().err == ""
    asyncio.run(work(0.3))
    assert capsys.readouterr().err == "Asking …\n"
