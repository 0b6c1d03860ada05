"""The check `delivery`: what opens a hole in pipelines, images, registries and lock files, and what does not."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.review_graphs.checks.base import Raised
from sdlc.review_graphs.checks.security.delivery import Delivery
from sdlc.review_graphs.checks.security.lock_files import read_lock
from sdlc.review_graphs.checks.security.shell import commands
from sdlc.review_graphs.checks.security.yaml_nodes import read_documents, read_yaml
from sdlc.review_graphs.findings import LONGEST_MESSAGE
from tests.trees import Files, trees

CHECK = Delivery()
WORKFLOW = ".github/workflows/ci.yml"
SHA = "b4ffde65f46336ab88eb53be808477a3936bae11"
CHECKOUT = f"- uses: actions/checkout@{SHA}\n"
OF_THE_FORK = f"{CHECKOUT}  with:\n    ref: ${{{{ github.event.pull_request.head.sha }}}}\n"


def workflow(on: str, steps: str, *, top: str = "", job: str = "", more: str = "") -> str:
    """A workflow of one job; `top` and `job` are entries of the workflow and of the job."""
    indented = "".join(f"      {line}\n" for line in steps.strip("\n").split("\n"))
    return f"name: ci\non: {on}\n{top}jobs:\n  build:\n    runs-on: ubuntu-24.04\n{job}    steps:\n{indented}{more}"


def all_found(folder: Path, head: Files, base: Files | None = None) -> list[Raised]:
    found = list(CHECK.run(trees(folder, base or {}, {**(base or {}), **head})))
    assert all(len(item.message) <= LONGEST_MESSAGE for item in found)
    return found


def told(folder: Path, head: Files, base: Files | None = None) -> list[tuple[str, str, str]]:
    """(rule, severity, the line that it is shown at) of what is found."""
    texts = {path: text if isinstance(text, str) else text.decode() for path, text in head.items()}
    return [
        (item.rule, item.severity, texts[item.file].split("\n")[item.line - 1].strip())
        for item in all_found(folder, head, base)
    ]


# --- GitHub workflows ---------------------------------------------------------------------


def test_the_code_of_a_fork_is_not_run_with_the_repositorys_rights(tmp_path: Path) -> None:
    base = {WORKFLOW: workflow("pull_request", f"{CHECKOUT}- run: npm ci")}
    head = {WORKFLOW: workflow("pull_request_target", f"{OF_THE_FORK}- run: npm ci")}
    assert told(tmp_path, head, base) == [
        ("untrusted-checkout", "blocker", "ref: ${{ github.event.pull_request.head.sha }}")
    ]


@pytest.mark.parametrize(
    "text",
    [
        workflow(
            "[workflow_run]", f"{CHECKOUT}  with: {{ref: '${{{{ github.event.workflow_run.head_sha }}}}'}}\n- run: make"
        ),
        workflow("issue_comment", "- run: gh pr checkout 1 && make"),
        workflow("pull_request_target", f"{CHECKOUT}- run: git fetch origin pull/1/head:pr\n- uses: ./act"),
        workflow("\n  pull_request_target:\n    types: [opened]", f"{OF_THE_FORK}- uses: ./.github/actions/build"),
    ],
)
def test_nor_in_its_other_forms(tmp_path: Path, text: str) -> None:
    assert [rule for rule, _, _ in told(tmp_path, {WORKFLOW: text})] == ["untrusted-checkout"]


@pytest.mark.parametrize(
    "text",
    [
        workflow("pull_request", f"{OF_THE_FORK}- run: npm ci"),
        workflow("pull_request_target", f"{CHECKOUT}- run: npm ci"),
        workflow("pull_request_target", f"{OF_THE_FORK}- uses: actions/labeler@{SHA}"),
        workflow(
            "pull_request_target",
            f"{OF_THE_FORK}- run: npm ci",
            job="    if: github.event.pull_request.head.repo.full_name == github.repository\n",
        ),
        workflow("pull_request_target", f"{OF_THE_FORK}- run: npm ci", job="    environment: forks\n"),
        workflow("workflow_run", f"{CHECKOUT}- run: ./deploy"),
        workflow("push", f"{CHECKOUT}- run: npm ci"),
    ],
)
def test_what_looks_like_it_is_left_alone(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, {WORKFLOW: text}) == []


def test_what_strangers_write_is_not_pasted_into_scripts(tmp_path: Path) -> None:
    steps = (
        '- run: |\n    echo hello\n    echo "${{ github.event.issue.title }}"\n'
        "- uses: actions/github-script@v7\n  with:\n    script: |\n"
        "      log(`${{ github.event['comment']['body'] }}`)\n"
    )
    assert told(tmp_path, {WORKFLOW: workflow("[issues, issue_comment]", steps)}) == [
        ("script-injection", "blocker", 'echo "${{ github.event.issue.title }}"'),
        ("script-injection", "blocker", "log(`${{ github.event['comment']['body'] }}`)"),
    ]


def test_a_branch_name_is_such_a_text_too(tmp_path: Path) -> None:
    text = workflow("pull_request", "- run: git switch ${{ github.head_ref || github.ref_name }}")
    assert [(rule, severity) for rule, severity, _ in told(tmp_path, {WORKFLOW: text})] == [
        ("script-injection", "major")
    ]


@pytest.mark.parametrize(
    "step",
    [
        '- run: echo "$TITLE"\n  env:\n    TITLE: ${{ github.event.issue.title }}',
        "- if: contains(github.event.issue.title, 'bug')\n  run: make",
        "- run: echo ${{ github.event.issue.number }} ${{ github.event.pull_request.head.sha }}",
        "- run: echo ${{ contains(github.event.issue.title, 'bug') }} ${{ github.head_ref == 'main' }}",
        "- uses: someone/comment@v1\n  with:\n    body: ${{ github.event.issue.title }}",
        "- run: echo ${{ inputs.name }} ${{ matrix.python }} ${{ secrets.X != '' }}",
    ],
)
def test_what_can_do_no_harm_in_a_script_is_left_alone(tmp_path: Path, step: str) -> None:
    known = {".github/workflows/old.yml": "jobs:\n  a:\n    steps:\n      - uses: someone/comment@v1\n"}
    assert told(tmp_path, {WORKFLOW: workflow("issues", step)}, known) == []


TWO_JOBS = "  lint:\n    runs-on: ubuntu-24.04\n    steps: []\n"


def test_rights_that_become_wider_are_told(tmp_path: Path) -> None:
    base = {WORKFLOW: workflow("push", CHECKOUT)}
    head = {WORKFLOW: workflow("push", CHECKOUT, top="permissions: write-all\n")}
    assert told(tmp_path / "1", head, base) == [("wide-permissions", "major", "permissions: write-all")]
    reads = {
        WORKFLOW: workflow("[push, pull_request]", CHECKOUT, top="permissions:\n  contents: read\n", more=TWO_JOBS)
    }
    writes = {WORKFLOW: str(reads[WORKFLOW]).replace("read\n", "write\n")}
    assert told(tmp_path / "2", writes, reads) == [("wide-permissions", "minor", "contents: write")]
    dropped = {WORKFLOW: workflow("[push, pull_request]", CHECKOUT, more=TWO_JOBS)}
    assert [rule for rule, _, _ in told(tmp_path / "3", dropped, reads)] == ["wide-permissions"]


def test_rights_that_one_job_needs_are_not(tmp_path: Path) -> None:
    reads = workflow("push", CHECKOUT, top="permissions:\n  contents: read\n")
    release = workflow(
        "push", CHECKOUT, top="permissions:\n  contents: read\n", job="    permissions:\n      contents: write\n"
    )
    assert told(tmp_path / "1", {WORKFLOW: release}, {WORKFLOW: reads}) == []
    only_job = reads.replace("read\n", "write\n")
    assert told(tmp_path / "2", {WORKFLOW: only_job}, {WORKFLOW: reads}) == []
    labels = workflow(
        "pull_request_target", f"- uses: actions/labeler@{SHA}", top="permissions:\n  pull-requests: write\n"
    )
    assert told(tmp_path / "3", {WORKFLOW: labels}) == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (f"- uses: x/y@{SHA}", "- uses: z/w@v1", "major"),
        (CHECKOUT, "- uses: z/w@main", "major"),
        ("- uses: x/y@v1", "- uses: z/w@main", "minor"),
        (f"- uses: x/y@{SHA}", "- uses: x/y@v3", "major"),
        ("- uses: x/y@v1", "- uses: z/w@v1", ""),
        (f"- uses: x/y@{SHA}", f"- uses: z/w@{SHA} # v1", ""),
        (f"- uses: x/y@{SHA}", "- uses: actions/cache@v4", ""),
        (f"- uses: x/y@{SHA}", "- uses: ./local", ""),
        ("- uses: x/y@main", "- uses: x/y@main\n  with: {a: b}", ""),
    ],
)
def test_an_action_of_others_is_pinned_as_the_others_are(tmp_path: Path, before: str, now: str, expected: str) -> None:
    base = {WORKFLOW: workflow("push", f"{CHECKOUT}{before}")}
    found = told(tmp_path, {WORKFLOW: workflow("push", f"{CHECKOUT}{now}")}, base)
    assert [severity for rule, severity, _ in found if rule == "moving-action"] == ([expected] if expected else [])


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    steps = (
        '- run: echo "${{ secrets.KEY }}"\n'
        "- run: echo $API_TOKEN | base64\n"
        '- run: |\n    if x; then echo "token: $MY_TOKEN"; fi\n'
        "- run: ./x\n  env:\n    ALL: ${{ toJSON(secrets) }}\n"
    )
    assert sorted(told(tmp_path, {WORKFLOW: workflow("push", steps)})) == [
        ("all-secrets", "major", "ALL: ${{ toJSON(secrets) }}"),
        ("secret-in-log", "major", "- run: echo $API_TOKEN | base64"),
        ("secret-in-log", "minor", '- run: echo "${{ secrets.KEY }}"'),
        ("secret-in-log", "minor", 'if x; then echo "token: $MY_TOKEN"; fi'),
    ]


@pytest.mark.parametrize(
    "line",
    [
        'echo "${{ secrets.KEY }}" > key.json',
        'echo "${{ secrets.KEY }}" | docker login --password-stdin',
        'echo "$KEY_TOKEN" | base64 -d > key',
        'echo "::add-mask::$TOKEN"',
        "echo ${#TOKEN} ${TOKEN:+set}",
        'echo "TOKEN=$TOKEN" >> $GITHUB_ENV',
        "echo TOKEN is not set",
        'curl -H "Authorization: Bearer $TOKEN" https://api.example.org',
    ],
)
def test_secrets_that_go_where_they_belong_are_left_alone(tmp_path: Path, line: str) -> None:
    assert told(tmp_path, {WORKFLOW: workflow("push", f"- run: |\n    {line}")}) == []


def test_a_check_that_can_fail_no_more_is_told(tmp_path: Path) -> None:
    base = {
        WORKFLOW: workflow("push", "- run: pytest\n- name: scan\n  uses: aquasecurity/trivy-action@v1\n- run: ./up")
    }
    head = {
        WORKFLOW: workflow(
            "push",
            "- run: pytest || true\n- name: scan\n  uses: aquasecurity/trivy-action@v1\n  continue-on-error: true\n"
            "- run: ./up\n  continue-on-error: true",
        )
    }
    assert told(tmp_path, head, base) == [
        ("check-cannot-fail", "major", "continue-on-error: true"),
        ("check-cannot-fail", "major", "- run: pytest || true"),
    ]


@pytest.mark.parametrize(
    "step",
    [
        "- run: pytest\n  continue-on-error: ${{ matrix.experimental }}",
        "- run: pytest\n- run: bandit -r src\n  continue-on-error: true",
        "- run: pytest\n- run: docker rm old || true",
    ],
)
def test_a_new_step_may_fail_and_so_may_an_experiment(tmp_path: Path, step: str) -> None:
    assert told(tmp_path, {WORKFLOW: workflow("push", step)}, {WORKFLOW: workflow("push", "- run: pytest")}) == []


def test_pull_requests_do_not_run_on_machines_of_ones_own(tmp_path: Path) -> None:
    def own(on: str) -> Files:
        return {WORKFLOW: workflow(on, CHECKOUT).replace("ubuntu-24.04", "[self-hosted, linux]")}

    assert told(tmp_path / "1", own("pull_request")) == [
        ("self-hosted-runner", "major", "runs-on: [self-hosted, linux]")
    ]
    assert told(tmp_path / "2", own("push")) == []
    assert told(tmp_path / "3", {WORKFLOW: f"# a word\n{own('pull_request')[WORKFLOW]!s}"}, own("pull_request")) == []


# --- commands, wherever they stand --------------------------------------------------------

COMMANDS = {
    "curl -LsSf https://example.org/install.sh | sh": ("download-and-run", "minor"),
    "curl http://example.org/install.sh | sudo bash -": ("download-and-run", "major"),
    "curl -k https://example.org/install.sh | sh": ("download-and-run", "major"),
    "bash <(curl -s https://example.org/bash)": ("download-and-run", "minor"),
    'sh -c "$(wget -qO- https://example.org/x)"': ("download-and-run", "minor"),
    "curl https://example.org/get.py | python3 -": ("download-and-run", "minor"),
    "curl -k https://example.org/tool -o tool": ("unverified-download", "major"),
    "wget --no-check-certificate https://example.org/tool": ("unverified-download", "major"),
    "git -c http.sslVerify=false clone https://example.org/x": ("unverified-download", "major"),
    "npm config set strict-ssl false": ("unverified-download", "major"),
    "export NODE_TLS_REJECT_UNAUTHORIZED=0": ("unverified-download", "major"),
    "pip install --trusted-host pypi.acme.io x": ("unverified-index", "major"),
    "pip install --extra-index-url https://pypi.acme.io/simple x": ("second-index", "major"),
    "pip install --index-url http://pypi.acme.io/simple x": ("plain-registry", "major"),
    "npm install --registry http://npm.acme.io": ("plain-registry", "major"),
    "chmod -R 777 /srv/data": ("open-permissions", "minor"),
    "ssh -o StrictHostKeyChecking=no deploy@host": ("unverified-host", "minor"),
}
HARMLESS = [
    "curl -sSf https://example.org/tool.tgz -o tool.tgz && sha256sum -c sums",
    "curl -fsSL https://example.org/x | sha256sum",
    "curl -s https://api.example.org/x | python3 -m json.tool",
    "curl -s https://api.example.org/x | jq .",
    "curl -o a https://example.org/x && cat a | sh",
    "curl -fsSL https://raw.example.org/a/b/0123456789012345678901234567890123456789/i.sh | sh",
    "curl -LsSf https://example.org/uv/0.5.1/install.sh | sh",
    'echo "run curl https://example.org/x | sh"',
    "# curl https://example.org/x | sh",
    "curl -k https://localhost:8443/health",
    "curl -sk https://127.0.0.1/health | bash",
    "pip install --extra-index-url https://download.pytorch.org/whl/cpu torch",
    "pip install --trusted-host localhost:8081 x",
    "npm install --registry http://localhost:4873",
    "chmod 755 run.sh && chmod 1777 /tmp && chmod +x a",
    "ssh -o StrictHostKeyChecking=accept-new host",
]


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("path", ["Dockerfile", "scripts/install.sh", WORKFLOW, ".gitlab-ci.yml", "Makefile"])
def test_a_command_that_takes_protection_away_is_told_wherever_it_stands(tmp_path: Path, line: str, path: str) -> None:
    rule, severity = COMMANDS[line]
    ((found, level, shown),) = told(tmp_path, {path: standing(path, line)}, {path: standing(path, "true")})
    assert (found, level) == (rule, severity)
    assert line in shown


@pytest.mark.parametrize("line", HARMLESS)
@pytest.mark.parametrize("path", ["Dockerfile", "scripts/install.sh", WORKFLOW, ".gitlab-ci.yml"])
def test_a_command_that_only_looks_so_is_left_alone(tmp_path: Path, line: str, path: str) -> None:
    assert told(tmp_path, {path: standing(path, line)}) == []


def standing(path: str, line: str) -> str:
    """The command as it stands in a file of that kind."""
    if path == "Dockerfile":
        return f"FROM debian\n{line}\n" if line.startswith("#") else f"FROM debian\nRUN set -e; \\\n    {line}\n"
    if path == WORKFLOW:
        return workflow("push", f"- run: |\n    {line}\n")
    if path == ".gitlab-ci.yml":
        return f"build:\n  script:\n    - |\n      {line}\n"
    return f"all:\n\t{line}\n" if path == "Makefile" else f"#!/bin/sh\n{line}\n"


def test_what_was_run_before_is_not_the_changes(tmp_path: Path) -> None:
    line = "curl https://example.org/install.sh | sh"
    base = {"install.sh": f"#!/bin/sh\n{line}\n"}
    assert told(tmp_path / "1", {"install.sh": f"#!/bin/sh\n{line} -s -- --quiet\n"}, base) == []
    second = {"install.sh": f"#!/bin/sh\n{line}\ncurl https://example.com/x | sh\n"}
    assert [shown for _, _, shown in told(tmp_path / "2", second, base)] == ["curl https://example.com/x | sh"]


def test_what_is_only_written_to_a_file_is_not_run(tmp_path: Path) -> None:
    text = "#!/bin/sh\ncat <<'EOF' > help\ncurl https://example.org/x | sh\nEOF\nls\n"
    assert told(tmp_path, {"help.sh": text}) == []


def test_commands_are_joined_and_keep_their_lines() -> None:
    joined, last = commands([(1, "a \\"), (2, "  b"), (3, "# c"), (4, ""), (5, "d")])
    assert (joined.text, joined.lines, last.text) == ("a b", (1, 2), "d")
    assert joined.where("b") == (2, 1)


@pytest.mark.parametrize("path", ["README.md", "docs/install.rst", "tests/install.sh", "examples/Dockerfile"])
def test_documents_and_examples_may_tell_how_to_install(tmp_path: Path, path: str) -> None:
    assert told(tmp_path, {path: "curl https://example.org/x | sh\n"}) == []


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("requirements.txt", "--extra-index-url https://pypi.acme.io/simple\nx==1\n", "second-index"),
        (".npmrc", "registry=http://npm.acme.io/\n", "plain-registry"),
        (".npmrc", "strict-ssl=false\n", "unverified-download"),
        ("pip.conf", "[global]\ntrusted-host = pypi.acme.io\n", "unverified-index"),
        (".yarnrc.yml", 'npmRegistryServer: "http://npm.acme.io"\n', "plain-registry"),
    ],
)
def test_settings_of_registries_are_read(tmp_path: Path, path: str, text: str, rule: str) -> None:
    assert [found for found, _, _ in told(tmp_path, {path: text})] == [rule]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements.txt", "--extra-index-url https://pypi.acme.io/simple\nx==1 --hash=sha256:00\n"),
        ("requirements.txt", "--index-url https://pypi.acme.io/simple\n# http://x\nx==1\n"),
        (".npmrc", "registry=https://npm.acme.io/\nengine-strict=true\n"),
    ],
)
def test_settings_that_are_sound_are_left_alone(tmp_path: Path, path: str, text: str) -> None:
    assert told(tmp_path, {path: text}) == []


def test_a_gitlab_pipeline_is_read_likewise(tmp_path: Path) -> None:
    base = {".gitlab-ci.yml": "test:\n  script:\n    - pytest\n"}
    head = {".gitlab-ci.yml": "test:\n  script:\n    - pytest\n    - echo $DEPLOY_PASSWORD\n  allow_failure: true\n"}
    assert told(tmp_path, head, base) == [
        ("secret-in-log", "major", "- echo $DEPLOY_PASSWORD"),
        ("check-cannot-fail", "major", "allow_failure: true"),
    ]


# --- images and containers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("FROM a\nUSER app\nCMD x\n", "FROM a\nUSER root\nCMD x\n", ("major", "USER root")),
        ("FROM a\nRUN x\nUSER app\n", "FROM a\nRUN y\n", ("major", "RUN y")),
        ("FROM a\nUSER app\n", "FROM a\nUSER app\nUSER 0:0\n", ("major", "USER 0:0")),
        (None, "FROM a AS b\nUSER app\nFROM c\nUSER 0\n", ("minor", "USER 0")),
        ("FROM a\nUSER app\n", "FROM a\nUSER root\nRUN apt-get update\nUSER app\n", None),
        ("FROM a\nUSER root\n", "FROM b\nUSER root\n", None),
        ("FROM a\nRUN x\n", "FROM a\nRUN y\n", None),
        (None, "FROM a\nRUN y\n", None),
        ("FROM a\nUSER app\n", 'FROM a\nRUN x\nUSER root\nENTRYPOINT ["gosu", "app", "x"]\n', None),
        ("FROM a\nUSER app\n", "FROM a\nUSER other\n", None),
    ],
)
def test_a_container_does_not_start_as_root_where_it_did_not(
    tmp_path: Path, before: str | None, now: str, expected: tuple[str, str] | None
) -> None:
    found = told(tmp_path, {"Dockerfile": now}, {"Dockerfile": before} if before else {})
    assert found == ([("root-user", *expected)] if expected else [])


def test_what_an_image_takes_in_and_keeps_is_told(tmp_path: Path) -> None:
    text = (
        "FROM a\n"
        "ADD https://example.org/a.tgz /a\n"
        "ADD --checksum=sha256:00 https://example.org/b /b\n"
        "ADD https://github.com/x/y.git#v1 /c\n"
        "ADD local.tgz /d\n"
        "ARG NPM_TOKEN\n"
        "ARG GITHUB_TOKEN\n"
        "ENV NPM_TOKEN=$NPM_TOKEN\n"
        "RUN <<EOF\n"
        "curl https://example.org/x | bash\n"
        "EOF\n"
        "RUN --mount=type=secret,id=token cat /run/secrets/token\n"
    )
    assert told(tmp_path, {"Dockerfile": text}) == [
        ("unchecked-add", "minor", "ADD https://example.org/a.tgz /a"),
        ("secret-in-image", "minor", "ARG GITHUB_TOKEN"),
        ("secret-in-image", "major", "ENV NPM_TOKEN=$NPM_TOKEN"),
        ("download-and-run", "minor", "curl https://example.org/x | bash"),
    ]


def test_what_an_earlier_stage_needs_is_not_in_the_image(tmp_path: Path) -> None:
    text = "FROM a AS build\nARG NPM_TOKEN\nRUN npm ci\nFROM b\nCOPY --from=build /x /x\nUSER app\n"
    assert told(tmp_path, {"Dockerfile": text}) == []


def test_of_a_long_command_the_line_is_shown_that_it_is_about(tmp_path: Path) -> None:
    base = {"Dockerfile": "FROM a\nRUN x && \\\n    y\n"}
    head = {"Dockerfile": "FROM a\nRUN x && \\\n    # why\n\n    chmod 777 /data && \\\n    y\n"}
    assert told(tmp_path, head, base) == [("open-permissions", "minor", "chmod 777 /data && \\")]


def test_a_compose_file_opens_no_way_to_the_host(tmp_path: Path) -> None:
    base = {"docker-compose.yml": "services:\n  app:\n    image: x\n"}
    text = (
        "x-base: &base\n  privileged: true\n"
        "services:\n  app:\n    <<: *base\n    image: x\n    network_mode: host\n    pid: host\n"
        "    cap_add: [SYS_ADMIN, NET_BIND_SERVICE]\n"
        "    volumes:\n      - ./data:/data\n      - /var/run/docker.sock:/var/run/docker.sock:ro\n"
        "      - type: bind\n        source: /run/podman/podman.sock\n"
    )
    found = told(tmp_path / "1", {"docker-compose.yml": text}, base)
    assert sorted((rule, severity) for rule, severity, _ in found) == [
        ("engine-socket", "major"),
        ("engine-socket", "major"),
        ("host-access", "major"),
        ("host-access", "major"),
        ("host-access", "minor"),
        ("privileged", "major"),
    ]
    assert told(tmp_path / "2", {"docker-compose.yml": f"# a word\n{text}"}, {"docker-compose.yml": text}) == []


def test_nor_does_a_pod(tmp_path: Path) -> None:
    spec = "hostNetwork: true\n      containers:\n        - name: a\n"
    spec += "          securityContext:\n            privileged: true\n"
    text = f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec:\n  template:\n    spec:\n      {spec}"
    service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: y\n---\n"
    assert told(tmp_path / "1", {"k8s/app.yaml": service + text}) == [
        ("host-access", "minor", "hostNetwork: true"),
        ("privileged", "major", "privileged: true"),
    ]
    assert told(tmp_path / "2", {"values.yaml": "privileged: true\nhostNetwork: true\n"}) == []


# --- lock files ---------------------------------------------------------------------------

NPM = "packages.example"


def npm(
    name: str = "lodash", version: str = "4.17.20", host: str = NPM, *, checksum: str = "sha512-AAA", **more: Any
) -> str:
    entry = {"version": version, "resolved": f"https://{host}/{name}/-/{name}-{version}.tgz", "integrity": checksum}
    entry = {key: value for key, value in {**entry, **more}.items() if value}
    return json.dumps({"lockfileVersion": 3, "packages": {"": {}, f"node_modules/{name}": entry}}, indent=2)


def npm_old(**entry: Any) -> str:
    return json.dumps({"lockfileVersion": 1, "dependencies": {"lodash": {"version": "4.17.20", **entry}}}, indent=2)


def uv(
    source: str = '{ registry = "https://index.example/simple" }', version: str = "1.0", checksum: str = "sha256:a"
) -> str:
    wheel = f'{{ url = "https://files.example/a-{version}.whl", hash = "{checksum}" }}'
    package = f'[[package]]\nname = "a"\nversion = "{version}"\nsource = {source}\n'
    return f"version = 1\n\n{package}wheels = [\n    {wheel},\n]\n"


def poetry(version: str = "1.0", checksum: str = "sha256:a", more: str = "") -> str:
    return f'[[package]]\nname = "a"\nversion = "{version}"\nfiles = [{{file = "a.whl", hash = "{checksum}"}}]\n{more}'


def yarn(url: str = "https://yarn.example/a/-/a-1.tgz#x", checksum: str = "sha512-A") -> str:
    return f'# yarn lockfile v1\n\n\na@^1:\n  version "1.0.0"\n  resolved "{url}"\n  integrity {checksum}\n'


def pnpm(resolution: str) -> str:
    return f"lockfileVersion: '9.0'\n\npackages:\n\n  a@1.0.0:\n    resolution: {{{resolution}}}\n    engines: {{}}\n"


GIT = '{ git = "https://github.com/stranger/a?rev=main#12" }'
ELSEWHERE, CHANGED, REMOVED = "package-from-elsewhere", "checksum-changed", "checksum-removed"


@pytest.mark.parametrize(
    ("path", "before", "now", "rule"),
    [
        ("package-lock.json", npm(), npm(version="4.17.21", host="mirror.example"), ELSEWHERE),
        ("package-lock.json", npm(), npm(resolved=f"http://{NPM}/lodash.tgz"), ELSEWHERE),
        ("package-lock.json", npm(), npm(resolved="git+ssh://git@github.com/stranger/lodash.git#12"), ELSEWHERE),
        ("package-lock.json", npm(), npm(checksum="sha512-BBB"), CHANGED),
        ("package-lock.json", npm(), npm(checksum=""), REMOVED),
        ("package-lock.json", npm_old(integrity="sha512-A"), npm_old(integrity="sha512-B"), CHANGED),
        ("web/npm-shrinkwrap.json", npm(), npm(version="4.17.21", host="mirror.example"), ELSEWHERE),
        ("yarn.lock", yarn(), yarn("https://mirror.example/a/-/a-1.tgz#x", "sha512-B"), ELSEWHERE),
        ("yarn.lock", yarn(), yarn(checksum="sha512-B"), CHANGED),
        ("pnpm-lock.yaml", pnpm("integrity: sha512-A"), pnpm("integrity: sha512-B"), CHANGED),
        ("pnpm-lock.yaml", pnpm("integrity: sha512-A"), pnpm("tarball: https://mirror.example/a.tgz"), ELSEWHERE),
        ("uv.lock", uv(), uv(GIT), ELSEWHERE),
        ("uv.lock", uv(), uv('{ registry = "https://pypi.example/simple" }', "2.0"), ELSEWHERE),
        ("uv.lock", uv(), uv(checksum="sha256:b"), CHANGED),
        ("poetry.lock", poetry(), poetry(checksum="sha256:b"), CHANGED),
        (
            "poetry.lock",
            poetry(),
            poetry(more='[package.source]\ntype = "url"\nurl = "https://x.example/a.whl"\n'),
            ELSEWHERE,
        ),
        (
            "Cargo.lock",
            '[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\n'
            'checksum = "aa"\n',
            '[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\n'
            'checksum = "bb"\n',
            CHANGED,
        ),
        (
            "go.sum",
            "x.io/a v1.0.0 h1:A=\nx.io/a v1.0.0/go.mod h1:B=\n",
            "x.io/a v1.0.0 h1:C=\nx.io/a v1.0.0/go.mod h1:B=\n",
            CHANGED,
        ),
    ],
)
def test_a_lock_file_that_takes_a_package_from_elsewhere_is_sent_back(
    tmp_path: Path, path: str, before: str, now: str, rule: str
) -> None:
    (item,) = all_found(tmp_path, {path: now}, {path: before})
    assert (item.rule, item.severity, item.file) == (rule, "major", path)
    given = trees(tmp_path / "again", {path: before}, {path: now})
    if rule != REMOVED:
        assert given.files[0].has_added(item.line)


@pytest.mark.parametrize(
    ("path", "before", "now"),
    [
        ("package-lock.json", npm(), npm(version="4.17.21", checksum="sha512-B")),
        ("package-lock.json", npm(checksum="sha1-A"), npm(checksum="sha512-B")),
        ("package-lock.json", npm(), npm("react", "18.0.0", checksum="sha512-R")),
        ("package-lock.json", npm(host="npm.acme.io"), npm(version="4.17.21", host="npm.acme.io", checksum="sha512-B")),
        ("package-lock.json", "", npm(host="npm.acme.io")),
        ("package-lock.json", npm(), npm(host="mirror.example")),
        ("package-lock.json", npm(), "{"),
        ("package-lock.json", "[]", npm()),
        ("uv.lock", uv(), uv(version="2.0", checksum="sha256:b")),
        ("uv.lock", uv(), uv('{ editable = "." }')),
        ("poetry.lock", poetry(), poetry(version="1.1", checksum="sha256:c")),
        ("yarn.lock", yarn(), yarn("https://packages.example/a/-/a-1.tgz#x")),
        ("go.sum", "x.io/a v1.0.0 h1:A=\n", "x.io/a v1.0.0 h1:A=\nx.io/a v1.1.0 h1:C=\n"),
        ("uv.lock", uv(), "not = [toml"),
    ],
)
def test_an_update_is_left_alone(tmp_path: Path, path: str, before: str, now: str) -> None:
    assert all_found(tmp_path, {path: now}, {path: before}) == []


@pytest.mark.parametrize(
    ("path", "before", "now", "beside"),
    [
        (
            "package-lock.json",
            npm(),
            npm(version="5.0.0", host="npm.acme.io"),
            {".npmrc": "registry=https://npm.acme.io/\n"},
        ),
        (
            "package-lock.json",
            npm(),
            npm(resolved="git+ssh://git@github.com/acme/lodash.git#12"),
            {"package.json": '{"dependencies": {"lodash": "github:acme/lodash"}}'},
        ),
        (
            "api/uv.lock",
            uv(),
            uv(GIT),
            {"api/pyproject.toml": '[tool.uv.sources]\na = {git = "https://github.com/stranger/a"}\n'},
        ),
    ],
)
def test_what_a_manifest_asks_for_is_left_alone(
    tmp_path: Path, path: str, before: str, now: str, beside: dict[str, str]
) -> None:
    assert all_found(tmp_path, {path: now, **beside}, {path: before}) == []


def test_a_move_of_all_packages_is_one_finding(tmp_path: Path) -> None:
    def many(host: str) -> str:
        packages = {f"node_modules/p{n}": {"version": "1", "resolved": f"https://{host}/p{n}.tgz"} for n in range(50)}
        return json.dumps({"packages": packages}, indent=1)

    assert (
        len(all_found(tmp_path, {"package-lock.json": many("mirror.example")}, {"package-lock.json": many(NPM)})) == 1
    )


def test_the_second_version_of_yarns_file_is_read() -> None:
    text = (
        '__metadata:\n  version: 8\n\n"a@npm:^1":\n  version: 1.0.0\n  resolution: "a@npm:1.0.0"\n  checksum: 10c0/aa\n'
        '\n"b@https://github.com/x/b.git":\n  version: 2.0.0\n  resolution: "b@https://github.com/x/b.git#commit=12"\n'
    )
    first, second = (package for package in read_lock("yarn.lock", text) if package.name in "ab")
    assert (first.is_registry, first.checksums) == (True, (("checksum", "aa"),))
    assert (second.is_registry, second.host) == (False, "github.com")


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "- 1\n- 2\n",
        "jobs: 3\non: [\n",
        "on:\njobs:\n  a:\n",
        "\ufeffon: push\n",
        "a: &a [*a]\n",
        "[" * 3_000,
    ],
)
@pytest.mark.parametrize("path", [WORKFLOW, ".gitlab-ci.yml", "compose.yaml", "k8s/x.yaml", "action.yml"])
def test_yaml_of_any_shape_is_borne(tmp_path: Path, path: str, text: str) -> None:
    assert told(tmp_path, {path: text}) == []


def test_aliases_do_not_unfold(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 30)]
    assert told(tmp_path, {".gitlab-ci.yml": "\n".join(rows)}) == []


def test_nodes_know_their_lines_and_what_is_not_there_is_empty() -> None:
    root = read_yaml("a:\n  b: x\n  c: |\n    one\n    two\nd: [1, 2]\n")
    assert (root.at("a", "b").line, root.key("d").line) == (2, 6)
    assert list(root.at("a", "c").lines()) == [(4, "one"), (5, "two"), (6, "")]
    assert [node.text for node in root.at("d").elements()] == ["1", "2"]
    assert not root.at("a", "x", "y")
    assert len(read_documents("a: 1\n---\nb: 2\n")) == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"FROM a\r\nUSER root\r\n"[:6], b"\0"])
@pytest.mark.parametrize("path", ["Dockerfile", WORKFLOW, "uv.lock", "a.sh"])
def test_any_bytes_are_borne(tmp_path: Path, path: str, content: bytes) -> None:
    assert list(CHECK.run(trees(tmp_path, {}, {path: content}))) == []


def test_other_line_ends_and_a_rename_are_borne(tmp_path: Path) -> None:
    base = {"Dockerfile": "FROM a\r\nUSER app\r\n"}
    given = trees(
        tmp_path, base, {"docker/Dockerfile": "FROM a\r\nUSER root"}, renamed={"docker/Dockerfile": "Dockerfile"}
    )
    assert [(item.rule, item.line, item.severity) for item in CHECK.run(given)] == [("root-user", 2, "major")]
    assert list(CHECK.run(trees(tmp_path / "2", base, {}))) == []


@given(
    st.sampled_from(["Dockerfile", WORKFLOW, ".gitlab-ci.yml", "a.sh", "yarn.lock", "uv.lock", "pip.conf"]),
    st.text(max_size=200),
)
def test_no_text_breaks_it(path: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        list(CHECK.run(trees(Path(folder), {}, {path: text.encode("utf-8", "replace")})))


@pytest.mark.parametrize(
    ("path", "is_looked_at"),
    [
        (WORKFLOW, True),
        ("Dockerfile.dev", True),
        ("Jenkinsfile", True),
        ("go.sum", True),
        ("app.py", False),
        ("a.md", False),
    ],
)
def test_it_looks_at_what_builds_and_delivers(path: str, is_looked_at: bool) -> None:
    assert CHECK.looks_at(path) is is_looked_at
