"""pip-audit: which packages it is asked about, and that what it can't answer is never taken for clean."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.config import SandboxSettings, Settings
from sdlc.domain import ChangeSet, Panel, PanelReport, PanelState, Severity, SourceReport, SourceState
from sdlc.integrations.sandbox import open_sandbox
from sdlc.review_graphs import audit_run
from sdlc.review_graphs.analyzers import pip_audit
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Subject
from sdlc.review_graphs.analyzers.pip_audit import PipAudit, Vulnerability, mended_by, pins, raw_of, read_audit
from sdlc.runtime.services import build_services
from tests.test_panels import Bench, Tree

# --- what a file pins ---------------------------------------------------------------------


def pinned(path: str, text: str) -> list[tuple[str, str, int]]:
    return [(pin.name, pin.version, pin.line) for pin in pins(path, text)]


def test_a_list_of_requirements_pins_what_has_one_version() -> None:
    text = (
        "# jinja2==1.0\n"
        "Jinja2==2.4.1\n"
        "requests [security] == 2.31.0 ; python_version > '3.8'  # why\n"
        "django>=4\n"
        "flask==3.*\n"
        "-r other.txt\n"
        "zope.interface===5.0 \\\n"
        "    --hash=sha256:00\n"
        "urllib3==2.0.0 --hash=sha256:11\n"
        "x @ https://example.org/x.whl\n"
    )
    assert pinned("requirements.txt", text) == [
        ("jinja2", "2.4.1", 2),
        ("requests", "2.31.0", 3),
        ("zope-interface", "5.0", 7),
        ("urllib3", "2.0.0", 9),
    ]


def test_a_project_pins_in_its_dependencies_extras_and_groups() -> None:
    text = (
        "[project]\n"
        'dependencies = ["jinja2==2.4.1", "httpx>=0.27"]\n'
        "[project.optional-dependencies]\n"
        'dev = [\n  "pytest==7.0.0",\n]\n'
        "[dependency-groups]\n"
        'docs = ["sphinx==4.0", {include-group = "dev"}]\n'
        "[tool.poetry.dependencies]\n"
        'python = "3.11"\n'
        'django = "4.0"\n'
        'flask = "^3.0"\n'
        'celery = {version = "5.0.1", extras = ["redis"]}\n'
    )
    assert pinned("pyproject.toml", text) == [
        ("jinja2", "2.4.1", 2),
        ("pytest", "7.0.0", 5),
        ("sphinx", "4.0", 8),
        ("django", "4.0", 11),
        ("celery", "5.0.1", 13),
    ]


def test_a_lock_file_pins_what_comes_from_a_registry() -> None:
    text = (
        'version = 1\n\n[[package]]\nname = "app"\nversion = "0.1"\nsource = { editable = "." }\n\n'
        '[[package]]\nname = "jinja2"\nversion = "2.4.1"\nsource = { registry = "https://index.example/simple" }\n\n'
        '[[package]]\nname = "mine"\nversion = "1.0"\nsource = { git = "https://example.org/mine?rev=1#2" }\n'
    )
    assert pinned("uv.lock", text) == [("jinja2", "2.4.1", 10)]
    assert pinned("poetry.lock", '[[package]]\nname = "Jinja2"\nversion = "2.4.1"\nfiles = []\n') == [
        ("jinja2", "2.4.1", 3)
    ]
    pipfile = json.dumps({"default": {"jinja2": {"version": "==2.4.1"}}, "develop": {"x": {"git": "y"}}}, indent=1)
    assert pinned("Pipfile.lock", pipfile) == [("jinja2", "2.4.1", 3)]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", "[project"),
        ("pyproject.toml", "project = 3"),
        ("pyproject.toml", '[project]\ndependencies = ["=="]\n'),
        ("pyproject.toml", '[tool.poetry.dependencies]\nx = 3\n"a b" = "1"\n'),
        ("uv.lock", "\0\0"),
        ("uv.lock", "package = 3"),
        ("poetry.lock", '[[package]]\nversion = "1"\n'),
        ("Pipfile.lock", "["),
        ("Pipfile.lock", '{"default": {"x": 3}}'),
        ("requirements.txt", "x==not a version\n--index-url==1\n"),
        ("requirements.txt", ""),
    ],
)
def test_what_can_not_be_read_pins_nothing(path: str, text: str) -> None:
    assert pins(path, text) == []


@given(st.sampled_from(["requirements.txt", "pyproject.toml", "uv.lock", "Pipfile.lock"]), st.text(max_size=200))
def test_no_text_breaks_the_reader_or_gives_more_than_a_name_and_a_version(path: str, text: str) -> None:
    for pin in pins(path, text):
        assert "\n" not in pin.requirement
        assert not pin.requirement.startswith("-")


@pytest.mark.parametrize(
    ("path", "is_looked_at"),
    [
        ("requirements.txt", True),
        ("requirements-dev.in", True),
        ("deploy/requirements/prod.txt", True),
        ("constraints.txt", True),
        ("pyproject.toml", True),
        ("uv.lock", True),
        ("docs/requirements.md", False),
        ("package-lock.json", False),
        ("setup.py", False),
    ],
)
def test_it_looks_at_what_pins_python_packages(path: str, is_looked_at: bool) -> None:
    assert PipAudit().looks_at(path) is is_looked_at


# --- what it says -------------------------------------------------------------------------


def report_of(*vulns: dict[str, Any], name: str = "jinja2", version: str = "2.4.1") -> bytes:
    return json.dumps({"dependencies": [{"name": name, "version": version, "vulns": list(vulns)}]}).encode()


def test_the_message_names_what_is_known_and_the_version_that_mends_all_of_it() -> None:
    report = report_of(
        {"id": "PYSEC-1", "fix_versions": ["2.7.2", "2.8.1"], "aliases": ["GHSA-x", "CVE-2014-1402"]},
        {"id": "PYSEC-2", "fix_versions": ["2.10.1"], "aliases": []},
    )
    (pin,) = pins("requirements.txt", "Jinja2==2.4.1  # templates\n")
    raw = raw_of(pin, read_audit(report)["jinja2", "2.4.1"])
    assert (raw.rule, raw.file, raw.line, raw.severity) == (
        "pip-audit:known-vulnerability",
        "requirements.txt",
        1,
        Severity.MAJOR,
    )
    assert raw.message == (
        "`jinja2` 2.4.1 has known vulnerabilities: PYSEC-1 (CVE-2014-1402), PYSEC-2. Take 2.10.1 or later."
    )
    assert raw.suggestion == "Jinja2==2.10.1  # templates"


def test_where_nothing_mends_it_people_are_told() -> None:
    found = [Vulnerability(f"PYSEC-{number}", fixed=("2.0",) if number else ()) for number in range(5)]
    (pin,) = pins("requirements.txt", "jinja2==2.4.1 --hash=sha256:0\n")
    raw = raw_of(pin, found)
    assert raw.severity is Severity.MINOR
    assert "and 2 more. No version without it is known" in raw.message
    assert raw.suggestion == ""
    assert len(raw.message) < 300


def test_a_fix_that_is_older_than_the_version_is_none() -> None:
    fixed_in_two_lines = Vulnerability("A", fixed=("1.26.18", "2.0.7"))
    assert mended_by("2.0.0", [fixed_in_two_lines]) == "2.0.7"
    assert mended_by("1.26.0", [fixed_in_two_lines]) == "1.26.18"
    assert mended_by("3.0", [fixed_in_two_lines]) == ""
    assert mended_by("1.0", [Vulnerability("A", fixed=("junk",))]) == ""


@pytest.mark.parametrize(
    "report", [b"", b"ERROR", b"[]", b"{}", b'{"dependencies": [1]}', b'{"dependencies": [{"name": "x"}]}']
)
def test_junk_is_a_failure(report: bytes) -> None:
    with pytest.raises(AnalyserFailed, match="pip-audit"):
        read_audit(report)


def test_what_it_skips_is_not_known() -> None:
    assert read_audit(b'{"dependencies": [{"name": "x", "skip_reason": "url"}]}') == {}


def test_the_call_installs_nothing_and_resolves_nothing() -> None:
    call = PipAudit().call(Subject(("/out/r.txt",), "/out/report.json", {}), ("pip-audit",))
    assert {"--no-deps", "--disable-pip", "--output", "/out/report.json"} <= set(call.command)
    assert call.command[-2:] == ("--requirement", "/out/r.txt")


# --- in the panel -------------------------------------------------------------------------

VULNS: Mapping[tuple[str, str], Sequence[dict[str, Any]]] = {
    ("jinja2", "2.4.1"): [{"id": "PYSEC-2014-8", "aliases": ["CVE-2014-1402"], "fixed": "2.7.2"}],
    ("django", "1.8"): [{"id": "PYSEC-2015-1", "aliases": [], "fixed": "1.8.1"}],
    ("urllib3", "1.26.4"): [{"id": "PYSEC-2021-108", "aliases": ["CVE-2021-33503"], "fixed": "1.26.5"}],
    ("urllib3", "1.26.3"): [{"id": "PYSEC-2021-108", "aliases": ["CVE-2021-33503"], "fixed": "1.26.5"}],
}


@contextmanager
def osv(known: Mapping[tuple[str, str], Sequence[dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers as OSV's `/v1/query` does; its address, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(query)
            name = query["package"]["name"]
            vulns = [
                {
                    "id": item["id"],
                    "aliases": item["aliases"],
                    "affected": [
                        {
                            "package": {"name": name, "ecosystem": "PyPI"},
                            "ranges": [
                                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": item["fixed"]}]}
                            ],
                        }
                    ],
                }
                for item in known.get((name, query["version"]), ())
            ]
            body = json.dumps({"vulns": vulns} if vulns else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def bench(tmp_path: Path, settings: Settings) -> Bench:
    # A sandbox leads to public hosts alone, and the server of these tests is on this machine.
    unprotected = open_sandbox(SandboxSettings(kind="none"))
    return Bench(tmp_path, replace(build_services(settings), sandbox=unprotected))


async def audited(bench: Bench, change: ChangeSet) -> tuple[PanelReport, SourceReport]:
    report = await bench.review(Panel.SECURITY, change)
    return report, next(source for source in report.sources if source.name == "pip-audit")


def said(report: PanelReport) -> list[tuple[str, int, str]]:
    return [(item.file, item.line, item.message) for item in report.findings if item.rule.startswith("pip-audit:")]


async def test_a_package_with_known_vulnerabilities_is_found_where_it_is_pinned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    base: Tree = {"requirements.txt": "django==1.8\nrequests==2.32.4\n"}
    head: Tree = {"requirements.txt": "django==1.8\nrequests==2.32.4\nurllib3==1.26.4\n"}
    with osv(VULNS) as (address, asked):
        monkeypatch.setattr(pip_audit, "OSV", address)
        report, source = await audited(bench, bench.change(head, base))
    assert said(report) == [
        (
            "requirements.txt",
            3,
            "`urllib3` 1.26.4 has known vulnerabilities: PYSEC-2021-108 (CVE-2021-33503). Take 1.26.5 or later.",
        )
    ]
    assert source.state is SourceState.OK
    # The base's own are not asked about; the known bad one is.
    assert sorted(query["package"]["name"] for query in asked) == ["jinja2", "urllib3"]


async def test_an_upgrade_is_not_blamed_for_what_the_old_version_had(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = bench.change({"requirements.txt": "urllib3==1.26.4\n"}, {"requirements.txt": "urllib3==1.26.3\n"})
    with osv(VULNS) as (address, _):
        monkeypatch.setattr(pip_audit, "OSV", address)
        report, source = await audited(bench, change)
    assert (said(report), source.state) == ([], SourceState.OK)


async def test_a_manifest_and_its_lock_file_give_one_finding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = '[[package]]\nname = "jinja2"\nversion = "2.4.1"\nsource = { registry = "https://index.example/simple" }\n'
    change = bench.change({"uv.lock": lock, "requirements.txt": "jinja2==2.4.1\n", "sub/requirements.txt": "x==1\n"})
    with osv(VULNS) as (address, asked):
        monkeypatch.setattr(pip_audit, "OSV", address)
        report, _ = await audited(bench, change)
    assert [(file, line) for file, line, _ in said(report)] == [("requirements.txt", 1)]
    # Where the change pins the known bad one itself, another is asked about.
    assert sorted(query["package"]["name"] for query in asked) == ["django", "jinja2", "x"]


async def test_two_versions_of_one_package_are_asked_about_apart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    change = bench.change({"requirements.txt": "urllib3==2.5.0\n", "old/requirements.txt": "urllib3==1.26.4\n"})
    with osv(VULNS) as (address, _):
        monkeypatch.setattr(pip_audit, "OSV", address)
        report, _ = await audited(bench, change)
    assert [(file, line) for file, line, _ in said(report)] == [("old/requirements.txt", 1)]


async def test_a_service_that_does_not_know_what_is_known_says_nothing_about_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with osv({}) as (address, _):
        monkeypatch.setattr(pip_audit, "OSV", address)
        report, source = await audited(bench, bench.change({"requirements.txt": "urllib3==1.26.4\n"}))
    assert (source.state, source.required) == (SourceState.NOT_RUN, False)
    assert source.note == "vulnerability data can't be reached; 1 package not verified"
    assert report.state is PanelState.CLEAN


async def test_without_a_network_it_ends_soon_and_is_not_clean(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_audit, "OSV", "http://127.0.0.1:9/v1/query")
    began = time.monotonic()
    _, source = await audited(bench, bench.change({"requirements.txt": "urllib3==1.26.4\n"}))
    assert source.state is SourceState.NOT_RUN
    assert "not verified" in source.note
    assert time.monotonic() - began < audit_run.MOST_SECONDS


async def test_a_service_that_hangs_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_run, "MOST_SECONDS", 2.0)
    monkeypatch.setattr(PipAudit, "start", lambda self, environment: ("/bin/sh", "-c", "sleep 30", "sh"))
    began = time.monotonic()
    _, source = await audited(bench, bench.change({"requirements.txt": "urllib3==1.26.4\n"}))
    assert source.state is SourceState.NOT_RUN
    assert time.monotonic() - began < 15


async def test_what_was_too_much_to_ask_about_is_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_run, "MOST_PINS", 2)
    change = bench.change({"requirements.txt": "urllib3==1.26.4\na==1\nb==1\nc==1\n"})
    with osv(VULNS) as (address, _):
        monkeypatch.setattr(pip_audit, "OSV", address)
        report, source = await audited(bench, change)
    assert len(said(report)) == 1
    assert (source.state, source.required, source.note) == (
        SourceState.NOT_RUN,
        False,
        "2 packages of 4 not verified",
    )


@pytest.mark.parametrize(
    "head",
    [
        {"requirements.txt": "jinja2>=3\n"},
        {"requirements.txt": None},
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"},
        {"requirements.txt": "urllib3==1.26.4\n# a word\n"},
    ],
)
async def test_a_change_that_pins_nothing_new_asks_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, head: Tree
) -> None:
    monkeypatch.setattr(PipAudit, "start", lambda self, environment: pytest.fail("it was run"))
    _, source = await audited(bench, bench.change(head, {"requirements.txt": "urllib3==1.26.4\n"}))
    assert (source.state, source.required) == (SourceState.NOT_NEEDED, False)


async def test_in_the_real_sandbox_it_reaches_the_public_network_or_says_that_it_can_not(
    bench: Bench, settings: Settings
) -> None:
    bench.services = replace(bench.services, sandbox=open_sandbox(settings.sandbox))
    began = time.monotonic()
    report, source = await audited(bench, bench.change({"requirements.txt": "jinja2==2.4.1\n"}))
    assert time.monotonic() - began < 40
    assert (source.state is SourceState.OK) == bool(said(report))
    if source.state is not SourceState.OK:
        assert source.note == "vulnerability data can't be reached; 1 package not verified"
