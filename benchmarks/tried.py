"""`sdlc run` on projects that it does not know, each with a bug of its own history put back.

    python -m benchmarks.tried [--only PROJECT] [--folder FOLDER] [--json FILE]

For each case of `tried_cases.py` the source archives of two releases are downloaded, the later one
becomes a git repository with a few lines of the earlier one, and the real command is run on it as a person would
run it, with embedded server, tracker and forge. Its model is scripted and gives the fix that the later release has.
Ends with a table, and with exit code 1 if a run did not end with a pull request that is proved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from benchmarks.tried_cases import CASES, Case
from tests.scripted import MODEL, Script, ScriptedModel, change_of_folders, solve

RUN_SECONDS = 1_200.0
"""One run, set-up of the project's environment and of a Temporal server included."""
DOWNLOAD_SECONDS = 300.0
_NOT_PASSED_ON = ("OPENAI_API_BASE", "TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "SDLC_CONFIG", "VIRTUAL_ENV")
"""What would point the command at something of the person's own."""


@dataclass(frozen=True)
class Result:
    """What came out of one run."""

    project: str
    releases: str
    bug: str
    seconds: float
    exit_code: int | None
    """None: it did not end in time."""
    state: str = ""
    fails_on_base: int = 0
    passes_on_head: int = 0
    coverage_percent: float | None = None
    findings: Mapping[str, int] = field(default_factory=dict)
    fix_rounds: int = 0
    tests: Mapping[str, Any] = field(default_factory=dict)
    pull_request: str = ""
    noted: tuple[str, ...] = ()
    """Warnings of the run, or the end of what it said where it gave no summary."""
    not_verified: tuple[str, ...] = ()
    """As the pull request tells the reviewer."""

    @property
    def is_proved(self) -> bool:
        return self.exit_code == 0 and bool(self.pull_request) and self.fails_on_base > 0


# --- the project --------------------------------------------------------------------------


def unpacked(project: str, version: str, folder: Path) -> Path:
    """The folder of a release's source archive, downloaded once into `folder`."""
    target = folder / f"{project}-{version}"
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(dir=folder) as place:
        # uv has no download of its own; pip asks the project's build backend for its metadata as it goes.
        pip = ["uv", "run", "--quiet", "--no-project", "--with", "pip", "python", "-m", "pip"]
        download = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--disable-pip-version-check"]
        _call([*pip, *download, "--dest", place, f"{project}=={version}"], cwd=folder, timeout=DOWNLOAD_SECONDS)
        (archive,) = Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(Path(place, "content"), filter="data")
        (top,) = Path(place, "content").iterdir()
        top.rename(target)
    return target


def repository_with_the_bug(case: Case, before: Path, after: Path, target: Path) -> Path:
    """A git repository of the later release in which the places of the case's fix are those of the earlier one."""
    shutil.copytree(after, target, symlinks=True)
    for path in case.paths:
        texts = [(folder / path).read_text(encoding="utf-8") for folder in (before, after)]
        (target / path).write_text(taken_back(*texts, only=case.only), encoding="utf-8")
    if case.rules:
        (target / ".sdlc.yml").write_text(case.rules, encoding="utf-8")
    who = ["-c", "user.name=A. Maintainer", "-c", "user.email=maintainer@example.org", "-c", "commit.gpgSign=false"]
    git = ["git", *who, "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", f"{case.project} {case.after}, with a bug of {case.before}"],
    ):
        _call([*git, *command], cwd=target, timeout=60)
    return target


def taken_back(before: str, after: str, *, only: Sequence[str]) -> str:
    """`after` with those places as `before` has them in which one of the pieces of text `only` occurs."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines: list[str] = []
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        differs = "".join([*old[start:end], *new[new_start:new_end]])
        is_the_bug = tag != "equal" and any(piece in differs for piece in only)
        lines += old[start:end] if is_the_bug else new[new_start:new_end]
    return "".join(lines)


def _call(command: Sequence[str], *, cwd: Path, timeout: float) -> None:
    done = subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")


# --- the model ----------------------------------------------------------------------------


def script_of(case: Case, repository: Path, after: Path) -> Script:
    """The words of a model that makes the fix of the later release once, and has nothing to add to it."""
    change = change_of_folders(repository, after, *case.paths)
    return solve(change, check=case.check, summary=case.fix)


# --- the run ------------------------------------------------------------------------------


async def tried(case: Case, archives: Path, folder: Path) -> Result:
    """One case from its archives to its result; all that it leaves is below `folder`."""
    before = await asyncio.to_thread(unpacked, case.project, case.before, archives)
    after = await asyncio.to_thread(unpacked, case.project, case.after, archives)
    repository = await asyncio.to_thread(repository_with_the_bug, case, before, after, folder / "repository")
    ticket = folder / "ticket.md"
    ticket.write_text(
        f"---\nkey: {case.key}\ntitle: {json.dumps(case.title)}\nlabels: [bug]\n---\n\n{case.ticket}", encoding="utf-8"
    )
    async with ScriptedModel(script_of(case, repository, after), log=folder / "model.log") as model:
        started = time.monotonic()
        exit_code = await _sdlc_run(folder, ticket, repository, model.base_url)
        seconds = round(time.monotonic() - started, 1)
    return _result(case, folder, seconds, exit_code)


async def _sdlc_run(folder: Path, ticket: Path, repository: Path, base_url: str) -> int | None:
    env = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    env |= {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "no-key-is-needed", "SDLC_MODEL": MODEL}
    command = [str(Path(sys.executable).with_name("sdlc")), "--data-dir", str(folder / "data")]
    command += ["run", "--ticket", str(ticket), "--repo", str(repository), "--auto-approve", "--json"]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            return await asyncio.wait_for(process.wait(), RUN_SECONDS)
        except TimeoutError:
            return None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def _result(case: Case, folder: Path, seconds: float, exit_code: int | None) -> Result:
    said = (folder / "stdout").read_text(encoding="utf-8", errors="replace").splitlines()
    summary = _json_object(said[-1]) if said else {}
    proof = summary.get("tests", {}).get("proof", {})
    noted = list(summary.get("warnings", ()))
    if not summary:
        noted = (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    return Result(
        project=case.project,
        releases=f"{case.before} → {case.after}",
        bug=case.bug,
        seconds=seconds,
        exit_code=exit_code,
        state=summary.get("state", "no summary"),
        fails_on_base=proof.get("fails_on_base", 0),
        passes_on_head=proof.get("passes_on_head", 0),
        coverage_percent=proof.get("coverage_percent"),
        findings={severity: count for severity, count in summary.get("findings", {}).items() if count},
        fix_rounds=summary.get("fix_rounds", 0),
        tests=summary.get("tests", {}),
        pull_request=summary.get("pull_request", {}).get("url") or "",
        noted=tuple(noted),
        not_verified=_not_verified(summary.get("pull_request", {}).get("url") or ""),
    )


def _not_verified(url: str) -> tuple[str, ...]:
    """The points under that heading of a local forge's pull request."""
    if not url.startswith("file://"):
        return ()
    text = Path(url.removeprefix("file://")).read_text(encoding="utf-8")
    section = text.partition("## Not verified\n")[2].partition("\n## ")[0]
    return tuple(line.removeprefix("- ") for line in section.splitlines() if line.startswith("- "))


def _json_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


# --- the table ----------------------------------------------------------------------------

_HEADINGS = (
    "project",
    "bug",
    "seconds",
    "state",
    "fails before",
    "passes now",
    "coverage",
    "findings",
    "noted",
    "not verified",
)


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    rows = [_HEADINGS, tuple("---" for _ in _HEADINGS), *(_row(result) for result in results)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _row(result: Result) -> tuple[str, ...]:
    coverage = result.coverage_percent
    return (
        f"{result.project} {result.releases}",
        result.bug,
        f"{result.seconds:.0f}",
        result.state if result.exit_code is not None else "stopped: out of time",
        str(result.fails_on_base),
        str(result.passes_on_head),
        "not measured" if coverage is None else f"{coverage:.0f} %",
        ", ".join(f"{count} {severity}" for severity, count in result.findings.items()) or "none",
        "; ".join(line.strip() for line in result.noted) or "nothing",
        str(len(result.not_verified)),
    )


async def _all(cases: Sequence[Case], archives: Path, folder: Path) -> list[Result]:
    results = []
    for case in cases:
        place = folder / f"{case.project}-{time.strftime('%H%M%S')}"
        place.mkdir(parents=True)
        print(f"{case.project}: {case.before} → {case.after}, in {place}", file=sys.stderr, flush=True)
        results.append(await tried(case, archives, place))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tried", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", action="append", choices=[case.project for case in CASES], help="may be repeated")
    parser.add_argument("--folder", type=Path, help="where archives, repositories and data go; default a temporary one")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="sdlc-tried-"))).absolute()
    archives = folder / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    cases = [case for case in CASES if not given.only or case.project in given.only]
    results = asyncio.run(_all(cases, archives, folder))
    print(table(results))
    if given.json:
        rows = [asdict(result) for result in results]
        given.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for result in results:
        if not result.is_proved:
            print(f"{result.project}: no pull request with a proof; see {folder}", file=sys.stderr)
    return 0 if all(result.is_proved for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
