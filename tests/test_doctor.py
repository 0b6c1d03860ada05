"""`sdlc doctor`: each fault that a person can make is named before a run meets it, and nothing is changed or shown."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from temporalio.worker import Worker

from sdlc.cli import doctor
from sdlc.cli.context import CONTEXT
from sdlc.cli.failures import exit_code_of
from sdlc.cli.preflight import check_engine, check_model
from sdlc.comment_commands import Verb
from sdlc.config import Settings
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.integrations.github import access
from sdlc.integrations.jira import permissions
from sdlc.runtime import diagnosis
from sdlc.runtime.client import connect, ensure_retention, ensure_search_attributes
from sdlc.runtime.dev_server import ServerRecord
from sdlc.runtime.diagnosis import diagnose, of_settings
from sdlc.runtime.diagnosis_temporal import Check
from sdlc.runtime.polling import ensure_poll_schedule, remove_poll_schedule
from sdlc.runtime.worker import workflow_runner
from sdlc.web import github_events
from tests.commands import Done
from tests.fakes.faults import Fault
from tests.fakes.github_server import PERMISSIONS, GitHubServer
from tests.fakes.jira_server import JiraServer
from tests.runtime_workflows import Waits, echo

MODEL_KEY = "sk-planted-model-key-1234567890"
HOOK = "planted-webhook-secret-1234567890"
ENGINE_KEY = "planted-engine-key-1234567890"

Changes = dict[str, Any]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, a machine on which nothing is set, and the usual time-outs made short."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("JIRA_URL", "JIRA_EMAIL", "JIRA_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(CONTEXT, "config", None)
    monkeypatch.setattr(CONTEXT, "data_dir", None)
    return folder


@pytest.fixture
def jira() -> Iterator[JiraServer]:
    with JiraServer("cloud") as server:
        server.add_issue("ACME-1", "Rounds half a cent down", labels=["ai-ready"])
        yield server


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        parcel = server.add_repository("acme/parcel", files={"a.py": "x = 1\n"}, collaborators={"bot": "write"})
        parcel.protect("main", contexts=["tests"])
        yield server


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    server = ScriptedModel(api_key=MODEL_KEY)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def values(tmp_path: Path, jira: JiraServer, github: GitHubServer, model: ScriptedModel) -> Changes:
    """A configuration with which all is well, as `sdlc.yaml` has it."""
    email, token = jira.login()
    return {
        "data_dir": str(tmp_path / "data"),
        "cache_dir": str(tmp_path / "cache"),
        "tracker": {"kind": "jira"},
        "jira": {"url": jira.url, "email": email, "token": token, "projects": ["ACME"], "webhook_secret": HOOK},
        "forge": {"kind": "github"},
        "github": {"base_url": github.url, "token": github.add_token("bot"), "webhook_secret": HOOK},
        "intake": {"repositories": [{"repository": "acme/parcel"}], "commanders": ["Maria"]},
        "people": [{"name": "Maria", "email": "maria@acme.example", "github": "maria", "jira": "5b10a"}],
        "llm": {"base_url": model.base_url, "api_key": MODEL_KEY, "name": MODEL},
        "engine": {"api_key": ENGINE_KEY},
        "run": {"approval": {"required": 1}},
        "sandbox": {"disk_bytes": 1024**2},
    }


def changed(values: Changes, **sections: Changes) -> Settings:
    """The settings, with other values in some sections."""
    return Settings(**{**values, **{name: {**values.get(name, {}), **more} for name, more in sections.items()}})


async def looked(settings: Settings, repository: str = "") -> list[Check]:
    return await diagnose(settings, model=check_model, engine=check_engine, repository=repository)


def of(checks: list[Check], name: str) -> Check:
    """The one check of this name."""
    found = [check for check in checks if check.name == name]
    assert len(found) == 1, checks
    return found[0]


def faults(checks: list[Check], name: str = "") -> list[str]:
    return [check.found for check in checks if check.state == "fault" and name in ("", check.name)]


def told(*arguments: str) -> Done:
    """The command within this process, by an app that has this one and another."""
    app = typer.Typer()
    doctor.register(app)
    app.command("other")(lambda: None)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = exit_code_of(lambda: app(["doctor", *arguments], prog_name="sdlc", standalone_mode=False))
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@contextlib.contextmanager
def hooked(status: int, body: bytes) -> Iterator[str]:
    """The address of a webhook that answers every message alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


# --- all together ------------------------------------------------------------------------------


async def test_with_everything_in_order_there_is_nothing_to_mend(
    values: Changes, temporal_settings: Settings, jira: JiraServer, github: GitHubServer, tmp_path: Path
) -> None:
    settings = changed(values).model_copy(update={"temporal": temporal_settings.temporal})
    client = await connect(settings)
    await ensure_search_attributes(client)
    queue = settings.temporal.task_queue
    async with Worker(
        client, task_queue=queue, workflows=[Waits], activities=[echo], workflow_runner=workflow_runner()
    ):
        before = {check.name: check for check in await looked(settings)}
        assert before["polling"].mend == "`sdlc serve --poll` makes it."
        await ensure_retention(client, 3)
        await ensure_poll_schedule(client, task_queue="nobody's", every_seconds=3_600)
        try:
            checks = await looked(settings)
        finally:
            await remove_poll_schedule(client)
    assert [check for check in checks if check.state != "ok"] == []
    assert [check.name for check in checks] == [
        *(
            "configuration",
            "temporal",
            "search attributes",
            "worker",
            "retention",
            "polling",
            "tracker",
            "forge",
            "forge acme/parcel",
        ),
        *("model", "notifications", "engine", "sandbox", "git", "data folder", "cache folder", "analysers"),
    ]
    assert of(checks, "worker").found.startswith("1 worker asks")
    assert all(check.mend == "" for check in checks)
    # It only asks.
    assert jira.changes() == []
    assert {method for method, _ in github.requests} == {"GET"}
    assert not (tmp_path / "data").exists()


async def test_a_check_that_crashes_or_hangs_keeps_no_other_from_its_word(
    values: Changes, jira: JiraServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "SECONDS", 2.0)
    monkeypatch.setattr(diagnosis, "_SERVICE_SECONDS", 4)
    jira.fail(Fault("hang", times=10))

    def crash(settings: Settings) -> None:
        raise KeyError("surprise")

    began = time.monotonic()
    checks = await diagnose(changed(values), model=check_model, engine=crash)
    assert time.monotonic() - began < 15
    assert "no answer within 2 s" in of(checks, "tracker").found
    assert of(checks, "engine").state == "fault"
    assert "KeyError" in of(checks, "engine").found
    assert of(checks, "model").state == "ok"
    assert of(checks, "sandbox").state == "ok"


# --- Temporal -----------------------------------------------------------------------------------


async def test_a_queue_that_nobody_works_at_is_told(values: Changes, temporal_settings: Settings) -> None:
    checks = await looked(changed(values).model_copy(update={"temporal": temporal_settings.temporal}))
    assert of(checks, "temporal").state == "ok"
    worker = of(checks, "worker")
    assert worker.state == "warning"
    assert temporal_settings.temporal.task_queue in worker.found
    assert "sdlc worker" in worker.mend


async def test_a_temporal_that_is_not_there_is_a_fault_with_its_address(values: Changes) -> None:
    address = f"127.0.0.1:{free_port()}"
    temporal = of(await looked(changed(values, temporal={"address": address})), "temporal")
    assert temporal.state == "fault"
    assert address in temporal.found
    assert temporal.mend


async def test_without_any_server_named_it_is_said_what_starts_one(values: Changes) -> None:
    temporal = of(await looked(changed(values)), "temporal")
    assert temporal.state == "warning"
    assert "sdlc dev" in temporal.mend


async def test_a_namespace_that_is_not_there_is_named(values: Changes, dev_server: ServerRecord) -> None:
    settings = changed(values, temporal={"address": dev_server.address, "namespace": "elsewhere"})
    temporal = of(await looked(settings), "temporal")
    assert temporal.state == "fault"
    assert "namespace elsewhere" in temporal.found


# --- Jira ---------------------------------------------------------------------------------------


async def test_a_wrong_address_of_jira_is_a_fault(values: Changes) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    (gone,) = faults(await looked(changed(values, jira={"url": nobody})), "tracker")
    assert nobody in gone
    with answering(200, b"<html>Log in</html>") as page:
        (other,) = faults(await looked(changed(values, jira={"url": page})), "tracker")
    assert "is not Jira" in other
    assert "jira.url" in other


async def test_a_wrong_token_of_jira_is_a_fault_and_is_not_shown(values: Changes) -> None:
    checks = await looked(changed(values, jira={"token": "planted-wrong-token"}))
    (said,) = faults(checks, "tracker")
    assert "refuses the token (401)" in said
    assert "planted-wrong-token" not in repr(checks)


async def test_a_missing_scope_of_oauth_is_named(values: Changes, jira: JiraServer) -> None:
    jira.users["bot"].scopes = ("read:jira-user",)
    bearer = jira.users["bot"].bearer
    checks = await looked(changed(values, jira={"url": jira.oauth_url, "email": "", "token": bearer}))
    (said,) = faults(checks, "tracker")
    assert "read:jira-work" in said
    assert bearer not in repr(checks)


async def test_each_missing_permission_of_jira_is_named(values: Changes, jira: JiraServer) -> None:
    jira.revoke("bot", "TRANSITION_ISSUES", "ASSIGN_ISSUES")
    checks = [check for check in await looked(changed(values)) if check.name == "tracker"]
    said = " ".join(check.found for check in checks)
    assert all(check.state == "fault" and check.mend for check in checks)
    assert "Transition Issues" in said
    assert "Assign Issues" in said
    assert "Add Comments" not in said


async def test_a_permission_of_jira_that_can_be_done_without_is_a_warning(values: Changes, jira: JiraServer) -> None:
    jira.revoke("bot", "LINK_ISSUES")
    tracker = of(await looked(changed(values)), "tracker")
    assert tracker.state == "warning"
    assert "Link Issues" in tracker.found


async def test_a_project_that_is_not_there_is_named(values: Changes) -> None:
    checks = await looked(changed(values, jira={"projects": ["ACME", "NOPE"]}))
    assert any("NOPE" in said for said in faults(checks, "tracker"))


async def test_a_limit_that_passes_by_itself_is_a_warning(values: Changes, jira: JiraServer) -> None:
    jira.fail(Fault("status", status=429, headers={"Retry-After": "7"}, times=3))
    tracker = of(await looked(changed(values)), "tracker")
    assert tracker.state == "warning"
    assert "7 s" in tracker.mend


# --- GitHub -------------------------------------------------------------------------------------


async def test_a_wrong_token_of_github_is_one_fault(values: Changes, github: GitHubServer) -> None:
    routes = [{"repository": f"acme/{name}"} for name in ("parcel", "ledger", "mail")]
    settings = changed(values, github={"token": "ghp_0000000000000000000000planted"}, intake={"repositories": routes})
    checks = await looked(settings)
    (said,) = faults(checks, "forge")
    assert "refused the token" in said
    assert not [check for check in checks if check.name.startswith("forge ")]
    assert "planted" not in repr(checks)


async def test_a_wrong_address_of_github_is_a_fault(values: Changes) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    (said,) = faults(await looked(changed(values, github={"base_url": nobody})), "forge")
    assert "github.base_url" in said


async def test_a_missing_scope_is_named(values: Changes, github: GitHubServer) -> None:
    checks = await looked(changed(values, github={"token": github.add_token("bot", scopes=("read:user",))}))
    said = " ".join(check.found for check in checks if check.name.startswith("forge") and check.state == "fault")
    assert re.search(r"\brepo\b", said)
    assert "read:user" in said


async def test_a_missing_permission_of_a_fine_grained_token_is_named(values: Changes, github: GitHubServer) -> None:
    token = github.add_fine_grained_token("bot", permissions={**PERMISSIONS, "contents": "read"})
    checks = await looked(changed(values, github={"token": token}))
    said = " ".join(check.found for check in checks if check.name.startswith("forge") and check.state == "fault")
    assert "contents" in said


async def test_what_a_run_gets_on_without_is_a_warning(values: Changes, github: GitHubServer) -> None:
    github.add_repository("acme/free", files={"a": "b"}, collaborators={"bot": "write"})
    permissions = {name: level for name, level in PERMISSIONS.items() if name not in ("actions", "checks")}
    token = github.add_fine_grained_token("bot", permissions=permissions)
    checks = await looked(changed(values, github={"token": token}), repository="acme/free")
    found = {check.found: check.state for check in checks if check.name == "forge acme/free"}
    assert set(found.values()) == {"warning"}, found
    said = " ".join(found)
    assert "actions (read)" in said
    assert "Branch protection of main" in said


@pytest.mark.parametrize(
    ("name", "words"), [("acme/gone", "acme/gone"), ("acme/old", "archived"), ("acme/new", "empty")]
)
async def test_a_repository_that_cannot_be_used_is_named(
    values: Changes, github: GitHubServer, name: str, words: str
) -> None:
    github.add_repository("acme/old", files={"a": "b"}, collaborators={"bot": "write"}).archive()
    github.add_repository("acme/new", files=None, collaborators={"bot": "write"})
    checks = await looked(changed(values), repository=name)
    told_of = [check for check in checks if check.name == f"forge {name}"]
    assert told_of
    assert all(check.state == "fault" and check.mend for check in told_of)
    assert words in " ".join(check.found for check in told_of)
    assert of(checks, "forge acme/parcel").state == "ok"


async def test_more_repositories_than_can_be_asked_about_are_counted(values: Changes, github: GitHubServer) -> None:
    routes = [{"repository": f"acme/r{number}", "projects": ["ACME"]} for number in range(25)]
    checks = await looked(changed(values, intake={"repositories": routes}))
    assert len([check for check in checks if check.name.startswith("forge acme/")]) == 20
    assert any("20 of 25" in check.found for check in checks)


# --- the rest of the surroundings ------------------------------------------------------------


async def test_a_model_that_refuses_the_key_is_a_fault(values: Changes) -> None:
    with answering(401, b"{}") as url:
        model = of(await looked(changed(values, llm={"base_url": url})), "model")
    assert model.state == "fault"
    assert "refuses the key (401)" in model.found


async def test_an_engine_that_is_not_installed_is_a_fault(values: Changes) -> None:
    engine = of(await looked(changed(values, engine={"name": "aider"})), "engine")
    assert engine.state == "fault"
    assert "aider" in engine.found


async def test_a_sandbox_that_protects_nothing_is_a_warning(values: Changes) -> None:
    assert of(await looked(changed(values, sandbox={"kind": "none"})), "sandbox").state == "warning"


async def test_a_container_without_an_image_is_a_fault(values: Changes) -> None:
    sandbox = of(await looked(changed(values, sandbox={"kind": "docker"})), "sandbox")
    assert sandbox.state == "fault"
    assert sandbox.mend


async def test_little_room_on_the_disk_is_told(values: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = changed(values, sandbox={"disk_bytes": 2**62})
    assert of(await looked(settings), "data folder").state == "warning"
    monkeypatch.setattr(diagnosis, "LEAST_FREE", 2**62)
    assert of(await looked(settings), "cache folder").state == "fault"


async def test_an_old_git_is_a_fault(values: Changes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\necho git version 2.30.1\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    git = of(await looked(changed(values)), "git")
    assert git.state == "fault"
    assert "2.30.1" in git.found
    assert "2.38" in git.mend


async def test_channels_are_asked_and_one_that_can_not_be_used_keeps_no_other_from_its_word(values: Changes) -> None:
    assert of(await looked(changed(values)), "notifications").state == "ok"
    with hooked(403, b"invalid_token") as gone, hooked(400, b"no_text") as good:
        channels = [
            {"name": "broken", "url": "nonsense"},
            {"name": "gone", "slack_webhook": f"{gone}/planted-hook"},
            {"name": "good", "slack_webhook": f"{good}/planted-hook"},
        ]
        checks = await looked(changed(values, notify={"channels": channels}))
        notifications = of(checks, "notifications")
        fine = of(await looked(changed(values, notify={"channels": channels[2:]})), "notifications")
    assert notifications.state == "fault"
    assert "The channel gone does not take messages any more (403 invalid_token)" in notifications.found
    assert "notify.channels" in notifications.mend
    assert any("notification channel broken" in said for said in faults(checks, "configuration"))
    assert (fine.state, "good" in fine.found) == ("ok", True)
    assert "planted" not in repr(checks)


async def test_a_channel_that_hangs_leaves_time_for_what_is_known_of_the_others(
    values: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "SECONDS", 8.0)
    monkeypatch.setattr(diagnosis, "_SERVICE_SECONDS", 2)
    with socket.socket() as silent, hooked(403, b"invalid_token") as gone:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        channels = [
            {"name": "silent", "slack_webhook": f"http://127.0.0.1:{silent.getsockname()[1]}/x"},
            {"name": "gone", "slack_webhook": gone},
        ]
        checks = await looked(changed(values, notify={"channels": channels, "timeout_seconds": 100}))
    said = faults(checks, "notifications")
    assert len(said) == 2
    assert "silent does not answer within 2 s" in said[0]
    assert "gone does not take messages" in said[1]


async def test_doctor_tells_the_faults_of_the_settings_that_keep_a_worker_from_starting(values: Changes) -> None:
    approvals = [{"repositories": ["acme/*"], "approvers": ["@nobody"]}]
    channels = [{"name": "team", "slack_webhook": "env:NOPE"}]
    web = {"host": "0.0.0.0", "sign_in": {"kind": "none"}}
    settings = Settings(**{**values, "approvals": approvals, "notify": {"channels": channels}, "web": web})
    checks = await looked(settings)
    said = faults(checks, "configuration")
    assert len(said) == 3
    for words in ("names @nobody", "needs the variable NOPE", "would let in everybody"):
        assert any(words in one for one in said), said
    assert of(checks, "notifications").state == "warning"


# --- the settings against each other ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"jira": {"url": ""}}, "fault", "jira.url is not set"),
        ({"jira": {"token": None}}, "fault", "jira.token is not set"),
        ({"jira": {"url": "https://acme.atlassian.net", "email": ""}}, "fault", "jira.email"),
        ({"jira": {"url": "http://jira.acme.example"}}, "warning", "in the clear"),
        ({"jira": {"verify": False}}, "warning", "jira.verify"),
        ({"jira": {"statuses": {"doing": "Doing"}}}, "fault", "jira.statuses has doing"),
        ({"jira": {"projects": ["NEW"]}, "intake": {"repositories": [{"repository": "a/b", "projects": ["ACME"]}]}},
         "fault", "the project NEW"),
        ({"github": {"token": None}}, "fault", "there is no token"),
        ({"github": {"token": None, "app_id": "1", "private_key_file": "/nowhere/key.pem"}}, "fault",
         "/nowhere/key.pem"),
        ({"tracker": {"kind": "github"}}, "fault", "github.issues names no repository"),
        ({"tracker": {"kind": "github"}, "github": {"issues": ["acme/parcel"]},
          "intake": {"commander_groups": ["leads"]}}, "fault", "`leads`"),
        ({"intake": {"repositories": []}}, "fault", "intake.repositories"),
        ({"intake": {"repositories": [{"repository": "a/all"}, {"repository": "a/b", "labels": ["x"]}]}},
         "warning", "a/all are never reached"),
        ({"intake": {"commanders": []}}, "warning", "names no commanders"),
        ({"run": {"approval": {"required": 2, "approvers": ["maria"]}}}, "fault", "2 approvals are required"),
        ({"run": {"approval": {"required": 2, "allow_starter": True}}}, "warning", "may be that of whoever started"),
        ({"jira": {"webhook_secret": "short"}}, "warning", "jira.webhook_secret is shorter"),
        ({"web": {"host": "0.0.0.0"}, "github": {"webhook_secret": None}}, "warning", "/webhooks/github"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_told(values: Changes, changes: Changes, state: str, words: str) -> None:
    checks = of_settings(changed(values, **changes))
    (check,) = [check for check in checks if words in check.found]
    assert (check.name, check.state) == ("configuration", state)
    assert check.mend


@pytest.mark.parametrize(
    ("people", "words"),
    [
        ([], "people is empty"),
        ([{"name": "Maria", "jira": "5b10a"}], "no github login of Maria"),
        ([{"name": "Maria", "github": "m"}, {"name": "Max", "github": "M"}], "m stands in 2 entries"),
    ],
)
def test_people_that_cannot_be_told_apart_are_told(values: Changes, people: list[Changes], words: str) -> None:
    assert any(words in check.found for check in of_settings(Settings(**{**values, "people": people})))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"run": {"close_on": "merge", "merge": False}},
        {"web": {"host": "0.0.0.0"}},
        {"tracker": {"kind": "github"}, "github": {"issues": ["acme/parcel"]}, "intake": {"repositories": []}},
        {"tracker": {"kind": "local"}, "forge": {"kind": "local"}, "intake": {}, "jira": {"url": ""}},
    ],
)
def test_settings_that_go_together_are_left_alone(values: Changes, changes: Changes) -> None:
    assert [check.state for check in of_settings(changed(values, **changes))] == ["ok"]


def test_one_name_twice_in_a_person_is_one_person(values: Changes) -> None:
    people = [{"name": "maria", "github": "Maria", "jira": "maria"}]
    assert [check.state for check in of_settings(Settings(**{**values, "people": people}))] == ["ok"]


# --- the command --------------------------------------------------------------------------------


def write(here: Path, values: Changes) -> None:
    (here / "sdlc.yaml").write_text(yaml.safe_dump(values))


def test_warnings_alone_are_no_failure(here: Path, values: Changes) -> None:
    write(here, values)
    done = told()
    assert done.code == 0, done.out
    assert re.search(r"^! warning +temporal +No Temporal server is running\.$", done.out, re.MULTILINE)
    assert re.search(r"^ +→ `sdlc run`", done.out, re.MULTILINE)
    assert done.out.rstrip().endswith("No fault, 1 warning.")
    assert "\x1b" not in done.out


def test_a_fault_is_exit_code_1_and_says_so_without_colour(here: Path, values: Changes) -> None:
    write(here, {**values, "engine": {"name": "aider"}})
    done = told("--repo", "acme/gone")
    assert done.code == 1
    assert re.search(r"^✗ fault +engine ", done.out, re.MULTILINE)
    assert re.search(r"^✗ fault +forge acme/gone ", done.out, re.MULTILINE)
    assert re.search(r"^✓ ok +forge acme/parcel ", done.out, re.MULTILINE)


def test_json_is_a_list_of_checks(here: Path, values: Changes) -> None:
    write(here, values)
    done = told("--json")
    assert done.code == 0
    assert done.err == ""
    assert all(list(check) == ["name", "state", "found", "mend"] for check in done.json)
    assert all(isinstance(value, str) for check in done.json for value in check.values())
    assert {check["state"] for check in done.json} == {"ok", "warning"}


@pytest.mark.parametrize("text", ["tracker: {kind: jora}\n", "tracker: [", "trackers: {}\n"])
def test_a_configuration_that_cannot_be_read_is_exit_code_2(here: Path, text: str) -> None:
    (here / "sdlc.yaml").write_text(text)
    done = told("--json")
    assert (done.code, done.out) == (2, "")
    assert "sdlc.yaml" in done.last


def test_no_secret_is_ever_shown(
    here: Path, values: Changes, jira: JiraServer, github: GitHubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = values["jira"]["token"], values["github"]["token"]
    secrets = [*tokens, MODEL_KEY, HOOK, ENGINE_KEY]
    planted = [*secrets, "planted-in-an-address"]
    values["jira"]["url"] = values["jira"]["url"].replace("://", "://me:planted-in-an-address@")
    values["intake"]["repositories"].append({"repository": "https://me:planted-in-an-address@github.example/a/b"})
    write(here, values)
    # A service that gives back what it was sent, and a fault of ours that quotes it.
    echoed = f"{' '.join(secrets)} {values['jira']['url']}"
    jira.fail(Fault("status", status=400, message=echoed, times=20))
    github.fail(Fault("status", status=422, message=echoed, times=20))

    async def quoting(settings: Settings) -> None:
        raise RuntimeError(echoed)

    monkeypatch.setattr("sdlc.cli.preflight.check_model", quoting)
    for arguments in ((), ("--json",)):
        done = told(*arguments)
        assert done.code == 1
        assert "RuntimeError" in done.out
        assert [secret for secret in planted if secret in done.out + done.err] == []


def test_what_a_service_says_does_not_steer_the_terminal(here: Path, values: Changes, jira: JiraServer) -> None:
    write(here, values)
    jira.fail(Fault("status", status=400, message="\x1b[2Jgone [bold]not markup[/bold]", times=20))
    done = told()
    assert "\x1b" not in done.out
    assert "[bold]not markup[/bold]" in done.out


def test_json_survives_what_json_cannot_hold(here: Path, values: Changes) -> None:
    write(here, {**values, "data_dir": str(here / "data")})
    assert json.loads(told("--json", "--repo", "acme/\u2028ünïcode").out)


# --- docs/integrations.md ----------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "integrations.md").read_text("utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a line that begins so."""
    rows: list[list[str]] = []
    for line in PAGE[PAGE.index(heading) :].split("\n")[1:]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def test_the_examples_of_the_page_are_configurations_with_which_only_secrets_are_missing() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        found = of_settings(Settings(**yaml.safe_load(example)))
        expected = r"token|no secret|private key|people is empty|agree with each other"
        assert [check.found for check in found if not re.search(expected, check.found)] == []


def test_every_setting_that_the_page_names_is_one() -> None:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    named = set(re.findall(r"`(tracker|forge|jira|github|intake|run|web)\.([a-z_]+)", PAGE))
    assert len(named) > 30
    assert [(section, key) for section, key in named if key not in getattr(sections[section], "model_fields", {})] == []


def test_the_page_names_the_events_permissions_and_commands_of_the_code() -> None:
    events = {name for row in table("content type `application/json`") for name in re.findall(r"`([a-z_]+)`", row[1])}
    assert events == set(github_events._READERS)
    needed = [row[0] for row in table("An API token of Cloud and a personal")]
    assert needed[:-1] == list(permissions._PERMISSIONS.values())
    commands = {row[0].strip("`").split()[1] for row in table("A command is a line")}
    assert commands == {verb.value for verb in Verb}
    github = " ".join(row[2] for row in table("The account (or App) needs write access"))
    for need in access._NEEDS:
        assert (
            f"{need.permission.replace('_', ' ').replace('statuses', 'commit statuses')}: {need.level}"
            in github.lower()
        )


def test_every_fault_that_the_page_explains_is_one_that_is_said() -> None:
    code = " ".join(path.read_text("utf-8") for path in (ROOT / "sdlc").rglob("*.py"))
    joined = " ".join(re.sub(r'"\s*\n\s*f?"', "", code).replace("\\'", "'").split())
    said = [cell[1:].split('"')[0] for cell, _ in table("## Faults, and what to do")]
    assert len(said) > 15
    assert [words for words in said if words not in joined] == []
