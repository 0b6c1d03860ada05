"""Fetching engines with the real uv and npm, from an index of ours; what is told when it can't be done."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdlc.cli import engines as command
from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError, EngineUnusable, SandboxUnavailable, ServiceUnavailable
from sdlc.integrations import engine_installs
from sdlc.integrations.engine_installs import Installation, Installations, Package, platform_name
from sdlc.integrations.sandbox import Sandbox, open_sandbox

WHEEL = Package("wheely", "uv", "wheely-engine", "1.2.3", "bin/wheely", python=">=3.10")
NPM = Package(
    "noddy",
    "npm",
    "@acme/noddy-{platform}",
    "1.2.3",
    "node_modules/@acme/noddy-{platform}/vendor/*/noddy",
    release="{version}-{platform}",
)
PROGRAM = '#!/bin/sh\n[ "$1" = --version ] && echo "noddy 1.2.3" && exit\necho "asked $@"\n'
POSTINSTALL = "touch scripts-were-run"


# --- an index of our own --------------------------------------------------------------------


def make_wheel(folder: Path, version: str) -> None:
    code = f"import sys\n\ndef main():\n    print('wheely {version} on', sys.prefix)\n"
    info = f"wheely_engine-{version}.dist-info"
    files = {
        "wheely_engine.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: wheely-engine\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nwheely = wheely_engine:main\n",
    }
    with zipfile.ZipFile(folder / f"wheely_engine-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))


def tarball(program: str) -> bytes:
    name = NPM.filled(NPM.package, "1.2.3")
    manifest = {"name": name, "version": NPM.filled(NPM.release, "1.2.3"), "scripts": {"postinstall": POSTINSTALL}}
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for path, text, mode in (("package.json", json.dumps(manifest), 0o644), ("vendor/any/noddy", program, 0o700)):
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(held.getvalue(), mtime=0)


class Registry:
    """Enough of an npm registry for one package."""

    def __init__(self) -> None:
        self.program = PROGRAM
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                packed = tarball(registry.program)
                body = packed if self.path.endswith(".tgz") else json.dumps(registry.document(packed)).encode()
                self.send_response(200 if "noddy" in self.path else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def document(self, packed: bytes) -> dict[str, object]:
        name, version = NPM.filled(NPM.package, "1.2.3"), NPM.filled(NPM.release, "1.2.3")
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
        dist = {"tarball": f"{self.url}/noddy.tgz", "integrity": integrity}
        return {
            "name": name,
            "dist-tags": {"latest": version},
            "versions": {version: {"name": name, "version": version, "dist": dist}},
        }


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    made = Registry()
    monkeypatch.setenv("npm_config_registry", made.url)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.2.3", "2.0.0"):
        make_wheel(folder, version)
    for name, value in {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(folder), "UV_CACHE_DIR": str(tmp_path / "uv")}.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
async def sandbox() -> Sandbox:
    found = open_sandbox(SandboxSettings())
    try:
        await found.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    return found


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A cache in a folder that nobody else gets into, under a umask that gives nothing away."""
    before = os.umask(0o077)
    folder = tmp_path / "closed" / "cache"
    folder.mkdir(parents=True, mode=0o700)
    yield folder
    os.umask(before)


async def run_in(sandbox: Sandbox, installation: Installation, workspace: Path, *arguments: str) -> str:
    workspace.mkdir(exist_ok=True)
    result = await sandbox.run(
        (str(installation.executable), *arguments), workspace=workspace, timeout=30, mounts=installation.mounts
    )
    assert result.exit_code == 0, result.output
    return result.output


# --- what is installed runs ------------------------------------------------------------------


async def test_a_python_engine_runs_in_the_sandbox_wherever_the_cache_lies(
    wheels: Path, sandbox: Sandbox, closed: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    installation = await Installations(closed, sandbox).install(WHEEL, say=said.append)
    assert installation.folder == closed / "engines/wheely/1.2.3"
    assert f"wheely 1.2.3 on {installation.folder}" in await run_in(sandbox, installation, tmp_path / "workspace")
    assert installation.says.startswith("wheely 1.2.3")
    assert installation.bytes > 10_000
    assert said == ["Fetching wheely-engine==1.2.3 with uv; this takes a minute or two."]


async def test_a_program_from_npm_runs_in_the_sandbox_and_no_install_script_ever_ran(
    registry: Registry, sandbox: Sandbox, closed: Path, tmp_path: Path
) -> None:
    installation = await Installations(closed, sandbox).install(NPM)
    assert await run_in(sandbox, installation, tmp_path / "workspace", "x") == "asked x\n"
    assert installation.version == "1.2.3"
    assert not list(installation.folder.rglob("scripts-were-run"))


async def test_everybody_can_read_what_is_installed_and_nobody_else_write_it(registry: Registry, closed: Path) -> None:
    installation = await Installations(closed).install(NPM)
    for path in (installation.folder, *installation.folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            assert mode & 0o044 == 0o044, path
            assert not mode & 0o022, path
    assert installation.executable.stat().st_mode & 0o055 == 0o055


async def test_a_second_install_fetches_nothing(registry: Registry, tmp_path: Path) -> None:
    installations = Installations(tmp_path / "cache")
    first = await installations.install(NPM)
    asked = len(registry.asked)
    assert await installations.install(NPM) == first == installations.find(NPM)
    assert len(registry.asked) == asked


async def test_two_at_once_fetch_once(registry: Registry, tmp_path: Path) -> None:
    said: list[str] = []
    one, other = (Installations(tmp_path / "cache") for _ in range(2))
    found = await asyncio.gather(one.install(NPM, say=said.append), other.install(NPM, say=said.append))
    assert found[0] == found[1]
    assert len(said) == 1


async def test_versions_lie_beside_one_another_and_go_one_by_one(wheels: Path, tmp_path: Path) -> None:
    installations = Installations(tmp_path / "cache")
    await installations.install(WHEEL)
    await installations.install(WHEEL, "2.0.0")
    assert installations.versions(WHEEL) == ["1.2.3", "2.0.0"]
    assert installations.find(WHEEL, "2.0.0").version == "2.0.0"
    assert await installations.remove(WHEEL, "1.2.3") == ["1.2.3"]
    assert installations.versions(WHEEL) == ["2.0.0"]
    assert await installations.remove(WHEEL) == ["2.0.0"]
    assert await installations.remove(WHEEL) == []


# --- what a package brings is not run ---------------------------------------------------------


def make_sdist(folder: Path, ran: Path) -> None:
    """A package that has to be built, by code of its own."""
    code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\ndef build_wheel(*_): raise SystemExit\n"
    build = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    about = "Metadata-Version: 2.1\nName: built\nVersion: 1.2.3\n"
    with tarfile.open(folder / "built-1.2.3.tar.gz", "w:gz") as archive:
        for name, text in {"pyproject.toml": build, "own.py": code, "PKG-INFO": about}.items():
            entry = tarfile.TarInfo(f"built-1.2.3/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


async def test_a_package_that_has_to_be_built_is_refused(wheels: Path, tmp_path: Path) -> None:
    make_sdist(wheels, tmp_path / "ran")
    with pytest.raises(EngineUnusable, match=r"`wheely` can't be fetched, uv failed: .*no usable wheels"):
        await Installations(tmp_path / "cache").install(replace(WHEEL, package="built"))
    assert not (tmp_path / "ran").exists()


async def test_code_that_runs_when_python_starts_does_not_while_it_is_installed(wheels: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with zipfile.ZipFile(wheels / "wheely_engine-1.2.3-py3-none-any.whl", "a") as wheel:
        wheel.writestr("now.pth", f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
        wheel.writestr("no_python.py", "this is none\n")
    installation = await Installations(tmp_path / "cache").install(WHEEL)
    assert not ran.exists()
    assert list(installation.folder.rglob("wheely_engine.*.pyc"))


async def test_uv_and_npm_see_what_leads_to_an_index_and_nothing_else_of_the_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owner, tools = tmp_path / "owner", tmp_path / "tools"
    for folder in (owner, tools):
        folder.mkdir()
    (owner / ".npmrc").write_text("registry=http://127.0.0.1:9\n")
    (tools / "npm").write_text(f'#!/bin/sh\nenv > "{tmp_path}/seen"\ntouch "$HOME/x"\nexit 3\n')
    (tools / "npm").chmod(0o755)
    for name in list(os.environ):
        monkeypatch.delenv(name)
    wanted = {"PATH": f"{tools}:/usr/bin:/bin", "HTTPS_PROXY": "http://p", "SSL_CERT_FILE": "/c", "LANG": "C"}
    wanted |= {"UV_INDEX_URL": "http://i", "PIP_INDEX_URL": "http://i", "npm_config_registry": "http://r"}
    hidden = {"SDLC_LLM__API_KEY": "secret", "SSH_AUTH_SOCK": "/s", "UV_PUBLISH_TOKEN": "t", "MY_PATH": "x", "A": "b"}
    for name, value in {**wanted, **hidden, "HOME": str(owner)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EngineUnusable, match="npm failed"):
        await Installations(tmp_path / "cache").install(NPM)
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert {name: seen.get(name) for name in wanted} == wanted
    assert seen["npm_config_userconfig"] == str(owner / ".npmrc")
    assert set(seen) - set(wanted) <= {"HOME", "PWD", "_", "SHLVL", "npm_config_userconfig", "UV_PYTHON_INSTALL_DIR"}
    assert seen["UV_PYTHON_INSTALL_DIR"] == str(owner / ".local/share/uv/python")
    assert seen["HOME"] != str(owner)
    assert not Path(seen["HOME"]).exists()


# --- what is not there -----------------------------------------------------------------------


def test_what_is_not_installed_is_said_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(EngineUnusable) as told:
        Installations(tmp_path).find(WHEEL)
    assert str(told.value) == (
        "`wheely` 1.2.3 is not installed on this worker. Run `sdlc engines install wheely` there, or set engine.name."
    )


async def test_another_version_than_the_wanted_one_is_named_with_it(wheels: Path, tmp_path: Path) -> None:
    installations = Installations(tmp_path)
    await installations.install(WHEEL)
    with pytest.raises(EngineUnusable) as told:
        installations.find(WHEEL, "2.0.0")
    assert str(told.value) == (
        "`wheely` 2.0.0 is not installed on this worker; 1.2.3 is. "
        "Run `sdlc engines install wheely --version 2.0.0` there, set engine.version, or set engine.name."
    )


@pytest.mark.parametrize("version", ["../../etc", "latest", "1.0 --registry=http://x", "1/2", "-1"])
def test_a_version_that_is_none_gets_neither_into_a_path_nor_a_command(version: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"can't be a version of `wheely`; name a whole one, such as 1\.2\.3"):
        Installations(tmp_path).find(WHEEL, version)


async def test_an_installation_that_was_cut_off_is_none_and_is_made_anew(registry: Registry, tmp_path: Path) -> None:
    installations = Installations(tmp_path)
    whole = await installations.install(NPM)
    (whole.folder / "installed.json").unlink()
    with pytest.raises(EngineUnusable, match="is not installed"):
        installations.find(NPM)
    assert await installations.install(NPM) == whole


async def test_a_program_that_is_gone_is_said_and_fetched_again(registry: Registry, tmp_path: Path) -> None:
    installations = Installations(tmp_path)
    whole = await installations.install(NPM)
    whole.executable.unlink()
    with pytest.raises(EngineUnusable, match=r"`noddy` 1.2.3 can't be started: .*noddy is gone. Run `sdlc engines"):
        installations.find(NPM)
    assert (await installations.install(NPM)).executable.exists()


# --- what can't be fetched -------------------------------------------------------------------


async def test_a_version_that_the_index_has_not_is_told_in_the_tools_words(wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineUnusable, match=r"`wheely` can't be fetched, uv failed: .*wheely-engine==9\.9\.9"):
        await Installations(tmp_path).install(WHEEL, "9.9.9")
    assert list((tmp_path / "engines/wheely").iterdir()) == [tmp_path / "engines/wheely/9.9.9.lock"]


async def test_a_package_that_the_registry_has_not_is_told_in_the_tools_words(
    registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(EngineUnusable, match=r"`noddy` can't be fetched, npm failed: .*404"):
        await Installations(tmp_path).install(replace(NPM, package="@acme/nobody"))


async def test_an_index_that_is_not_reached_is_worth_another_try(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    with pytest.raises(
        ServiceUnavailable, match=r"`noddy` can't be fetched, the package index isn't reached: .*REFUSED"
    ):
        await Installations(tmp_path).install(NPM)


async def test_a_program_that_does_not_start_is_not_kept(registry: Registry, sandbox: Sandbox, tmp_path: Path) -> None:
    registry.program = "#!/bin/sh\necho no libraries for me >&2\nexit 3\n"
    installations = Installations(tmp_path, sandbox)
    with pytest.raises(EngineUnusable, match=r"doesn't say its version in the sandbox \(exit code 3\): no libraries"):
        await installations.install(NPM)
    assert installations.versions(NPM) == []


async def test_a_program_that_says_another_version_is_not_kept(
    registry: Registry, sandbox: Sandbox, tmp_path: Path
) -> None:
    registry.program = "#!/bin/sh\necho noddy 1.2.4\n"
    with pytest.raises(EngineUnusable, match=r"was fetched but doesn't say its version .* noddy 1\.2\.4"):
        await Installations(tmp_path, sandbox).install(NPM)


async def test_a_package_without_a_program_for_this_machine_is_told(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(EngineUnusable, match=f"has no program for {platform_name()}"):
        await Installations(tmp_path).install(replace(NPM, executable="bin/elsewhere"))


async def test_a_missing_npm_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnusable, match=r"`noddy` is fetched with npm, which is missing; install Node\.js"):
        await Installations(tmp_path).install(NPM)


async def test_a_missing_uv_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine_installs, "toolchain_mounts", lambda: ())
    with pytest.raises(EngineUnusable, match="fetched with uv, which is missing; run `make setup`"):
        await Installations(tmp_path).install(WHEEL)


async def test_one_that_is_cancelled_leaves_nothing_behind(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(Installations(tmp_path).install(NPM, say=lambda line: begun.set()))
    async with asyncio.timeout(20):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [path.name for path in (tmp_path / "engines/noddy").iterdir()] == ["1.2.3.lock"]


# --- the command line ------------------------------------------------------------------------


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.setenv("SDLC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def app() -> object:
    import typer

    made = typer.Typer()
    command.register(made)
    made.command("another")(lambda: None)
    return made


def test_the_table_has_every_engine_and_what_is_installed(line: CliRunner) -> None:
    result = line.invoke(app(), ["engines"])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    rows = {row.split()[0]: row for row in result.output.splitlines()}
    assert set(rows) >= {"agent", "aider", "goose", "codex", "opencode", "claude", "mini-swe-agent", "command"}
    assert "0.86.2" in rows["aider"]
    assert rows["aider"].split()[-1] == "no"


def test_the_list_as_json_is_one_document(line: CliRunner, tmp_path: Path) -> None:
    folder = tmp_path / "cache/engines/codex/0.1.0"
    folder.mkdir(parents=True)
    (folder / "installed.json").write_text('{"executable":"x","says":"","bytes":5,"python":""}')
    rows = {row["name"]: row for row in json.loads(line.invoke(app(), ["engines", "--json"]).output)}  # type: ignore[arg-type]
    assert rows["claude"]["wire"] == "messages"
    assert rows["claude"]["installed"] == []
    broken = rows["codex"]["installed"][0]
    assert broken["version"] == "0.1.0"
    assert "is gone" in broken["trouble"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("agent", "`agent` is built in; there is nothing to install or remove."),
        ("command", "`command` is a program of your own, named by engine.command"),
        ("aidr", "There is no engine `aidr`; there are aider, goose"),
    ],
)
@pytest.mark.parametrize("verb", ["install", "remove"])
def test_what_can_not_be_installed_is_told(line: CliRunner, verb: str, name: str, message: str) -> None:
    result = line.invoke(app(), ["engines", verb, name])  # type: ignore[arg-type]
    assert isinstance(result.exception, ConfigurationError)
    assert message in str(result.exception)


def test_removing_what_is_not_there_is_no_fault(line: CliRunner) -> None:
    result = line.invoke(app(), ["engines", "remove", "goose"])  # type: ignore[arg-type]
    assert (result.exit_code, result.output) == (0, "goose was not installed.\n")
