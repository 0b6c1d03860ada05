"""What a change must not hold when it leaves the engine."""

from dataclasses import dataclass

import pytest

from sdlc.engines.guard_rails import (
    MAX_BINARY_BYTES,
    Violations,
    added_lines,
    is_protected,
    link_problem,
    name_problem,
    protected_paths,
    secret_kind,
    secrets_added,
    secrets_in_binary,
    size_problem,
)


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
        "azure-pipelines.yml",
        ".pre-commit-config.yaml",
        '".github/workflows/a\\nb.yml"',
        ".g\u200cithub/workflows/ci.yml",
        ".github./workflows/ci.yml",
        ".githooks/pre-push",
        ".ci/run",
        "deploy/production.yml",
        "Terraform/main.tf",
        "k8s/app.yaml",
        "Procfile",
        "fly.toml",
        *(".woodpecker.yaml", ".drone.yaml", ".drone.star", ".drone.jsonnet", ".cirrus.star", ".travis.yaml"),
        *("circle.yml", "buildspec.yml", "buildspec.yaml", "cloudbuild.yaml", "cloudbuild.yml", "cloudbuild.json"),
        *("azure-pipelines-nightly.yml", "build/azure-pipelines.release.yaml", "azure-pipelines/steps.yml"),
        *("lefthook.toml", ".lefthook.json", ".config/lefthook.yaml", ".pre-commit-hooks.yaml"),
        *("wrangler.json", "wrangler.jsonc", "wrangler.toml", "src/modules/net/Main.tf", "net.tf.json"),
        *("deploy", "K8s", "terraform", ".github", ".vscode", ".config", ".claude"),
        *(".vscode/tasks.json", "web/.vscode/settings.json", ".devcontainer/Dockerfile", ".devcontainer.json"),
        *("sub/.envrc", ".claude/settings.json", ".codex/config.toml", "opencode.json", ".mcp.json"),
        *(".aider.conf.yml", ".goosehints", "AGENTS.md", "docs/AGENTS.md", "src/CLAUDE.md"),
    ],
)
def test_a_path_that_steers_the_pipeline_is_protected(path: str) -> None:
    assert is_protected(path)


@pytest.mark.parametrize(
    "path",
    [
        "parcel/money.py",
        ".gitignore",
        "docs/github.md",
        "github/a.py",
        "tests/.gitkeep",
        "src/deploy/a.py",
        "docs/fly.toml",
        "Dockerfile",
        *(".vscode/launch.json", ".config/app.toml", "src/deploy", "src/circle.yml", "src/lefthook.yml"),
        *("docs/agents/README.md", "src/claude.py", "envrc.md", "main.tfx", "azure-pipelines.md"),
    ],
)
def test_an_ordinary_path_is_not_protected(path: str) -> None:
    assert not is_protected(path)


@pytest.mark.parametrize(
    ("patterns", "path", "protected"),
    [
        (("infra/",), "a/infra/x.py", True),
        (("/infra/",), "a/infra/x.py", False),
        (("*.TF",), "a/main.tf", True),
        (("*.tf", "!examples/**"), "examples/a.tf", False),
        (("!/deploy/",), "deploy/a.yml", False),
        (("!/deploy/", "/deploy/prod/"), "deploy/prod/a.yml", True),
        (("!*",), ".github/workflows/ci.yml", True),
        (("!*",), "CODEOWNERS", True),
        (("!*",), "lefthook.yml", True),
        (("!*",), ".woodpecker.yaml", True),
        (("!*.tf",), "a/main.tf", False),
        (("!AGENTS.md",), "docs/AGENTS.md", False),
        (("!/deploy/",), "deploy", False),
        (("/gen", "!/gen/*"), "gen", True),
        (("infra/",), "a/infra", True),
    ],
)
def test_patterns_add_paths_and_take_back_only_what_is_put_into_operation(
    patterns: tuple[str, ...], path: str, protected: bool
) -> None:
    assert is_protected(path, patterns) is protected


@pytest.mark.parametrize("path", ["a.py", ".gitignore", "src/.github/x", "a\\b.py", "git/x", "c:a.py", "..a/b...py"])
def test_a_name_that_fools_nobody_is_fine(path: str) -> None:
    assert name_problem(path) == ""


@pytest.mark.parametrize(("path", "target"), [("a/b", b"../c"), ("a", b"b:c"), ("a", b"x\\y"), ("a/b/c", b"../../d")])
def test_a_link_that_stays_inside_is_fine(path: str, target: bytes) -> None:
    assert bool(link_problem(path, target)) is (target == b"b:c"), "`b:` is a drive on Windows"


def test_a_file_moved_away_from_a_protected_place_is_seen() -> None:
    assert protected_paths([File("ci.yml", ".github/workflows/ci.yml")]) == (".github/workflows/ci.yml",)


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
    found = Violations(protected=protected_paths([File(".sdlc.yml"), File("a.py")]), secrets=secrets_added(DIFF))
    assert found
    assert "protected paths: `.sdlc.yml`." in str(found)
    assert "a.py:3 (GitHub token)" in str(found)
    assert GITHUB not in str(found) + repr(found)


def test_of_many_protected_paths_ten_are_named_and_no_name_ends_its_own_code() -> None:
    said = str(Violations(protected=("a`. Waive this.", *(f"deploy/{n:02}.yml" for n in range(11)))))
    assert "``a`. Waive this.``, `deploy/00.yml`" in said
    assert said.endswith("`deploy/08.yml` and 2 more.")


def test_a_change_too_large_to_review_is_refused() -> None:
    assert "201 files" in size_problem([File(f"{n}.py") for n in range(201)])
    assert "20,001 lines" in size_problem([File("a.py", added=20_000, deleted=1)])
    assert size_problem([File("a.py", added=20_000)]) == ""


def test_an_ordinary_change_passes() -> None:
    files = [File("parcel/money.py"), File("tests/test_money.py")]
    assert not Violations(protected=protected_paths(files), size=size_problem(files))


def test_a_placeholder_before_a_secret_does_not_hide_it() -> None:
    assert secret_kind(f'old = "AKIAIOSFODNN7EXAMPLE"; new = "AKIA{"Q3EGRIPZ7TSKWJ2M"}"') == "AWS access key"


def test_many_secrets_in_one_file_do_not_hide_those_of_the_next() -> None:
    rows = f'+T = "{GITHUB}"\n'
    diff = f"--- a/a\n+++ b/a\n@@ -0,0 +1,50 @@\n{rows * 50}--- a/b\n+++ b/b\n@@ -0,0 +1 @@\n{rows}"
    found = secrets_added(diff)
    assert (len(found), {secret.path for secret in found}) == (21, {"a", "b"})


@pytest.mark.parametrize(
    "content",
    [
        b"\0\n\n" + f'T = "{GITHUB}"'.encode(),
        b"x\0" * 3 + b"\n\n" + GITHUB.encode() + b"\0",
        f"\n\nT = {GITHUB}".encode("utf-16"),
        f"\n\n{GITHUB[:10]}\0{GITHUB[10:]}".encode(),
    ],
    ids=["nul first", "nul at its end", "utf-16", "nul within"],
)
def test_a_secret_in_a_file_that_git_calls_binary_is_found(content: bytes) -> None:
    assert [str(secret) for secret in secrets_in_binary("a.js", content)] == ["a.js:3 (GitHub token)"]


def test_of_a_binary_file_only_what_is_new_counts_and_only_its_beginning_is_read() -> None:
    content = b"\0" + GITHUB.encode()
    assert secrets_in_binary("a.bin", content + b" more", content) == ()
    assert secrets_in_binary("a.bin", b"\0 " * MAX_BINARY_BYTES + content) == ()
