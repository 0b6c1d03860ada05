"""The real coding programs, in the real sandbox, behind the real gateway: each makes the demo's change.

`make test-engines` runs these. A program that isn't in this machine's cache (SDLC_CACHE_DIR) is fetched into it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from sdlc.activities import EngineRequest, EngineResult
from sdlc.config import EngineSettings, ModelSettings, SandboxSettings, Settings
from sdlc.demo.bundle import make_repository
from sdlc.domain import ChangeSet, Repository, RunIdentity
from sdlc.engines.command_launch import Engine
from sdlc.engines.programs.registry import ENGINES
from sdlc.errors import SandboxUnavailable
from sdlc.integrations.engine_installs import Installation, Installations
from sdlc.integrations.sandbox import open_sandbox
from sdlc.integrations.services import Services
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.services import build_services
from sdlc.steps.engine import EngineSteps
from tests.conftest import MACHINE_CACHE, run_now
from tests.engine_dialects import Dialect, demo_rounds
from tests.repositories import Checkout, git, new_bare
from tests.scripted import MODEL, ScriptedModel

pytestmark = [pytest.mark.engines, pytest.mark.timeout(900)]

KEY = "planted-model-key-0815"
CHANGED = {
    *(f"parcel/{name}.py" for name in ("__main__", "quotes", "tariff")),
    *(f"tests/test_{name}.py" for name in ("command", "quotes", "tariff")),
    "CHANGELOG.md",
}
MENDED = "notes: list[str] | None = None"


@dataclass
class Bench:
    """The demo's repository, a model that speaks the program's tongue, and the program."""

    name: str
    settings: Settings
    services: Services
    installation: Installation
    model: ScriptedModel
    bare: Path

    async def run(self, number: int = 0, head: str = "", max_turns: int = 20) -> EngineResult:
        base = git(self.bare, "rev-parse", "main")
        repository = Repository(url=str(self.bare), name="acme/parcel", base_branch="main", base_sha=base)
        brief = await self.services.artifacts.put(
            f"# The task\n\nRound: {number}\n\nMend the tariff.\n", name="brief.md"
        )
        request = EngineRequest(
            run=RunIdentity(workflow_id="sdlc-PAR-1", run_id=uuid.uuid4().hex, ticket_key="PAR-1"),
            change=ChangeSet(repository=repository, base_sha=base, head_sha=head or base, branch="sdlc/PAR-1"),
            brief=brief,
            engine=self.name,
            seconds=180,
            max_turns=max_turns,
        )
        engine = Engine(ENGINES[self.name].program, self.installation)
        return await EngineSteps(self.services, Redactor.of(self.settings), find=lambda *_: engine).run_engine(request)

    def changed(self, result: EngineResult) -> set[str]:
        return set(git(self.bare, "diff", "--name-only", "main", result.change.head_sha).splitlines())

    async def log(self, result: EngineResult) -> str:
        assert result.log is not None
        return await self.services.artifacts.text(result.log)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For all tests: one repository, whose environment is made once."""
    folder = tmp_path_factory.mktemp("engines")
    work = run_now(make_repository(folder / "work"))
    new_bare(Checkout(work), folder / "parcel.git")
    return folder


@pytest.fixture(params=list(ENGINES))
async def bench(request: pytest.FixtureRequest, settings: Settings, folder: Path) -> AsyncIterator[Bench]:
    name = request.param
    sandbox = open_sandbox(SandboxSettings())
    try:
        await sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    installation = await Installations(MACHINE_CACHE, sandbox).install(ENGINES[name].package, say=print)
    async with ScriptedModel(Dialect(name, demo_rounds()), api_key=KEY) as model:
        llm = ModelSettings(base_url=model.base_url, api_key=SecretStr(KEY), name=MODEL)
        engine = EngineSettings(name=name)
        settings = settings.model_copy(update={"llm": llm, "engine": engine, "cache_dir": folder / "cache"})
        yield Bench(name, settings, build_services(settings), installation, model, folder / "parcel.git")


async def test_it_makes_the_change_and_leaves_nothing_else(bench: Bench) -> None:
    began = time.monotonic()
    result = await bench.run()
    seconds = time.monotonic() - began
    log = await bench.log(result)
    assert result.ended == "submitted", f"{result.reason}\n{log}"
    assert bench.changed(result) == CHANGED
    assert result.engine == f"{bench.name} {ENGINES[bench.name].package.version}"
    assert result.turns == sum(entry.answered for entry in bench.model.requests) >= 2
    assert not [entry for entry in bench.model.requests if not entry.answered], "it asked what no script foresees"
    assert KEY not in log
    print(f"{result.engine}: {result.turns} model calls, {seconds:.1f} s; {bench.installation.says}")


async def test_a_second_round_goes_on_from_the_first(bench: Bench) -> None:
    first = await bench.run()
    second = await bench.run(number=1, head=first.change.head_sha)
    assert second.ended == "submitted", f"{second.reason}\n{await bench.log(second)}"
    assert MENDED in git(bench.bare, "show", f"{second.change.head_sha}:parcel/tariff.py")
    assert bench.changed(second) == CHANGED


async def test_a_run_that_is_out_of_turns_ends_soon_and_keeps_what_it_has(bench: Bench) -> None:
    turns = 2 if bench.name == "opencode" else 1  # it asks for a title at the same time
    result = await bench.run(max_turns=turns)
    assert result.ended == "turns", f"{result.ended}: {result.reason}\n{await bench.log(result)}"
    assert result.turns == turns
    # Aider has only asked for files by then.
    assert bench.changed(result) == (set() if bench.name == "aider" else CHANGED)
