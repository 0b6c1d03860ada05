"""Programs that play a coding engine, in the real sandbox, on real git, behind the real gateway: what comes of each."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from sdlc.activities import EngineRequest, EngineResult
from sdlc.config import EngineSettings, GuardSettings, ModelSettings, Price, SandboxSettings, Settings
from sdlc.domain import ChangeSet, Repository, RunIdentity
from sdlc.engines.batons import kept
from sdlc.engines.command_launch import Engine
from sdlc.engines.command_line import CommandLineRun, Progress
from sdlc.errors import ConfigurationError, EngineUnusable, ModelKeyRefused, SandboxUnavailable, ServiceUnavailable
from sdlc.integrations.services import Services
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.services import build_services
from sdlc.steps.engine import EngineSteps
from tests.engine_programs import Bash, Endpoint, endpoint
from tests.processes import alive, sleeper, until
from tests.repositories import git, new_bare, new_checkout

MODEL_KEY = "planted-model-key-4711"
FIX = "sed -i 's/x + x + 1/2 * x/' calc.py"
FIXED = "return 2 * x"


@dataclass
class Bench:
    settings: Settings
    model: Endpoint
    bare: Path
    repository: Repository
    services: Services

    async def request(self, **more: Any) -> EngineRequest:
        base = self.repository.base_sha
        change = ChangeSet(repository=self.repository, base_sha=base, head_sha=base, branch="sdlc/CALC-1")
        run = RunIdentity(workflow_id="sdlc-CALC-1", run_id=uuid.uuid4().hex, ticket_key="CALC-1")
        brief = await self.services.artifacts.put("# CALC-1: double is wrong\n", name="brief.md")
        fields = {"run": run, "change": change, "brief": brief, "engine": "scripted", "seconds": 60, **more}
        return EngineRequest.model_validate(fields)

    def with_settings(self, **more: Any) -> Bench:
        settings = self.settings.model_copy(update=more)
        return Bench(settings, self.model, self.bare, self.repository, build_services(settings))

    async def run(self, script: str | Bash, **more: Any) -> EngineResult:
        program = Bash(script) if isinstance(script, str) else script
        steps = EngineSteps(self.services, Redactor.of(self.settings), find=lambda *_: Engine(program))
        return await steps.run_engine(await self.request(**more))

    def show(self, result: EngineResult, path: str) -> str:
        return git(self.bare, "show", f"{result.change.head_sha}:{path}")

    def files(self, sha: str) -> set[str]:
        return set(git(self.bare, "ls-tree", "-r", "--name-only", sha).splitlines())

    async def log(self, result: EngineResult) -> str:
        assert result.log is not None
        return await self.services.artifacts.text(result.log)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calc")
    files: dict[str, str | bytes | None] = {
        "calc.py": "def double(x):\n    return x + x + 1\n",
        ".gitignore": "*.tmp\n",
        "scripted.log": "tracked, whatever its name\n",
        **{f"docs/{number}.txt": f"{number}\n" for number in range(30)},
    }
    return new_bare(new_checkout(folder / "work", files), folder / "calc.git")


@pytest.fixture
def model() -> Iterator[Endpoint]:
    with endpoint() as facts:
        yield facts


@pytest.fixture
async def bench(settings: Settings, bare: Path, model: Endpoint) -> Bench:
    llm = ModelSettings(
        base_url=model.url, name="m1", api_key=SecretStr(MODEL_KEY), prices={"m1": Price(input=10, output=20)}
    )
    settings = settings.model_copy(update={"llm": llm})
    services = build_services(settings)
    try:
        await services.sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    base = git(bare, "rev-parse", "main")
    return Bench(
        settings, model, bare, Repository(url=str(bare), name="a/b", base_branch="main", base_sha=base), services
    )


# --- a good one ---------------------------------------------------------------------------


async def test_a_program_that_asks_its_model_and_edits_leaves_one_clean_commit(bench: Bench) -> None:
    result = await bench.run(f"cat $BRIEF; ask; {FIX}; echo new > new.txt; echo; echo 'I fixed double.'; echo bye")
    assert (result.ended, result.reason, result.turns, result.model) == ("submitted", "", 1, "m1")
    assert (result.engine, result.taken_over, result.protected) == ("scripted", 0, ())
    assert (result.usage.model_calls, result.usage.input_tokens, result.usage.output_tokens) == (1, 90, 10)
    assert result.usage.usd == pytest.approx(0.0011)
    assert result.summary == "I fixed double.\nbye"
    assert FIXED in bench.show(result, "calc.py")
    assert git(bench.bare, "rev-parse", f"{result.change.head_sha}^") == bench.repository.base_sha
    assert "# CALC-1: double is wrong\n200\n" in await bench.log(result)
    assert bench.model.calls == [f"Bearer {MODEL_KEY}"]


async def test_it_sees_the_repository_s_git_a_home_of_its_own_and_a_read_only_brief(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "x")
    result = await bench.run(
        "git log --format=%s; git status --short; echo home=$HOME; ls -A ~; touch ~/x ~/.cache && echo wrote; "
        "echo y >> $BRIEF || echo refused; env | cut -d= -f1 | sort | tr '\\n' ' '"
    )
    said = await bench.log(result)
    assert "the first\n" in said
    assert "home=/home/engine\n.config\nwrote\n" in said
    assert "refused" in said
    names = set(said.splitlines()[-1].split())
    own = {"BRIEF", "URL", "KEY", "MODEL", "HOME", "LANG", "PATH", "TERM", "TMPDIR", "VIRTUAL_ENV"}
    assert own | {f"XDG_{name}_HOME" for name in ("CONFIG", "CACHE", "DATA", "STATE")} <= names
    assert "PLANTED" not in names


async def test_output_goes_to_the_run_s_log_line_by_line_as_it_comes(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logged:
        await bench.run("echo one; printf two; echo; echo last >&2")
    lines = [entry for entry in logged if entry["event"] == "engine output"]
    assert [entry["line"] for entry in lines] == ["one", "two", "last"]
    assert lines[0]["engine"] == "scripted"
    assert len(lines[0]["run"]) == 32


# --- bad input ----------------------------------------------------------------------------


async def test_one_that_is_not_installed_is_named_with_the_mend(bench: Bench) -> None:
    steps = EngineSteps(bench.services, Redactor.of(bench.settings))
    with pytest.raises(EngineUnusable, match=r"`aider` 0\.86\.2 is not installed .* `sdlc engines install aider`"):
        await steps.run_engine(await bench.request(engine="aider"))


async def test_another_version_than_the_wanted_one_names_both(bench: Bench) -> None:
    installed = bench.settings.cache_dir / "engines" / "aider" / "0.85.0"
    installed.mkdir(parents=True)
    (installed / "installed.json").write_text("{}")
    changed = bench.with_settings(engine=EngineSettings(name="aider", version="0.86.2"))
    with pytest.raises(EngineUnusable, match=r"`aider` 0\.86\.2 is not installed.*0\.85\.0 is"):
        await EngineSteps(changed.services, str).run_engine(await bench.request(engine="aider"))


async def test_a_command_that_is_not_there_is_no_failed_attempt_but_unusable(bench: Bench) -> None:
    changed = bench.with_settings(engine=EngineSettings(name="command", command="no-such-agent --task {brief}"))
    with pytest.raises(EngineUnusable, match=r"`command` could not be started.*no-such-agent"):
        await EngineSteps(changed.services, str).run_engine(await bench.request(engine="command"))


async def test_a_command_of_one_s_own_is_run(bench: Bench) -> None:
    command = "sh -c 'cp \"$1\" copied.md' sh {brief}"
    changed = bench.with_settings(engine=EngineSettings(name="command", command=command))
    result = await EngineSteps(changed.services, str).run_engine(await bench.request(engine="command"))
    assert (result.ended, result.engine) == ("submitted", "command")
    assert bench.show(result, "copied.md") == "# CALC-1: double is wrong"


async def test_one_that_hangs_is_stopped_when_the_time_is_over_and_its_work_is_kept(bench: Bench) -> None:
    marker = sleeper()
    result = await bench.run(f"{FIX}; sleep {marker}", seconds=2)
    assert (result.ended, result.reason) == ("time", "`scripted` was stopped: the time of this step was over.")
    assert FIXED in bench.show(result, "calc.py")
    assert not alive(marker)


async def test_exit_1_after_good_work_is_submitted_and_says_so(bench: Bench) -> None:
    result = await bench.run(f"{FIX}; echo 'Traceback: it broke'; exit 1")
    assert result.ended == "submitted"
    assert result.reason == (
        "`scripted` ended with exit code 1. What it did is kept. It printed last: Traceback: it broke"
    )
    assert FIXED in bench.show(result, "calc.py")


async def test_exit_1_without_a_change_has_failed_and_says_its_last_lines(bench: Bench) -> None:
    result = await bench.run("echo 'unknown flag'; exit 2")
    assert result.ended == "failed"
    assert result.reason == "`scripted` ended with exit code 2. It changed no file. It printed last: unknown flag"
    assert result.change.is_empty


async def test_exit_0_without_a_change_says_so(bench: Bench) -> None:
    result = await bench.run("touch a.tmp; echo 'Nothing to do.'")
    assert result.ended == "no_change"
    assert result.reason.startswith("`scripted` ended as if all were well, but changed no file.")
    assert "Nothing to do." in result.reason
    assert result.change.head_sha == bench.repository.base_sha


async def test_one_that_deletes_everything_is_not_followed_and_its_work_is_in_a_ref(bench: Bench) -> None:
    result = await bench.run("rm -rf ./* ./.[!.]*; echo done")
    assert result.ended == "failed"
    assert "it deleted 33 of the repository's 33 files" in result.reason
    assert result.change.head_sha == bench.repository.base_sha
    ref = next(word for word in result.reason.split() if word.startswith("refs/sdlc/")).rstrip(";.")
    assert bench.files(git(bench.bare, "rev-parse", ref)) == set()


@pytest.mark.parametrize(
    "trick",
    [
        "git add -A; git commit -qm mine",
        "git add -A; git commit -q --amend -m all-new; git reflog expire --expire=now --all; git gc -q --prune=now",
        "git checkout -q --orphan other; git add -A; git commit -qm orphan; git update-ref -d refs/remotes/origin/main",
        "rm -rf .git",
        "rm -rf .git; git init -q; git config core.fsmonitor 'touch /work/pwned'; echo '*' > .git/info/exclude",
        "echo 'touch /tmp/pwned' > .git/hooks.sh; git config core.hooksPath .git; git config core.bare true",
    ],
    ids=["commits", "amends", "orphan", "removes-git", "other-git", "hooks"],
)
async def test_what_it_does_to_git_by_itself_changes_nothing(bench: Bench, trick: str) -> None:
    result = await bench.run(f"{FIX}; {trick}; true")
    assert result.ended == "submitted"
    assert git(bench.bare, "rev-parse", f"{result.change.head_sha}^") == bench.repository.base_sha
    assert bench.files(result.change.head_sha) == bench.files(bench.repository.base_sha)
    assert FIXED in bench.show(result, "calc.py")


async def test_a_daemon_that_it_starts_is_dead_afterwards(bench: Bench) -> None:
    marker = sleeper()
    result = await bench.run(f"{FIX}; (setsid nohup sleep {marker} >/dev/null 2>&1 &) ; echo started")
    assert result.ended == "submitted"
    assert not alive(marker)


async def test_the_network_is_not_there_but_for_its_model(bench: Bench) -> None:
    there = bench.model.url.split("/")[2].replace(":", "/")
    result = await bench.run(
        f"(echo > /dev/tcp/{there}) && echo REACHED; (echo > /dev/tcp/1.1.1.1/80) && echo REACHED; "
        "python3 -c 'import urllib.request as u; u.urlopen(\"http://example.org\", timeout=5)' || echo no; ask"
    )
    said = await bench.log(result)
    assert "REACHED" not in said
    assert said.rstrip().endswith("no\n200")


async def test_the_worker_s_home_is_not_there(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    key = tmp_path / "home" / ".ssh" / "id_rsa"
    key.write_text("planted-ssh-key")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    result = await bench.run(f"cat ~/.ssh/id_rsa {key} /root/.ssh/*; ln -s {key} stolen; {FIX}; true")
    assert "planted-ssh-key" not in await bench.log(result)
    assert bench.files(result.change.head_sha) == bench.files(bench.repository.base_sha)
    assert (result.ended, "stolen is a symbolic link to" in result.reason) == ("submitted", True)


async def test_keys_are_neither_in_its_environment_nor_in_what_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-worker-key-1234")
    shape = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"
    pem = "-----BEGIN RSA PRIVATE KEY-----\\nMIIplanted\\n-----END RSA PRIVATE KEY-----\\nafter"
    script = (
        f"cat /proc/*/environ | tr '\\0' '\\n' | grep -c planted; {FIX}; echo mine=$KEY; echo {shape}; "
        f"printf -- '{pem}\\n'; echo planted-worker-key-1234; echo {MODEL_KEY}; echo token={shape} > leak.txt; exit 1"
    )
    with structlog.testing.capture_logs() as logged:
        result = await bench.run(script)
    said = await bench.log(result)
    everything = said + str(logged) + result.model_dump_json()
    for planted in (shape, "planted-worker-key", MODEL_KEY, "MIIplanted"):
        assert planted not in everything.replace(script, "")
    assert said.startswith("0\nmine=[secret]\n[secret]\n[secret]\n[secret]\n[secret]\nafter\n[secret]\n")
    assert "leak.txt:1 (GitHub token)" in result.reason
    assert "leak.txt" not in bench.files(result.change.head_sha)
    assert FIXED in bench.show(result, "calc.py")


async def test_one_that_fills_the_disk_is_stopped_and_the_rest_of_its_work_is_kept(bench: Bench) -> None:
    small = bench.with_settings(sandbox=SandboxSettings(disk_bytes=120 * 1024**2))
    result = await small.run(f"{FIX}; head -c 5G /dev/zero > big.bin; sleep 60")
    assert result.ended == "submitted"
    assert "it wrote more to disk than sandbox.disk_bytes" in result.reason
    assert "big.bin has" in result.reason
    assert "the limit is 50 MiB for one file" in result.reason
    assert FIXED in bench.show(result, "calc.py")


async def test_files_that_can_t_be_kept_do_not_keep_the_others(bench: Bench) -> None:
    result = await bench.run(
        f"{FIX}; mkfifo pipe; rm docs/3.txt; mkfifo docs/3.txt; git init -q vendored; echo x > vendored/x; "
        "mkdir d; echo y > d/y; chmod 755 d/y; "
        "ln -s y d/inside; ln -s ../../up d/out; rm docs/1.txt; rm docs/2.txt; mkdir docs/2.txt; echo z > docs/2.txt/z"
    )
    assert result.ended == "submitted"
    for named in ("docs/3.txt is a pipe", "vendored/ is a git repository", "d/out is a symbolic link"):
        assert named in result.reason
    new = bench.files(result.change.head_sha) - bench.files(bench.repository.base_sha)
    assert new == {"d/y", "d/inside", "docs/2.txt/z"}
    assert bench.files(bench.repository.base_sha) - bench.files(result.change.head_sha) == {"docs/1.txt", "docs/2.txt"}
    assert git(bench.bare, "ls-tree", result.change.head_sha, "d/y").startswith("100755 ")


async def test_files_that_it_has_locked_are_kept_as_well(bench: Bench) -> None:
    result = await bench.run(f"{FIX}; mkdir -p d/e; echo x > d/e/x; echo y > y; chmod 000 d y docs calc.py")
    assert result.ended == "submitted"
    assert bench.files(result.change.head_sha) - bench.files(bench.repository.base_sha) == {"d/e/x", "y"}
    assert not bench.files(bench.repository.base_sha) - bench.files(result.change.head_sha)


async def test_droppings_are_left_out_unless_the_base_has_them(bench: Bench) -> None:
    result = await bench.run(
        f"{FIX}; mkdir -p d/.scripted.d; touch .scripted.x d/.scripted.d/y; echo more >> scripted.log"
    )
    assert bench.files(result.change.head_sha) == bench.files(bench.repository.base_sha)
    assert bench.show(result, "scripted.log").endswith("more")


async def test_without_a_sandbox_it_works_the_same_where_people_said_so(bench: Bench) -> None:
    result = await bench.with_settings(sandbox=SandboxSettings(kind="none")).run(
        f"cat $BRIEF; ask; {FIX}; touch ~/x; echo $HOME; pwd"
    )
    assert (result.ended, result.turns, result.change.files_changed) == ("submitted", 1, 1)
    *_, home, work = (await bench.log(result)).split()
    assert not Path(home).exists()
    assert not home.startswith(work)


# --- the model ----------------------------------------------------------------------------


async def test_a_program_whose_turns_are_over_may_end_by_itself(bench: Bench) -> None:
    result = await bench.run(f"{FIX}; ask; ask; ask || echo refused", max_turns=2)
    assert (result.ended, result.turns) == ("turns", 2)
    assert result.reason
    assert "refused" in await bench.log(result)
    assert FIXED in bench.show(result, "calc.py")


async def test_a_program_that_goes_on_without_its_model_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlc.engines.command_line.GRACE", 0.5)
    marker = sleeper()
    result = await bench.run(f"{FIX}; while ask; do true; done; sleep {marker}", tokens_left=150)
    assert (result.ended, result.turns, result.usage.input_tokens) == ("budget", 2, 180)
    assert FIXED in bench.show(result, "calc.py")
    assert not alive(marker)


@pytest.mark.parametrize("code", [0, 1])
async def test_a_refused_key_is_named_as_such(bench: Bench, code: int) -> None:
    bench.model.status = 401
    with pytest.raises(ModelKeyRefused, match=r"refused the key of `scripted` \(HTTP 401: .*set engine.api_key"):
        await bench.run(f"ask; exit {code}")


async def test_a_busy_model_is_asked_again_later(bench: Bench) -> None:
    bench.model.status, bench.model.headers = 429, {"retry-after": "7"}
    with pytest.raises(ServiceUnavailable, match="HTTP 429") as raised:
        await bench.run("ask; exit 1")
    assert raised.value.retry_after == 7


async def test_a_busy_model_after_good_work_loses_nothing(bench: Bench) -> None:
    bench.model.status = 500
    result = await bench.run(f"{FIX}; ask; exit 1")
    assert result.ended == "submitted"
    assert FIXED in bench.show(result, "calc.py")


async def test_the_key_of_one_endpoint_is_not_sent_to_another(bench: Bench) -> None:
    engine = EngineSettings(base_url=bench.model.url, model="own")
    other = bench.settings.llm.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    result = await bench.with_settings(engine=engine, llm=other).run(f"ask; {FIX}")
    assert (result.ended, result.model, result.usage.usd) == ("submitted", "own", None)
    assert bench.model.calls == [None]


async def test_without_a_model_it_says_what_to_set(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match=r"set engine\.model, or SDLC_MODEL"):
        await bench.with_settings(llm=ModelSettings()).run("true")
    with pytest.raises(ConfigurationError, match=r"no key for the model .* set engine\.api_key"):
        await bench.with_settings(llm=ModelSettings(name="m")).run("true")


# --- later attempts -----------------------------------------------------------------------


async def test_what_earlier_tries_spent_counts(bench: Bench) -> None:
    request = await bench.request(max_turns=3)
    spent = Progress(head_sha=request.change.head_sha, turns=3, seconds=4, taken_over=1)
    result = await CommandLineRun(bench.services, request, Engine(Bash(FIX)), str, before=spent).result()
    assert (result.ended, result.turns, result.taken_over) == ("turns", 3, 2)
    assert result.reason == "`scripted` was not begun: no turns are left for it."
    assert result.change.is_empty


@pytest.mark.parametrize("most", [0, 200], ids=["by-folder", "by-file"])
async def test_a_successor_finds_the_files_as_they_were_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("sdlc.engines.command_line._MOST_PATHS", most)
    first = await bench.run(f"{FIX}; rm docs/1.txt; mkdir -p new/er; echo 1 > new/er/a; echo 2 > 'docs/\u00e9 \"x'")
    script = "git status --short -uall; tail -n 2 $BRIEF; rm new/er/a; git checkout -q docs/1.txt; echo 3 > b"
    before = Progress(head_sha=first.change.head_sha, turns=1, seconds=1)
    second = await CommandLineRun(
        bench.services, await bench.request(), Engine(Bash(script)), str, before=before
    ).result()
    said = await bench.log(second)
    for line in (" M calc.py\n", " D docs/1.txt\n", "?? new/er/a\n", "An earlier try was cut off; what it changed"):
        assert line in said
    base = bench.repository.base_sha
    assert git(bench.bare, "rev-parse", f"{second.change.head_sha}^") == base
    changed = git(bench.bare, "-c", "core.quotePath=false", "diff", "--name-status", base, second.change.head_sha)
    assert changed.splitlines() == ["A\tb", "M\tcalc.py", 'A\t"docs/\u00e9 \\"x"']
    assert second.taken_over == 1


async def test_a_cancellation_in_the_middle_of_the_last_checkpoint_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = asyncio.Event()

    async def slow(*given: Any) -> tuple[str, str]:
        entered.set()
        await asyncio.sleep(0.5)
        return await kept(*given)

    monkeypatch.setattr("sdlc.engines.checkpoints.kept", slow)
    running = asyncio.create_task(bench.run(FIX))
    await asyncio.wait_for(entered.wait(), 30)
    running.cancel()
    result = await running
    assert result.ended == "interrupted"
    assert FIXED in bench.show(result, "calc.py")


async def test_unlawful_work_that_is_interrupted_is_gone_on_with_and_judged_when_it_is_done(bench: Bench) -> None:
    small = bench.with_settings(engine=EngineSettings(checkpoint_seconds=1), guard=GuardSettings(max_files=1))
    request = await bench.request()

    def steps(script: str) -> EngineSteps:
        return EngineSteps(small.services, str, find=lambda *_: Engine(Bash(script)))

    running = asyncio.create_task(steps(f"{FIX}; touch a b c; sleep 30").run_engine(request))
    refs = ("for-each-ref", "--format=%(objectname)", f"refs/sdlc/{request.run.run_id}")
    await until(lambda: git(bench.bare, *refs), 20)
    running.cancel()
    stopped = await running
    assert (stopped.ended, stopped.change) == ("interrupted", request.change)

    again = request.model_copy(update={"checkpoint": stopped.checkpoint})
    refused = await steps("true").run_engine(again)
    assert refused.ended == "failed"
    assert "4 files" in refused.reason
    assert refused.change == request.change

    mended = await steps("rm a b c").run_engine(again)
    assert mended.ended == "submitted", mended.reason
    changed = git(bench.bare, "diff", "--name-only", bench.repository.base_sha, mended.change.head_sha)
    assert changed.splitlines() == ["calc.py"]


async def test_checkpoints_are_taken_while_it_works(bench: Bench) -> None:
    quick = bench.with_settings(engine=EngineSettings(checkpoint_seconds=1))
    request = await bench.request()
    steps = EngineSteps(quick.services, str, find=lambda *_: Engine(Bash(f"{FIX}; sleep 30")))
    running = asyncio.create_task(steps.run_engine(request))
    refs = ("for-each-ref", "--format=%(objectname)", f"refs/sdlc/{request.run.run_id}")
    await until(lambda: git(bench.bare, *refs), 20)
    sha = git(bench.bare, *refs)
    assert FIXED in git(bench.bare, "show", f"{sha}:calc.py")
    running.cancel()
    assert (await running).ended == "interrupted"
