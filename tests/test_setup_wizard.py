"""`sdlc setup`: few questions, each answer tried at once on real servers, one file without a secret, or none at all."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

from sdlc.cli.setup_file import Draft
from sdlc.config import Settings, load
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.runtime.client import connect
from sdlc.runtime.dev_server import SEARCH_ATTRIBUTES, ServerRecord
from tests.commands import AtTerminal, Done, at_terminal, running, sdlc
from tests.fakes.github_server import GitHubServer
from tests.fakes.jira_server import JiraServer
from tests.test_doctor import answering

MODEL_KEY = "sk-planted-model-key-1234567890"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("JIRA_URL", "JIRA_EMAIL", "JIRA_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SDLC_CACHE_DIR", str(tmp_path / "cache"))
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


def refused(done: Done, *words: str, code: int = 2) -> None:
    assert done.code == code, done
    for word in words:
        assert word in done.last, done.err
    assert not Path("sdlc.yaml").exists()


def written() -> Settings:
    return load(Path("sdlc.yaml"))


def whole(
    jira: JiraServer, github: GitHubServer, model: ScriptedModel, server: ServerRecord, namespace: str = "default"
) -> list[str]:
    """The options with which all is well."""
    return [
        *("setup", "--yes", "--tracker", "jira", "--jira-url", jira.url, "--jira-email", jira.login()[0]),
        *("--jira-project", "ACME", "--forge", "github", "--github-url", github.url, "--repo", "acme/parcel"),
        *("--model", MODEL, "--model-url", model.base_url, "--temporal", server.address, "--namespace", namespace),
    ]


def test_without_questions_all_is_tried_and_written_without_a_secret(
    jira: JiraServer,
    github: GitHubServer,
    model: ScriptedModel,
    dev_server: ServerRecord,
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
) -> None:
    secrets = {"JIRA_TOKEN": jira.login()[1], "GITHUB_TOKEN": github.add_token("bot"), "OPENAI_API_KEY": MODEL_KEY}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    done = sdlc(*whole(jira, github, model, dev_server))
    assert done.code == 0, done.err
    for what in ("The tracker", "The forge", "The model", "Temporal"):
        assert f"✓ {what} works" in done.err
    text = Path("sdlc.yaml").read_text()
    for name, value in secrets.items():
        assert value not in text + done.err
        assert name in text
    assert [file.name for file in here.iterdir()] == ["sdlc.yaml"]
    assert stat.S_IMODE(Path("sdlc.yaml").stat().st_mode) & 0o444
    settings = written()
    assert (settings.tracker.kind, settings.jira.url, settings.jira.projects) == ("jira", jira.url, ("ACME",))
    assert settings.intake.repositories[0].repository == "acme/parcel"
    assert (settings.llm.name, settings.temporal.address) == (MODEL, dev_server.address)
    assert sdlc("config", "check").code == 0
    # Only what differs from the defaults, and only questions were asked of the services.
    assert set(yaml.safe_load(text)) == {"tracker", "jira", "forge", "github", "intake", "llm", "temporal"}
    assert jira.changes() == []
    assert {method for method, _ in github.requests} == {"GET"}


async def test_the_search_attributes_are_made_on_the_server_that_is_named(
    dev_server: ServerRecord, tmp_path: Path
) -> None:
    with running(tmp_path / "run", "setup", "--yes", "--temporal", dev_server.address, "--model", "m", "--no-try"):
        pass  # nothing is reached for: see the next one
    arguments = ("setup", "--yes", "--temporal", dev_server.address, "--model", MODEL)
    with ScriptedModelFor() as url, running(tmp_path / "again", *arguments, OPENAI_BASE_URL=url) as process:
        done = process.ended()
    assert done.code == 0, done.err
    client = await connect(load(Path("sdlc.yaml")))
    known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
    assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)


class ScriptedModelFor:
    def __enter__(self) -> str:
        self._model = ScriptedModel()
        self._model.start()
        return self._model.base_url

    def __exit__(self, *_: object) -> None:
        self._model.stop()


def test_what_does_not_work_is_told_and_nothing_is_written(
    jira: JiraServer,
    github: GitHubServer,
    model: ScriptedModel,
    dev_server: ServerRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = whole(jira, github, model, dev_server)
    refused(sdlc(*options), "JIRA_TOKEN is not set", code=1)
    monkeypatch.setenv("JIRA_TOKEN", "planted-and-wrong-4711")
    refused(sdlc(*options), "The tracker:", "jira.token", "--no-try", code=1)
    assert "planted" not in sdlc(*options).err
    monkeypatch.setenv("JIRA_TOKEN", jira.login()[1])
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_wrongwrongwrongwrong")
    refused(sdlc(*options), "The forge:", "github.token", code=1)
    monkeypatch.setenv("GITHUB_TOKEN", github.add_token("bot"))
    monkeypatch.setenv("OPENAI_API_KEY", MODEL_KEY)
    with answering(401, b"{}") as url:
        refused(sdlc(*options, "--model-url", url), "The model:", "refuses the key (401)", "OPENAI_API_KEY", code=1)
    options[options.index("--temporal") + 1] = "127.0.0.1:1"
    refused(sdlc(*options), "Temporal:", "127.0.0.1:1", code=1)
    refused(sdlc("setup", "--yes", "--forge", "github", "--github-url", "ftp://x", "--model", "m"), "base_url", code=1)


def test_a_file_that_is_there_is_only_replaced_if_that_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("sdlc.yaml")
    file.write_text("run: {merge: true}\n")
    done = sdlc("setup", "--yes", "--no-try", "--model", "m")
    assert done.code == 2
    assert "sdlc.yaml is there already; --overwrite" in done.last
    assert file.read_text() == "run: {merge: true}\n"
    assert sdlc("setup", "--yes", "--no-try", "--model", "m", "--overwrite").code == 0
    assert written().llm.name == "m"
    assert sdlc("--config", "other.yaml", "setup", "--yes", "--no-try", "--model", "n").code == 0
    assert load(Path("other.yaml")).llm.name == "n"


def test_where_nobody_can_be_asked_the_mend_is_told() -> None:
    refused(sdlc("setup"), "there is no terminal; give --yes")


# --- the talk -----------------------------------------------------------------------------------


def answer(talk: AtTerminal, question: str, text: str) -> None:
    talk.until_said(question)
    talk.type(text)


def test_at_a_terminal_it_asks_little_and_a_wrong_answer_again(
    tmp_path: Path, jira: JiraServer, model: ScriptedModel, here: Path
) -> None:
    email, token = jira.login()
    with at_terminal(tmp_path / "talk", "setup") as talk:
        answer(talk, "Tickets are in (local, jira, github)", "j")
        answer(talk, "Jira's address", "http://127.0.0.1:1")
        answer(talk, "E-mail", email)
        answer(talk, "Projects", "ACME")
        answer(talk, "JIRA_TOKEN is not set", token)
        talk.until_said("✗ ")
        answer(talk, "What now (again, keep, leave)", "again")
        answer(talk, "Tickets are in", "")
        answer(talk, "Jira's address [http://127.0.0.1:1]", jira.url)
        answer(talk, "E-mail", "")
        answer(talk, "Projects", "")
        answer(talk, "or nothing for the same", "")
        talk.until_said("✓ The tracker works")
        answer(talk, "Pull requests are on (local, github)", "local")
        answer(talk, "Repository, as path or address", "/src/parcel")
        talk.until_said("✓ The forge works")
        answer(talk, "Endpoint", model.base_url)
        answer(talk, "Model", MODEL)
        answer(talk, "OPENAI_API_KEY is not set", MODEL_KEY)
        talk.until_said("✓ The model works")
        answer(talk, "Server, as host:port", "")
        talk.until_said("sdlc.yaml is written.")
        done = talk.ended()
    assert done.code == 0
    assert "Set where `sdlc` runs, as it is in no file: JIRA_TOKEN, OPENAI_API_KEY." in done.err
    assert token not in done.err
    assert MODEL_KEY not in done.err
    assert token not in Path("sdlc.yaml").read_text()
    assert (written().jira.projects, written().intake.repositories[0].repository) == (("ACME",), "/src/parcel")


@pytest.mark.parametrize("step", ["Tickets are in", "Pull requests are on", "Endpoint"])
def test_whoever_leaves_leaves_nothing_half_written(tmp_path: Path, here: Path, step: str) -> None:
    with at_terminal(tmp_path / "talk", "setup", "--no-try") as talk:
        for question in ("Tickets are in", "Pull requests are on", "Endpoint"):
            talk.until_said(question)
            if question == step:
                talk.signal(signal.SIGINT)
                break
            talk.type("")
        done = talk.ended()
    assert done.code == 130
    assert "sdlc.yaml was not written." in done.err
    assert list(here.iterdir()) == []


def test_a_file_that_is_there_is_asked_about(tmp_path: Path) -> None:
    Path("sdlc.yaml").write_text("run: {merge: true}\n")
    with at_terminal(tmp_path / "talk", "setup") as talk:
        answer(talk, "sdlc.yaml is there already. Replace it (no, yes)", "")
        assert talk.ended().code == 130
    assert Path("sdlc.yaml").read_text() == "run: {merge: true}\n"


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draft",
    [
        Draft(),
        Draft(tracker="github", issues=("acme/parcel",), forge="github", github_url="https://ghe.example/api/v3"),
        Draft(model='quotes "and" # marks: {all}', repository="/a path/with: colon", temporal="h:7233", namespace="n"),
    ],
)
def test_whatever_is_answered_the_file_says_it(draft: Draft) -> None:
    Path("sdlc.yaml").write_text(draft.text())
    settings = written()
    assert settings.tracker.kind == draft.tracker
    assert settings.forge.kind == draft.forge
    assert settings.llm.name == draft.model
    assert settings.temporal.address == draft.temporal
    assert [route.repository for route in settings.intake.repositories] == (
        [draft.repository] if draft.repository else []
    )
    assert not [line for line in draft.text().splitlines() if line.endswith(" ")]


def test_a_disk_that_takes_nothing_leaves_the_old_file(here: Path) -> None:
    if os.geteuid() == 0:
        (here / "sdlc.yaml").mkdir()  # root may write everywhere; a folder of the name refuses all the same
        done = sdlc("setup", "--yes", "--no-try", "--model", "m", "--overwrite")
    else:
        here.chmod(0o500)
        done = sdlc("setup", "--yes", "--no-try", "--model", "m")
        here.chmod(0o700)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert [file.name for file in here.iterdir()] in (["sdlc.yaml"], [])
