"""The parts of the GitHub forge that need no server: what answers mean, where comments may stand, who decides."""

from __future__ import annotations

from typing import Any

import pytest
from github import GithubException
from pydantic import ValidationError

from sdlc.domain import CiState, DecisionKind, Finding, Panel, PullRequestState, RunIdentity, Severity
from sdlc.errors import (
    BranchConflict,
    FinalError,
    NothingChanged,
    PermissionDenied,
    RepositoryInvalid,
    ServiceUnavailable,
)
from sdlc.integrations.github import (
    GitHubSettings,
    approvals,
    checks,
    codeowners,
    inline,
    marks,
    pulls,
)
from sdlc.integrations.github.address import repository_address
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.checks import Seen
from sdlc.integrations.github.failures import failure_of
from sdlc.integrations.github.job_log import failing_part
from sdlc.integrations.github.tokens import Tokens

GITHUB = "https://api.github.com"
GHE = "https://ghe.acme.example/api/v3"
NOW = 1_800_000_000.0
HEAD = "a" * 40
RUN = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r1", ticket_key="BUG-1")


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("https://github.com", GITHUB),
        ("https://api.github.com/", GITHUB),
        ("https://ghe.acme.example", GHE),
        ("https://ghe.acme.example/api/v3/", GHE),
        ("https://api.acme.ghe.com", "https://api.acme.ghe.com"),
        ("http://127.0.0.1:8080/api/v3", "http://127.0.0.1:8080/api/v3"),
    ],
)
def test_the_root_of_the_api_is_found_from_what_people_write(given: str, root: str) -> None:
    assert GitHubSettings(base_url=given).base_url == root


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "ftp://x"},
        {"base_url": "https://me:secret@ghe.acme.example"},
        {"token": "t", "app_id": "1", "private_key": "k"},
        {"app_id": "1"},
        {"private_key": "k"},
        {"tokn": "t"},
    ],
)
def test_settings_that_contradict_themselves_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GitHubSettings(**given)


def test_a_token_is_not_shown_by_the_settings() -> None:
    assert "ghp_secret" not in repr(GitHubSettings(token="ghp_secret"))


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "acme/parcel",
        "acme/parcel.git",
        "github.com/acme/parcel",
        "https://github.com/acme/parcel",
        "https://github.com/acme/parcel/",
        "https://www.github.com/acme/parcel.git",
        "HTTPS://GitHub.com/acme/parcel",
        "https://github.com:443/acme/parcel.git",
        "https://github.com/acme/parcel/pull/3#issuecomment-1",
        "https://github.com/acme/parcel/tree/main/src?tab=readme",
        "https://api.github.com/repos/acme/parcel",
        "git@github.com:acme/parcel.git",
        "github.com:acme/parcel",
        "ssh://git@github.com/acme/parcel.git",
        "ssh://git@ssh.github.com:443/acme/parcel.git",
        "git://github.com/acme/parcel.git",
        "git+ssh://git@github.com/acme/parcel.git",
        "  acme/parcel\n",
    ],
)
def test_every_usual_form_of_an_address_names_the_repository(origin: str) -> None:
    assert repository_address(origin, GITHUB).full_name == "acme/parcel"


@pytest.mark.parametrize(
    ("origin", "base"),
    [
        ("https://ghe.acme.example/acme/parcel", GHE),
        ("git@ghe.acme.example:acme/parcel.git", GHE),
        ("https://ghe.acme.example/api/v3/repos/acme/parcel", GHE),
        ("http://127.0.0.1:8080/acme/parcel.git", "http://127.0.0.1:8080/api/v3"),
        ("127.0.0.1:8080/acme/parcel", "http://127.0.0.1:8080/api/v3"),
        ("ssh://git@127.0.0.1:2222/acme/parcel.git", "http://127.0.0.1:8080/api/v3"),
        ("https://acme.ghe.com/acme/parcel", "https://api.acme.ghe.com"),
    ],
)
def test_addresses_of_an_enterprise_server_are_known_too(origin: str, base: str) -> None:
    assert repository_address(origin, base).full_name == "acme/parcel"


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("", "No repository"),
        ("parcel", "names no repository"),
        ("https://github.com/acme", "names no repository"),
        ("https://gitlab.com/acme/parcel", "is on gitlab.com"),
        ("https://github.com.evil.example/acme/parcel", "is on github.com.evil.example"),
        ("git@evil.example:acme/parcel", "is on evil.example"),
        ("https://ghp_x@github.com/acme/parcel", "name or a password"),
        ("https://me:ghp_x@github.com/acme/parcel", "name or a password"),
        ("ssh://git:ghp_x@github.com/acme/parcel", "name or a password"),
        ("file:///srv/parcel", "file addresses are not taken"),
        ("ext::sh -c id/x", "is on ext"),
        ("acme/par cel", "not the name"),
        ("acme/..", "not the name"),
        ("-acme/parcel", "is a folder"),
        ("acme/%2e%2e", "not the name"),
        ("https://github.com:nan/acme/parcel", "not a URL"),
        ("acme/par\x00cel", "control"),
    ],
)
def test_what_is_no_repository_of_this_forge_is_refused_with_the_reason(origin: str, says: str) -> None:
    with pytest.raises(RepositoryInvalid) as refused:
        repository_address(origin, GITHUB)
    assert says in str(refused.value)
    assert "ghp_x" not in str(refused.value)


# --- failures ----------------------------------------------------------------------------------


def failed(status: int, message: Any = "no", headers: dict[str, str] | None = None) -> Any:
    data = message if isinstance(message, dict) else {"message": message}
    return failure_of(GithubException(status, data, headers or {}), doing="reading acme/parcel", now=NOW)


def test_a_missing_scope_of_a_classic_token_is_named() -> None:
    error = failed(403, "Must have push access", {"X-OAuth-Scopes": "read:user", "X-Accepted-OAuth-Scopes": "repo"})
    assert isinstance(error, PermissionDenied)
    assert "scope repo (it has read:user)" in str(error)


def test_a_missing_permission_of_a_fine_grained_token_is_named() -> None:
    headers = {"x-accepted-github-permissions": "pull_requests=write,contents=read; administration=read"}
    error = failed(403, "Resource not accessible by personal access token", headers)
    assert isinstance(error, PermissionDenied)
    assert "pull_requests (write) and contents (read), or administration (read)" in str(error)


def test_a_token_that_single_sign_on_must_release_says_where() -> None:
    error = failed(403, "SAML", {"x-github-sso": "required; url=https://github.com/orgs/acme/sso?a=1"})
    assert isinstance(error, PermissionDenied)
    assert "https://github.com/orgs/acme/sso?a=1" in str(error)


def test_a_token_that_is_refused_is_final_and_says_when_it_ended() -> None:
    error = failed(401, "Bad credentials", {"github-authentication-token-expiration": "2026-01-01 00:00:00 UTC"})
    assert isinstance(error, PermissionDenied)
    assert "2026-01-01" in str(error)


def test_the_primary_limit_waits_until_its_reset() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-limit": "5000", "x-ratelimit-reset": str(int(NOW) + 99)}
    error = failed(403, "API rate limit exceeded for user ID 1", headers)
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after == 100
    assert "5000 requests an hour" in str(error)


@pytest.mark.parametrize(("status", "message"), [(403, "You have exceeded a secondary rate limit."), (429, "slow")])
def test_the_secondary_limit_is_another_one_and_has_its_own_delay(status: int, message: str) -> None:
    error = failed(status, message, {"Retry-After": "7", "x-ratelimit-remaining": "4000"})
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after == 7
    assert "secondary" in str(error)


def test_a_secondary_limit_without_a_delay_waits_a_minute() -> None:
    error = failed(403, "You have triggered an abuse detection mechanism", {"x-ratelimit-remaining": "12"})
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after == 60


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("-5", 1),
        ("999999999", 7_200),
        ("nan", 60),
        ("soon", 60),
    ],
)
def test_a_delay_may_be_a_date_or_nonsense_and_has_its_bounds(value: str, seconds: float) -> None:
    error = failed(403, "You have exceeded a secondary rate limit", {"retry-after": value})
    assert error.retry_after == seconds


def test_a_reset_that_can_not_be_read_still_has_a_delay() -> None:
    assert failed(429, "x", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "?"}).retry_after == 60


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (500, "boom", ServiceUnavailable),
        (502, "bad gateway", ServiceUnavailable),
        (408, "late", ServiceUnavailable),
        (404, "Not Found", RepositoryInvalid),
        (410, "Issues are disabled", RepositoryInvalid),
        (451, "DMCA", RepositoryInvalid),
        (403, "Repository was archived so is read-only.", RepositoryInvalid),
        (409, "Git Repository is empty.", RepositoryInvalid),
        (409, "Head branch was modified. Review and try the merge again.", BranchConflict),
        (405, "At least 1 approving review is required", BranchConflict),
        (422, "No commits between main and sdlc/x", NothingChanged),
        (422, "Validation Failed", FinalError),
        (403, "No", PermissionDenied),
        (400, {"errors": [{"type": "RATE_LIMITED", "message": "x"}]}, ServiceUnavailable),
        (400, {"errors": [{"type": "FORBIDDEN", "message": "x"}]}, PermissionDenied),
        (404, {"errors": [{"type": "NOT_FOUND", "message": "x"}]}, RepositoryInvalid),
        (400, {"errors": "odd"}, FinalError),
        (500, {"message": None, "errors": [None, {"resource": "PullRequest", "code": "invalid"}]}, ServiceUnavailable),
    ],
)
def test_each_refusal_is_one_of_our_errors(status: int, message: Any, kind: type[Exception]) -> None:
    error = failed(status, message)
    assert type(error) is kind
    assert "reading acme/parcel" in str(error)


def test_a_private_repository_and_a_token_without_its_scope_look_alike_and_that_is_said() -> None:
    assert "scope repo (it has gist)" in str(failed(404, "Not Found", {"x-oauth-scopes": "gist"}))


# --- places of findings ------------------------------------------------------------------------

PATCH = "@@ -1,3 +1,4 @@ def a\n one\n+two\n three\n four\n@@ -20,2 +21,3 @@\n x\n+@@ -1 +99,9 @@ not a header\n y"
FILES = [
    {"filename": "a.py", "status": "modified", "patch": PATCH},
    {"filename": "logo.png", "status": "added"},
    {"filename": "gone.py", "status": "removed", "patch": "@@ -1,2 +0,0 @@\n-one\n-two"},
    {"filename": "one.py", "status": "added", "patch": "@@ -0,0 +1 @@\n+one"},
]


def finding(file: str = "a.py", line: int = 2, end: int = 0, **more: Any) -> Finding:
    usual = {"panel": Panel.QUALITY, "rule": "ruff:B006", "severity": Severity.MINOR, "message": "shared"}
    return Finding(**(usual | {"file": file, "line": line, "end_line": end or line} | more))


@pytest.mark.parametrize(
    ("file", "line", "end", "expected"),
    [
        ("a.py", 2, 2, ("line", 2, 0)),
        ("a.py", 1, 4, ("line", 4, 1)),
        ("a.py", 3, 9, ("line", 4, 3)),
        ("a.py", 18, 22, ("line", 22, 21)),
        ("a.py", 4, 22, ("line", 4, 0)),
        ("a.py", 23, 23, ("line", 23, 0)),
        ("a.py", 24, 24, ("file", 0, 0)),
        ("a.py", 10, 12, ("file", 0, 0)),
        ("a.py", 99, 99, ("file", 0, 0)),
        ("one.py", 1, 1, ("line", 1, 0)),
        ("logo.png", 1, 1, ("file", 0, 0)),
        ("gone.py", 1, 1, ("file", 0, 0)),
        ("b.py", 1, 1, ("summary", 0, 0)),
    ],
)
def test_a_finding_stands_where_the_diff_shows_its_line(file: str, line: int, end: int, expected: Any) -> None:
    (one,) = inline.placed([finding(file, line, end)], FILES)
    assert (one.at, one.line, one.start_line) == expected


def test_each_finding_is_placed_once_and_the_worst_first_when_there_is_no_room() -> None:
    listed = [finding(line=1, message="a"), finding(line=2, severity=Severity.BLOCKER, message="b")]
    found = inline.placed([*listed, listed[0]], FILES, max_inline=1)
    assert [(one.finding.message, one.at) for one in found] == [("b", "line"), ("a", "summary")]
    assert "`a.py:1`" in inline.elsewhere(found)
    assert "`a.py:2`" not in inline.elsewhere(found)
    assert inline.elsewhere([one for one in found if one.at == "line"]) == ""


def test_a_long_body_is_cut_and_keeps_its_mark() -> None:
    body = inline.with_mark("😀" * 70_000, "sdlc:w:r topic")
    assert len(body) == 65_536 or len(body) < 65_536
    assert body.endswith("<!-- sdlc:w:r topic -->")
    assert "cut here" in body
    assert inline.with_mark("short", "m") == "short\n\n<!-- m -->"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_the_limit_of_a_body_is_exact(size: int) -> None:
    cut = inline.cut_body("x" * size)
    assert len(cut) <= 65_536
    assert (cut == "x" * size) == (size <= 65_536)


def test_a_code_block_that_the_cut_leaves_open_is_closed() -> None:
    cut = inline.cut_body("text\n```text\n" + "line\n" * 100, limit=200)
    assert cut.count("```") == 2
    assert len(cut) <= 200
    assert inline.cut_body("```\na\n```\n" + "line\n" * 100, limit=200).count("```") == 2


# --- code owners -------------------------------------------------------------------------------

OWNERS = """
# who owns what
*                 @everybody
*.js              @js-owner  # in line
/build/logs/      @doctocat
docs/*            docs@example.com @writer
apps/             @octocat
/scripts/         @acme/scripts @other/team
/apps/github
**/logs           @logger
/src/**/gen/*.py  @gen
my\\ file.txt     @blank
[bad].py          @nobody
!neg              @nobody
what @not@an@owner
"""


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("a.py", ("@everybody",)),
        ("deep/er/a.js", ("@js-owner",)),
        ("build/logs/x/y.txt", ("@logger",)),
        ("docs/a.md", ("docs@example.com", "@writer")),
        ("docs/build/a.md", ("@everybody",)),
        ("x/docs/a.md", ("@everybody",)),
        ("x/apps/deep/a.py", ("@octocat",)),
        ("apps/github/a.py", ()),
        ("apps/github", ()),
        ("scripts/run", ("@acme/scripts", "@other/team")),
        ("x/scripts/run", ("@everybody",)),
        ("deep/logs/a.txt", ("@logger",)),
        ("src/gen/a.py", ("@gen",)),
        ("src/a/b/gen/a.py", ("@gen",)),
        ("src/a/b/gen/deeper/a.py", ("@everybody",)),
        ("my file.txt", ("@blank",)),
    ],
)
def test_the_last_line_that_matches_names_the_owners(path: str, owners: tuple[str, ...]) -> None:
    assert codeowners.owners_of(codeowners.rules_of(OWNERS), path) == owners


def asked(text: str, *paths: str, **more: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = codeowners.reviewers_of(text, paths, organisation="acme", **more)
    return found.people, found.teams


def test_teams_of_the_organisation_are_asked_and_others_can_not_be() -> None:
    assert asked(OWNERS, "scripts/run", "docs/a.md") == (("writer",), ("scripts",))


def test_who_owns_the_most_is_asked_first() -> None:
    assert asked("*.js @a\n*.py @b", "x.js", "y.py", "z.py") == (("b", "a"), ())


def test_the_starter_is_never_asked_alone_and_the_bot_never() -> None:
    assert asked("* @ann", "a", starter=("Ann Lee", "Ann")) == ((), ())
    assert asked("* @ann @bo", "a", starter=("ann",)) == (("ann", "bo"), ())
    assert asked("* @ann @sdlc-bot", "a", starter=("ann",), bot=("sdlc-bot",)) == ((), ())
    assert asked("* @ann @acme/core", "a", starter=("ann",)) == (("ann",), ("core",))
    assert asked("* @Author @bo", "a", author="author") == (("bo",), ())


def test_a_file_that_github_would_ignore_names_nobody() -> None:
    assert asked("* @ann\n" + "#" * (3 * 1024**2), "a") == ((), ())
    assert asked("", "a") == ((), ())


# --- checks ------------------------------------------------------------------------------------


def check_run(name: str, status: str = "completed", conclusion: str | None = "success", **more: Any) -> dict[str, Any]:
    url = "https://github.com/acme/parcel/actions/runs/7/job/71"
    return {"name": name, "status": status, "conclusion": conclusion, "details_url": url, "output": {}, **more}


def ci(runs: list[dict[str, Any]], statuses: Any = (), required: Any = (), **more: Any) -> Any:
    listed = (*checks.of_check_runs(runs), *checks.of_statuses(statuses))
    return checks.report(Seen(HEAD, listed, frozenset(required)), **more)


def test_no_check_at_all_is_seen_and_said_once_it_has_had_its_time() -> None:
    report = ci([])
    assert (report.state, "no checks" in report.note) == (CiState.NONE, True)
    assert ci([], waited=False).state is CiState.PENDING


def test_our_own_statuses_and_check_runs_are_no_checks() -> None:
    assert ci([], [{"context": "sdlc/quality", "state": "failure"}]).state is CiState.NONE
    assert (
        ci([check_run("sdlc/quality", conclusion="failure", external_id="sdlc:w:r sdlc/quality")]).state is CiState.NONE
    )
    assert ci([check_run("sdlc/lint", conclusion="failure", external_id="8-4-4")]).state is CiState.RED


def test_an_issue_is_named_below_a_text_of_any_length() -> None:
    body = pulls.marked_body("x" * 80_000, RUN, issue=12)
    assert len(body) <= 65_536
    assert body.count("Closes #12") == 1
    assert pulls.is_of(body, RUN)


def test_the_newest_status_of_a_context_counts() -> None:
    assert ci([], [{"context": "ci", "state": "success"}, {"context": "ci", "state": "failure"}]).state is CiState.GREEN


@pytest.mark.parametrize(
    ("status", "conclusion", "state"),
    [
        ("completed", "success", CiState.GREEN),
        ("completed", "neutral", CiState.GREEN),
        ("completed", "skipped", CiState.GREEN),
        ("completed", "failure", CiState.RED),
        ("completed", "timed_out", CiState.RED),
        ("completed", "cancelled", CiState.RED),
        ("completed", "startup_failure", CiState.RED),
        ("completed", "stale", CiState.RED),
        ("completed", None, CiState.RED),
        ("completed", "action_required", CiState.PENDING),
        ("queued", None, CiState.PENDING),
        ("in_progress", None, CiState.PENDING),
        ("waiting", None, CiState.PENDING),
    ],
)
def test_each_conclusion_has_its_meaning(status: str, conclusion: str | None, state: CiState) -> None:
    assert ci([check_run("build", status, conclusion)]).state is state


def test_required_checks_decide_where_there_are_some_and_the_others_are_said() -> None:
    runs = [check_run("build"), check_run("flaky", conclusion="failure"), check_run("slow", "queued", None)]
    report = ci(runs, required=["build"])
    assert report.state is CiState.GREEN
    assert "not required: flaky" in report.note
    assert ci(runs, required=["build"], which="all").state is CiState.RED


def test_a_required_check_that_has_not_begun_is_waited_for() -> None:
    report = ci([check_run("build")], required=["build", "deploy"])
    assert report.state is CiState.PENDING
    assert "not begun: deploy" in report.note
    assert ci([], required=["deploy"]).state is CiState.PENDING


def test_a_red_check_says_why_and_wins_over_one_under_way() -> None:
    red = check_run("build", conclusion="failure", output={"title": "2 errors\u202e"})
    report = ci([red, check_run("slow", "queued", None)])
    assert report.state is CiState.RED
    assert [(one.test, one.message) for one in report.failures] == [("build", "failure: 2 errors")]
    assert checks.of_check_runs([red])[0].job == 71


def test_required_checks_come_from_protection_and_from_rule_sets_and_ours_are_not_among_them() -> None:
    branch = {
        "protection": {
            "required_status_checks": {
                "enforcement_level": "everyone",
                "contexts": ["build", "sdlc/quality"],
                "checks": [{"context": "lint", "app_id": None}],
            }
        }
    }
    rules: list[dict[str, Any]] = [
        {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "scan"}]}},
        {"type": "deletion"},
    ]
    assert checks.required_of(branch, rules) == {"build", "lint", "scan"}
    off = {"protection": {"required_status_checks": {"enforcement_level": "off", "contexts": ["build"]}}}
    assert checks.required_of(off, []) == frozenset()
    assert checks.required_of({}, []) == frozenset()


def test_runs_of_actions_stand_in_for_checks_the_newest_of_each_workflow() -> None:
    runs = [
        {"id": 1, "workflow_id": 5, "name": "ci", "event": "push", "status": "completed", "conclusion": "failure"},
        {"id": 2, "workflow_id": 5, "name": "ci", "event": "push", "status": "completed", "conclusion": "success"},
    ]
    assert [(one.state, one.run) for one in checks.of_workflow_runs(runs)] == [(CiState.GREEN, 2)]


LOG = "\n".join(
    f"2026-01-01T00:00:0{number}.1234567Z {line}"
    for number, line in enumerate(
        [
            "##[group]Run actions/checkout@v4",
            "checked out",
            "##[endgroup]",
            "##[group]Run make test",
            "\x1b[36;1mmake test\x1b[0m",
            "##[endgroup]",
            "\x1b[31mFAILED test_a\x1b[0m",
            "##[error]Process completed with exit code 2.",
            "Post job cleanup.",
            "##[error]another thing",
        ]
    )
)


def test_the_log_of_a_failed_job_is_cut_to_the_step_that_failed() -> None:
    part = failing_part(LOG, limit=10_000)
    assert part == "$ make test\nmake test\nFAILED test_a\nerror: Process completed with exit code 2."


def test_a_log_without_a_marked_error_gives_its_end_and_a_long_one_is_cut_in_its_middle() -> None:
    assert failing_part("a\nb\n", limit=100) == "a\nb"
    assert failing_part("", limit=100) == ""
    long = "##[group]Run x\n" + "\n".join(f"line {number}" for number in range(5_000)) + "\n##[error]the end"
    part = failing_part(long, limit=1_000)
    assert len(part) <= 1_000
    assert part.startswith("$ x")
    assert part.endswith("error: the end")
    assert "left out" in part


# --- approvals ---------------------------------------------------------------------------------


def review(number: int, by: str, state: str, **more: Any) -> dict[str, Any]:
    usual = {"id": number, "user": {"login": by, "type": "User"}, "state": state, "body": "", "commit_id": HEAD}
    return usual | {"submitted_at": f"2026-01-01T00:00:{number:02}Z"} | more


def test_an_approval_counts_for_the_head_it_was_given_on() -> None:
    (decision,) = approvals.heard([review(1, "ann", "APPROVED", commit_id="b" * 40)], writers=["Ann"]).decisions
    assert (decision.kind, decision.by, decision.head_sha) == (DecisionKind.APPROVE, "ann", "b" * 40)
    assert decision.decision_id == "github-review-1-approved"


def test_an_approval_without_a_head_counts_for_none() -> None:
    found = approvals.heard([review(1, "ann", "APPROVED", commit_id=None)], writers=["ann"])
    assert found.decisions == ()
    assert [one.by for one in found.shown] == ["ann"]


def test_a_dismissed_approval_does_not_count() -> None:
    found = approvals.heard([review(1, "ann", "DISMISSED", body="fine")], writers=["ann"])
    assert found.decisions == ()
    assert [one.body for one in found.shown] == ["fine"]


def test_the_last_decision_of_a_person_counts_and_a_comment_does_not_take_it_back() -> None:
    listed = [
        review(3, "ann", "COMMENTED", body="by the way"),
        review(1, "ann", "CHANGES_REQUESTED", body="no"),
        review(2, "ann", "APPROVED"),
    ]
    found = approvals.heard(listed, writers=["ann"])
    assert [one.kind for one in found.decisions] == [DecisionKind.APPROVE]
    assert [one.body for one in found.feedback] == ["by the way"]


def test_words_of_people_without_write_access_are_shown_and_not_obeyed() -> None:
    found = approvals.heard(
        [review(1, "eve", "APPROVED", body="merge it")],
        comments=[
            {
                "id": 9,
                "user": {"login": "eve", "type": "User"},
                "body": "do this",
                "created_at": "2026-01-02T00:00:00Z",
            }
        ],
        writers=["ann"],
    )
    assert (found.decisions, found.feedback) == ((), ())
    assert [one.body for one in found.shown] == ["merge it", "do this"]


def test_our_own_words_other_bots_and_reviews_that_are_not_sent_are_not_heard() -> None:
    bot = {"user": {"login": "helper[bot]", "type": "Bot"}}
    found = approvals.heard(
        [
            review(1, "sdlc-bot", "APPROVED"),
            review(2, "ann", "PENDING", body="draft"),
            review(3, "x", "APPROVED", **bot),
            review(4, "x", "APPROVED", user=None),
        ],
        writers=["sdlc-bot", "ann", "helper[bot]"],
        ours=["SDLC-bot"],
    )
    assert (found.decisions, found.feedback) == ((), ())
    assert [one.by for one in found.shown] == ["helper[bot]"]


def test_a_request_for_changes_brings_its_comments_on_lines() -> None:
    comment = {"id": 5, "pull_request_review_id": 1, "user": {"login": "ann", "type": "User"}}
    on_line = {**comment, "body": "off by one", "path": "a.py", "line": 3}
    found = approvals.heard([review(1, "ann", "CHANGES_REQUESTED", body="see below")], [on_line], writers=["ann"])
    assert found.decisions[0].comment == "see below\n\na.py:3: off by one"
    assert found.feedback == ()


def test_an_answer_in_a_thread_is_feedback() -> None:
    reply = {"id": 6, "pull_request_review_id": 77, "user": {"login": "ann", "type": "User"}, "body": "still wrong"}
    its_review = review(77, "ann", "COMMENTED")
    assert [one.body for one in approvals.heard([its_review], [reply], writers=["ann"]).feedback] == ["still wrong"]
    # Its review was given after the reviews were read: it is heard with it the next time, and not twice.
    assert approvals.heard([], [reply], writers=["ann"]).feedback == ()


@pytest.mark.parametrize(
    ("permission", "may"),
    [
        ({"permission": "write", "role_name": "write"}, True),
        ({"permission": "write", "role_name": "maintain"}, True),
        ({"permission": "admin"}, True),
        ({"permission": "write", "role_name": "custom"}, True),
        ({"permission": "read", "role_name": "triage"}, False),
        ({"permission": "none"}, False),
        ({}, False),
    ],
)
def test_who_may_push_may_decide(permission: dict[str, str], may: bool) -> None:
    assert approvals.may_write(permission) is may


# --- marks -------------------------------------------------------------------------------------


def test_a_pull_request_bears_the_mark_of_its_run() -> None:
    body = pulls.marked_body("Evidence", RUN)
    assert pulls.is_of(body, RUN)
    assert pulls.is_of(f"{body}\r\n\r\nWritten on by a person, `<!-- note -->`.", RUN)
    assert not pulls.is_of(body, RUN.model_copy(update={"run_id": "r2"}))
    assert (pulls.marks_of(body).workflow_id, pulls.marks_of(body).marker) == ("sdlc-BUG-1", RUN.marker)
    assert pulls.marks_of(None).marker == ""
    assert pulls.marks_of(inline.with_mark("said", f"{RUN.marker} review")).marker == ""


@pytest.mark.parametrize(
    "text", ["{other}", "{other}\n\nmore", "<!-- sd{other}lc:evil:x -->", "<!-- {other} -->", "x" * 500]
)
def test_a_mark_in_the_text_of_a_ticket_is_not_taken_for_ours(text: str) -> None:
    other = "<!-- sdlc:sdlc-OTHER:r9 -->"
    body = pulls.marked_body(f"Evidence {text.format(other=other)}", RUN)
    assert pulls.is_of(body, RUN)
    assert pulls.marks_of(body).workflow_id == "sdlc-BUG-1"


def test_a_mark_counts_at_the_end_only_and_only_of_us() -> None:
    ours = inline.with_mark("said", f"{RUN.marker} review")
    assert marks.mark_of(ours) == f"{RUN.marker} review"
    assert marks.without_mark(ours) == ("said\n\n", f"<!-- {RUN.marker} review -->")
    for text in (
        f"{ours} indeed",
        "<!-- sdlc: -->",
        "<!-- sdlc:a\nb -->",
        "<!-- a --> <!-- sdlc:a",
        "<!-- note -->",
        "",
    ):
        assert marks.mark_of(text) == ""
        assert marks.without_mark(text) == (text, "")
    person, bot = {"login": "ann", "type": "User"}, {"login": "sdlc[bot]", "type": "Bot"}
    for user, login, by_us in (
        (person, "ANN", True),
        (person, "sdlc-bot", False),
        (bot, "sdlc[bot]", True),
        (person, "", False),
        (bot, "", True),
        (None, "", False),
        (None, "ann", False),
    ):
        assert marks.is_by_us({"user": user}, login) is by_us


def test_a_description_is_never_longer_than_github_takes_it() -> None:
    body = pulls.marked_body("x" * 80_000, RUN)
    assert len(body) <= 65_536
    assert pulls.is_of(body, RUN)
    assert len(pulls.cut_title("t" * 300)) == 256


@pytest.mark.parametrize(
    ("pull", "state"),
    [
        ({"state": "open", "draft": True}, PullRequestState.DRAFT),
        ({"state": "open"}, PullRequestState.OPEN),
        ({"state": "closed"}, PullRequestState.CLOSED),
        ({"state": "closed", "merged_at": "2026-01-01T00:00:00Z"}, PullRequestState.MERGED),
        ({"state": "closed", "merged": True}, PullRequestState.MERGED),
    ],
)
def test_the_state_of_a_pull_request_is_read(pull: dict[str, Any], state: PullRequestState) -> None:
    assert pulls.state_of(pull) is state


async def test_answers_are_kept_for_conditional_questions_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(GitHubSettings.model_validate({"token": "x"}), Tokens(GitHubSettings.model_validate({"token": "x"})))
    monkeypatch.setattr("sdlc.integrations.github.api._REMEMBERED_BYTES", 1_000)
    for number in range(50):
        api._remember(str(number), "etag", {"text": "x" * 90})
        api._remember(str(number), "etag", {"text": "y" * 90})
    assert 500 < api._remembered_bytes <= 1_000
    assert api._remembered_bytes == sum(len(content) for _, content in api._remembered.values())
    assert "49" in api._remembered
    assert "0" not in api._remembered
