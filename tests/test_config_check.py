"""`sdlc config check`: what start-up refuses is a fault with place and mend, what leads nowhere is a warning."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from sdlc.config import Settings
from sdlc.config.approvals import ApprovalSettings
from sdlc.errors import ConfigurationError
from sdlc.runtime.diagnosis import of_settings
from sdlc.runtime.services import build_notifier
from sdlc.web.sign_in.door import Door
from tests.commands import Done, sdlc

TEN_YEARS = 10 * 365 * 86_400
GROUPS = {"groups": {"leads": ["eve"]}}
URL = {"web": {"url": "https://sdlc.acme.example"}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a machine on which nothing is set."""
    monkeypatch.chdir(tmp_path)
    for name in ("JIRA_URL", "JIRA_EMAIL", "JIRA_TOKEN", "GITHUB_TOKEN", "NOPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def checked(values: dict[str, Any]) -> Done:
    Path("sdlc.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return sdlc("config", "check")


def channel(**fields: Any) -> dict[str, Any]:
    return {**URL, "notify": {"channels": [{"name": "team", **fields}]}}


REFUSED = [
    ({**GROUPS, "run": {"approval": {"approvers": ["@maintainers"]}}},
     ["line 5: run.approval: `approvers` names @maintainers", "(there is @leads).", "Add it to `groups`."]),
    ({"approvals": [{"repositories": ["a/*"], "escalate_to": ["@leads"]}], **GROUPS, "run": {"merge": True}}, []),
    ({"run": {"merge": False}, "approvals": [{"repositories": ["b/c"]}, {"repositories": ["a/*"],
      "escalate_to": ["@leads"]}]},
     ["line 3: approvals, entry 2 (a/*): `escalate_to` names @leads", "(there is none yet).", "Add it to `groups`."]),
    (channel(url="json://localhost", people=["@nobody"]),
     ["line 4: notify.channels: The notification channel team names @nobody", "add it to `groups`"]),
    (channel(url="nonsense"), ["line 4: notify.channels: The notification channel team", "can't read its `url`"]),
    (channel(slack_webhook="nonsense"), ["The notification channel team: `slack_webhook` is no address"]),
    (channel(url="env:NOPE"), ["line 4: ", "The notification channel team needs the variable NOPE; set it."]),
    ({"web": {"host": "0.0.0.0", "sign_in": {"kind": "none"}}},
     ["line 4: web.sign_in.kind: none would let in everybody. Choose another kind, or listen at 127.0.0.1"]),
    ({"web": {"url": "https://sdlc.acme.example", "sign_in": {"kind": "none"}}}, ["would let in everybody"]),
    ({"web": {"host": "0.0.0.0", "sign_in": {"kind": "oidc", "oidc": {"issuer": "https://i.example",
      "client_id": "sdlc"}}}}, ["oidc needs web.url, where browsers come back to. Set web.url."]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "words"), REFUSED)
def test_what_start_up_refuses_is_a_fault_with_its_place_and_mend(values: dict[str, Any], words: list[str]) -> None:
    done = checked(values)
    faults = [line for line in done.out.splitlines() if line.startswith("fault: sdlc.yaml, ")]
    assert (done.code, len(faults)) == ((1, 1) if words else (0, 0)), done
    for word in words:
        assert word in faults[0]


def starts(values: dict[str, Any]) -> bool:
    """Does everything that a worker and the web look at before they begin take these settings?"""
    settings = Settings(**values)
    try:
        for repository in ("", "a/b"):
            settings.run_policy(repository)
        build_notifier(settings)
        Door(settings)
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("values", [values for values, _ in REFUSED] + [channel(url="json://localhost"), {}])
def test_it_refuses_what_start_up_refuses_and_nothing_else(values: dict[str, Any]) -> None:
    assert any(check.state == "fault" for check in of_settings(Settings(**values))) is not starts(values)


def test_several_faults_are_told_at_once_without_a_secret_and_without_asking_anybody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    channels = [
        {"name": "one", "url": "tgram://planted-secret"},
        {"name": "two", "slack_webhook": "planted-secret"},
        {"name": "good", "slack_webhook": "https://hooks.slack.example/planted-secret"},
    ]
    approval = {"approvers": ["@gone"], "escalate_to": []}

    def reached(*_: Any) -> None:
        raise AssertionError("somebody is asked")

    monkeypatch.setattr(socket.socket, "connect", reached)
    monkeypatch.setattr(socket, "getaddrinfo", reached)
    checks = of_settings(Settings(notify={"channels": channels}, run={"approval": approval}))
    assert [check.state for check in checks] == ["fault", "fault", "fault", "warning"]
    assert all(check.mend for check in checks)
    assert "planted" not in repr(checks)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"notify": {"channels": [{"name": "ada", "url": "json://localhost", "people": ["ada"]}]}},
         ["web.url is not set", "`sdlc worker`", "Set web.url"]),
        ({"run": {"approval": {"sources": ["forge", "tracker"]}}},
         ["line 2: run.approval: sources has forge, tracker alone", "Add one of cli, signal, web"]),
        ({"approvals": [{"repositories": ["a/b"], "sources": ["tracker"]}]},
         ["line 1: approvals, entry 1 (a/b): sources has tracker alone"]),
        ({"web": {"sign_in": {"kind": "none"}}, "run": {"approval": {"sources": ["web"]}}},
         ["sources has web alone", "Add one of cli, signal,"]),
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_a_warning_and_no_failure(values: dict[str, Any], words: list[str]) -> None:
    done = checked(values)
    assert done.code == 0
    (warning,) = done.out.splitlines()
    assert warning.startswith("warning: ")
    for word in words:
        assert word in warning


@pytest.mark.parametrize(
    "values",
    [
        channel(url="json://localhost", people=["ada"]),
        {"approvals": [{"repositories": ["a/b"], "sources": ["web", "forge"]}]},
        {"web": {"sign_in": {"kind": "none"}}},
        {**GROUPS, "approvals": [{"repositories": ["a/b"], "approvers": ["@leads"]}]},
    ],
)
def test_what_is_in_order_is_left_alone(values: dict[str, Any]) -> None:
    done = checked(values)
    assert (done.code, "agree with each other" in done.out) == (0, True), done


@pytest.mark.parametrize("setting", ["deadline_seconds", "escalate_seconds", "reminder_seconds"])
@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), TEN_YEARS + 1])
def test_times_that_no_clock_can_keep_are_refused_for_a_repository(setting: str, seconds: float) -> None:
    wrong: Any = [60, seconds] if setting == "reminder_seconds" else seconds
    with pytest.raises(ValidationError, match=setting):
        ApprovalSettings(**{"repositories": ("a/b",), setting: wrong})
    done = checked({"approvals": [{"repositories": ["a/b"], setting: wrong}]})
    assert (done.code, setting in done.err) == (1, True), done


@pytest.mark.parametrize("seconds", [0.5, TEN_YEARS])
def test_times_between_a_moment_and_ten_years_are_taken(seconds: float) -> None:
    entry = ApprovalSettings(
        repositories=("a/b",), deadline_seconds=seconds, escalate_seconds=seconds, reminder_seconds=(seconds,)
    )
    assert (entry.deadline_seconds, entry.reminder_seconds) == (seconds, (seconds,))
