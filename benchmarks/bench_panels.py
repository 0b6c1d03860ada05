"""How long the four panels take, against what they are made of, on this machine.

    python -m benchmarks.bench_panels [--rounds N]

Three ratios, each measured in one run: the panels without a model against their slowest analyser alone, on the
demo's change; the panels with a model that answers in one second against their longest chain of calls; and seconds
and memory for 1,000 changed lines in 40 files.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sdlc.config import ModelSettings, Settings
from sdlc.demo.bundle import make_repository
from sdlc.demo.conversation import STANDS, ChatRequest, Script, added_lines
from sdlc.demo.script import demo_script
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.domain import ChangeSet, Panel, Repository, Ticket
from sdlc.integrations.services import Services
from sdlc.review_graphs import local
from sdlc.review_graphs.analysis import AnalyserRun
from sdlc.review_graphs.checks_run import ChecksRun
from sdlc.review_graphs.collect import Collector
from sdlc.review_graphs.panel import PANELS
from sdlc.review_graphs.scope import Scope
from sdlc.runtime.services import build_services

TICKET = Ticket(key="BENCH-1", title="Charge overweight parcels")


def services_in(folder: Path, llm: ModelSettings | None = None) -> Services:
    """What panels need, and nothing that needs a server."""
    settings = Settings(data_dir=folder / "data", cache_dir=folder / "cache", llm=llm or ModelSettings())
    return build_services(settings)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def change_in(work: Path, base: str, head: str) -> ChangeSet:
    repository = Repository(url=str(work), name="bench/review", base_branch="main", base_sha=base)
    return ChangeSet(repository=repository, base_sha=base, head_sha=head, branch="sdlc/bench", files_changed=1)


async def demo_change(folder: Path) -> ChangeSet:
    """The bundled repository with the first edits of the demo's engine."""
    work = await make_repository(folder / "demo")
    base = git(work, "rev-parse", "HEAD")
    for path, old, new in first_edits():
        file = work / path
        file.write_text(file.read_text().replace(old, new, 1) if old else new)
    git(work, "commit", "--quiet", "--all", "--message", "first version")
    head = git(work, "rev-parse", "HEAD")
    git(work, "reset", "--quiet", "--hard", base)
    git(work, "branch", "head", head)
    return change_in(work, base, head)


def first_edits() -> list[tuple[str, str, str]]:
    """The edits that the demo's script makes in its first round: (path, old text, new text)."""
    edits: list[tuple[str, str, str]] = []
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Round: 0"}]
    script = demo_script()
    for _turn in range(7):
        reply = script.answer(ChatRequest({"messages": messages, "tools": [{"function": {"name": "edit"}}]}))
        for call in reply.tool_calls:
            if call.name == "edit" and isinstance(call.arguments, dict):
                edits.append(tuple(str(call.arguments[key]) for key in ("path", "old_text", "new_text")))  # type: ignore[arg-type]
        messages.append({"role": "assistant", "content": reply.content})
    return edits


def large_change(folder: Path) -> ChangeSet:
    """40 modules of 200 lines, of which the change rewrites 25 lines each, with tests."""
    work = folder / "large"
    (work / "shop").mkdir(parents=True)
    (work / "tests").mkdir()
    (work / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n')
    for number in range(40):
        (work / "shop" / f"part_{number}.py").write_text(_module(number, changed=False))
    (work / "shop" / "__init__.py").write_text("")
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "base")
    base = git(work, "rev-parse", "HEAD")
    for number in range(40):
        (work / "shop" / f"part_{number}.py").write_text(_module(number, changed=True))
    git(work, "commit", "--quiet", "--all", "--message", "head")
    return change_in(work, base, git(work, "rev-parse", "HEAD"))


def _module(number: int, *, changed: bool) -> str:
    rows = [f'"""Part {number}."""', ""]
    rows += [f"from shop import part_{number + 1}" if number < 39 else "", ""]
    for function in range(25):
        step = f"value * {function} + {number}" if changed else f"value + {function}"
        rows += [f"def step_{function}(value: int) -> int:", '    """One step."""', "    if value < 0:"]
        rows += ["        raise ValueError(value)", f"    return {step}", ""]
    rows += [f"LAST = part_{number + 1}" if number < 39 else "LAST = None", ""]
    return "\n".join(rows)


async def seconds(do: Callable[[], Awaitable[object]], rounds: int) -> float:
    """The median of some rounds."""
    taken = []
    for _round in range(rounds):
        start = time.perf_counter()
        await do()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


async def without_a_model(folder: Path, rounds: int) -> None:
    services, change = services_in(folder), await demo_change(folder)
    await local.review(services, change, TICKET)  # clones and workspaces are there from now on
    alone: dict[str, float] = {}
    for panel, declaration in PANELS.items():
        scope = await scope_of(services, change, panel)
        tasks, _ = Collector(services, declaration).plan(scope)
        for task in tasks:
            if task.kind == "analyser":
                run = AnalyserRun(services, scope, declaration.analyser(task.name))
                alone[f"{panel.value} {task.name}"] = await seconds(run.found, rounds)
            elif task.kind == "checks":
                checks = ChecksRun(services, scope, [check for check in declaration.checks if check.name in task.names])
                alone[f"{panel.value} checks"] = await seconds(checks.found, rounds)
    for name, taken in sorted(alone.items(), key=lambda item: -item[1]):
        print(f"  {name:<40} {taken:6.2f} s alone")
    whole = await seconds(lambda: local.review(services, change, TICKET), rounds)
    slowest = max(alone.values())
    print(f"four panels without a model, demo repository: {whole:.2f} s = {whole / slowest:.2f} × the slowest alone")


async def scope_of(services: Services, change: ChangeSet, panel: Panel) -> Scope:
    request = local.request_of(change, TICKET, panel)
    return await Collector(services, PANELS[panel]).scope(request)


async def with_a_slow_model(folder: Path, rounds: int) -> None:
    def finds(request: ChatRequest) -> dict[str, Any]:
        line = added_lines(request.user_text)[0]
        said = {"file": line.file, "line": line.line, "severity": "minor", "confidence": 0.8, "message": "Odd value."}
        return {"findings": [{**said, "end_line": line.line, "rule": "odd", "evidence": "", "suggestion": ""}]}

    script = Script().lens("*", finds).verify("*", STANDS)
    async with ScriptedModel(script) as model:
        llm = ModelSettings(base_url=model.base_url, name=MODEL, timeout_seconds=60)
        services, change = services_in(folder, llm), await demo_change(folder)
        await local.review(services, change, TICKET)
        model.latency = 1.0
        whole = await seconds(lambda: local.review(services, change, TICKET), rounds)
    print(
        f"four panels with a model of 1 s, a lens and a second look in a row: {whole:.2f} s = {whole / 2:.2f} × 2 calls"
    )


async def on_a_large_change(folder: Path) -> None:
    services, change = services_in(folder), large_change(folder)
    start = time.perf_counter()
    reports = await local.review(services, change, TICKET)
    taken = time.perf_counter() - start
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    count = sum(len(report.findings) for report in reports)
    print(
        f"1,000 changed lines in 40 files, first time: {taken:.1f} s, {own:.0f} MB here and at most {child:.0f} MB in"
    )
    print(f"  one process of a reviewer; {count} findings")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    for name, measure in (("a", without_a_model), ("b", with_a_slow_model)):
        with tempfile.TemporaryDirectory(prefix=f"bench-panels-{name}-") as folder:
            await measure(Path(folder), rounds)
    with tempfile.TemporaryDirectory(prefix="bench-panels-c-") as folder:
        await on_a_large_change(Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
