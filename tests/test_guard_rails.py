"""What a change must not hold when it leaves the engine."""

from dataclasses import dataclass

import pytest

from sdlc.engines.guard_rails import added_lines, is_protected, secret_kind, secrets_added, size_problem, violations


@dataclass
class File:
    path: str
    old_path: str = ""
    added: int = 1
    deleted: int = 0


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        ".GitHub/CODEOWNERS",
        ".gitlab-ci.yml",
        "CODEOWNERS",
        "docs/CODEOWNERS",
        ".sdlc.yml",
        ".gitattributes",
        "sub/.gitattributes",
        ".gitmodules",
        ".git/hooks/pre-commit",
        "a/.git/config",
        ".circleci/config.yml",
        "Jenkinsfile",
        ".pre-commit-config.yaml",
        '".github/workflows/a\\nb.yml"',
    ],
)
def test_a_path_that_steers_the_pipeline_is_protected(path: str) -> None:
    assert is_protected(path)


@pytest.mark.parametrize("path", ["parcel/money.py", ".gitignore", "docs/github.md", "github/a.py", "tests/.gitkeep"])
def test_an_ordinary_path_is_not_protected(path: str) -> None:
    assert not is_protected(path)


def test_a_file_moved_away_from_a_protected_place_is_seen() -> None:
    assert violations([File("ci.yml", ".github/workflows/ci.yml")], "").protected == (".github/workflows/ci.yml",)


GITHUB = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("key = AKIA" + "Q3EGRIPZ7TSKWJ2M", "AWS access key"),
        ("-----BEGIN RSA PRIVATE " + "KEY-----", "private key"),
        (f"token={GITHUB}", "GitHub token"),
        ('API_KEY = "' + "q8Zr2Lk9Vx4Tn7Bw3Md6" + '"', "value of a secret-like name"),
    ],
)
def test_a_secret_is_recognised(line: str, kind: str) -> None:
    assert secret_kind(line) == kind


@pytest.mark.parametrize(
    "line",
    [
        'aws = "AKIAIOSFODNN7EXAMPLE"',
        'password = "changeme-changeme-changeme"',
        'token = "your-token-goes-here-please"',
        'secret_key = os.environ["SECRET_KEY_OF_THIS_APPLICATION"]',
        'api_key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"',
        'token = "some.long.dotted.module.name"',
        "sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
    ],
)
def test_a_placeholder_or_an_ordinary_line_is_no_secret(line: str) -> None:
    assert secret_kind(line) == ""


DIFF = f"""diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1,2 +1,3 @@
 import os
-T = "{GITHUB}"
+++ b/fake.py
+T = "{GITHUB}"
diff --git "a/\\303\\244.py" "b/\\303\\244.py"
--- "a/\\303\\244.py"
+++ "b/\\303\\244.py"
@@ -0,0 +5 @@
+T = "{GITHUB}"
\\ No newline at end of file
"""


def test_only_added_lines_are_looked_at_and_the_place_is_right() -> None:
    assert [(path, number) for path, number, _ in added_lines(DIFF)] == [("a.py", 2), ("a.py", 3), ("ä.py", 5)]
    assert [str(secret) for secret in secrets_added(DIFF)] == ["a.py:3 (GitHub token)", "ä.py:5 (GitHub token)"]


def test_the_message_names_paths_and_never_the_secret() -> None:
    found = violations([File(".sdlc.yml"), File("a.py")], DIFF)
    assert found
    assert ".sdlc.yml" in str(found)
    assert "a.py:3 (GitHub token)" in str(found)
    assert GITHUB not in str(found) + repr(found)


def test_a_change_too_large_to_review_is_refused() -> None:
    assert "201 files" in size_problem([File(f"{n}.py") for n in range(201)])
    assert "20,001 lines" in size_problem([File("a.py", added=20_000, deleted=1)])
    assert size_problem([File("a.py", added=20_000)]) == ""


def test_an_ordinary_change_passes() -> None:
    assert not violations([File("parcel/money.py"), File("tests/test_money.py")], "")
