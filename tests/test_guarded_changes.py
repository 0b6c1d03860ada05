"""What may not leave an engine, tried on real repositories: tricks on git, links out, protected paths and consent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sdlc.activities import EngineRequest
from sdlc.config import GuardSettings
from sdlc.domain import ArtifactRef, ChangeSet, RunIdentity
from sdlc.engines.batons import Finished, finished, kept, submit_problem
from sdlc.errors import GuardRailViolation
from sdlc.integrations.git.objects import GitObjects
from sdlc.integrations.workspace import Workspaces
from tests.repositories import Checkout, git, new_checkout

RUN = RunIdentity(workflow_id="sdlc-CALC-1", run_id="r1", ticket_key="CALC-1")
CI = ".github/workflows/ci.yml"
ASK, REFUSE, ALLOW = (GuardSettings.model_validate({"consent": word}) for word in ("ask", "refuse", "allow"))


@dataclass
class Desk:
    checkout: Checkout
    workspaces: Workspaces
    base: str

    def request(self, start: str = "", consented: tuple[str, ...] = ()) -> EngineRequest:
        repository = self.checkout.as_repository().model_copy(update={"base_sha": self.base})
        change = ChangeSet(
            repository=repository, base_sha=self.base, head_sha=start or self.base, branch="sdlc/CALC-1-x"
        )
        brief = ArtifactRef(sha256="0" * 64, size=1)
        return EngineRequest(run=RUN, change=change, brief=brief, max_turns=1, consented=consented)

    async def finished(
        self, head: str, guard: GuardSettings = ASK, start: str = "", consented: tuple[str, ...] = ()
    ) -> Finished:
        request = self.request(start, consented)
        return await finished(self.workspaces, request, head, "Done.", "submitted", guard=guard)

    async def kept(self, change: Callable[[Path], None]) -> tuple[str, str]:
        async with self.workspaces.at(self.checkout.as_repository(), self.base) as workspace:
            (workspace.path / "calc.py").write_text("x = 2\n")
            change(workspace.path)
            return await kept(workspace, self.base, 1, RUN)

    def raw(self, *entries: tuple[str, str, str]) -> str:
        """A commit on the base whose tree has what no index would take: (mode, name, content or sha)."""
        return self._commit(self._tree([("100644", "calc.py", "x = 2\n"), *entries]))

    def _tree(self, entries: list[tuple[str, str, str]]) -> str:
        lines = b""
        for mode, name, content in entries:
            first, _, rest = name.partition("/")
            if rest:
                kind, mode, sha = "tree", "040000", self._tree([(mode, rest, content)])
            elif mode == "160000":
                kind, sha = "commit", content
            else:
                kind, sha = "blob", git(self.checkout.path, "hash-object", "-w", "--stdin", stdin=content.encode())
            lines += f"{mode} {kind} {sha}\t{first}".encode() + b"\0"
        return git(self.checkout.path, "mktree", "-z", "--missing", stdin=lines)

    def _commit(self, tree: str) -> str:
        sha = git(self.checkout.path, "commit-tree", tree, "-p", self.base, "-m", "a trick")
        git(self.checkout.path, "update-ref", f"refs/heads/trick-{sha[:8]}", sha)
        return sha


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    checkout = new_checkout(tmp_path / "work", {"calc.py": "x = 1\n", "src/a.py": "a = 1\n"})
    return Desk(checkout, Workspaces(tmp_path / "cache"), checkout.head)


# --- tricks -------------------------------------------------------------------------------


def _link(place: str, target: str) -> Callable[[Path], None]:
    def make(tree: Path) -> None:
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).symlink_to(target)

    return make


def _file(place: str, text: str = "x\n") -> Callable[[Path], None]:
    def make(tree: Path) -> None:
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text(text)

    return make


def _repository(tree: Path) -> None:
    new_checkout(tree / "inner", {"a.txt": "a\n"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_link("etc", "/etc"), "out of the repository"),
        (_link("src/up", "../../x"), "out of the repository"),
        (_link("src/round", "../src/../../x"), "out of the repository"),
        (_link("hooks", ".git/hooks"), "out of the repository"),
        (_link("hooks", ".GIT/hooks"), "out of the repository"),
        (_link("hooks", "git~1/hooks"), "out of the repository"),
        (_link("hooks", ".g\u200cit/hooks"), "out of the repository"),
        (_link("hooks", ".git./hooks"), "out of the repository"),
        (_link("back", "src\\..\\..\\x"), "out of the repository"),
        (_link("drive", "C:\\Windows"), "out of the repository"),
        (_link(".gitmodules", "calc.py"), ".gitmodules"),
        (_link(".gitattributes", "calc.py"), "may not be links"),
        (_file("src/.GIT/config"), "src/.GIT/config"),
        (_file("src/.git./config"), "git"),
        (_file("src/git~1/config"), "git"),
        (_file("src/GIT~1"), "git"),
        (_file("src/.g\u200cit/config"), "git"),
        (_file("src/.git::$INDEX_ALLOCATION/config"), "git"),
        (_file("src\\.git\\config"), "git"),
        (_file("gitmod~1"), "git's own"),
        (_file("src\\..\\..\\x"), "not a path inside"),
        (_file("a\nb.py"), "control characters"),
        (_file("a\x1b[31mb.py"), "control characters"),
        (_file(".gitmodules", '[submodule "a"]\n\tpath = a\n\turl = -uevil\n'), "names a submodule"),
        (_file(".gitmodules", '[submodule "a"]\n\tpath = a\n\tupdate = "!sh"\n'), "names a submodule"),
        (_file(".gitmodules", '[submodule "a"]\n\tpath = a\n\turl = ext::sh -c x\n'), "names a submodule"),
        (_file(".gitmodules", '[submodule "a"] url = "-x"\n'), "names a submodule"),
        (_file(".gitmodules", '[submodule "../../x"]\n\tpath = a\n\turl = ./a\n'), "names a submodule"),
        (_repository, "git repository inside the change"),
        (lambda tree: os.mkfifo(tree / "pipe"), ""),
    ],
)
async def test_a_trick_in_the_workspace_is_never_published(
    desk: Desk, change: Callable[[Path], None], says: str
) -> None:
    sha, note = await desk.kept(change)
    if says:
        assert says.casefold() in note.casefold()
    if "Nothing of this message's changes was kept" in note:
        assert sha == desk.base
    else:
        assert git(desk.checkout.path, "show", f"{sha}:calc.py") == "x = 2"
    assert git(desk.checkout.path, "ls-tree", "-r", "--name-only", sha).split() == ["calc.py", "src/a.py"]


async def test_one_trick_does_not_take_the_rest_of_the_work_away(desk: Desk) -> None:
    sha, note = await desk.kept(_file(".gitmodules", '[submodule "a"]\n\tpath = a\n\turl = -uevil\n'))
    assert sha != desk.base
    assert note.startswith("[Not kept, put back to what it was before this message: .gitmodules names a submodule")


async def test_a_hook_of_the_repository_is_no_list_of_submodules(desk: Desk) -> None:
    made = await desk.finished(desk.checkout.commit({".githooks/pre-push": "path=-x\n"}))
    assert made.protected == (".githooks/pre-push",)


async def test_an_empty_git_folder_and_its_hooks_stay_behind(desk: Desk) -> None:
    sha, note = await desk.kept(_file(".git/hooks/pre-commit", "#!/bin/sh\ntouch /tmp/caught\n"))
    assert note == ""
    assert git(desk.checkout.path, "ls-tree", "-r", "--name-only", sha).split() == ["calc.py", "src/a.py"]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([("120000", "etc", "/etc/passwd")], "etc is a symbolic link to '/etc/passwd', out of the repository"),
        ([("120000", "src/up", "../../x")], "out of the repository"),
        ([("120000", "long", "x/" * 300 + ".git/config")], "out of the repository"),
        ([("160000", "sub", "1" * 40)], "sub is a submodule that the change adds or moves"),
        ([("100644", ".GIT/config", "x")], ".GIT/config would be read as git's own"),
        ([("100644", "a/.git . ./config", "x")], "would be read as git's own"),
        ([("100644", "a/GI7EBA~1", "x")], "would be read as git's own"),
        ([("100644", "a/.gi\ufefft/hooks/x", "x")], "would be read as git's own"),
        ([("100644", "../x", "x")], "not a path inside"),
        ([("100644", "a\nb", "x")], "control characters"),
        ([("100644", ".gitmodules", '[submodule "a"]\nurl = \\\n-x')], "names a submodule"),
        ([("120000", ".Gitmodules", "calc.py")], "may not be links"),
    ],
)
async def test_a_trick_in_a_commit_from_elsewhere_is_refused_whoever_consents(
    desk: Desk, entries: list[tuple[str, str, str]], says: str
) -> None:
    head = desk.raw(*entries)
    with pytest.raises(GuardRailViolation, match="was stopped") as refused:
        await desk.finished(head, ALLOW, consented=tuple(name for _, name, _ in entries))
    assert says in str(refused.value)
    assert "refs/sdlc/r1/" in str(refused.value), "it says where the work is"


async def test_links_inside_of_the_repository_and_odd_names_of_the_base_are_nobody_s_business(desk: Desk) -> None:
    desk.base = desk.checkout.commit({"od\x01d.py": "x = 1\n", "c:a.py": "x = 1\n"})
    (desk.checkout.path / "src/here").symlink_to("../calc.py")
    head = desk.checkout.commit({"od\x01d.py": "x = 2\n"})
    made = await desk.finished(head)
    assert (made.change.files_changed, made.protected) == (2, ())


async def test_a_submodule_may_go_but_its_new_address_needs_a_person(desk: Desk) -> None:
    text = '[submodule "a"]\n\tpath = a\n\turl = https://example.org/a\n'
    desk.base = desk.checkout.commit({".gitmodules": text})
    head = desk.checkout.commit({".gitmodules": text.replace("example.org", "evil.example")})
    assert (await desk.finished(head, ALLOW)).protected == (".gitmodules",)
    assert (await desk.finished(head, ALLOW, consented=(".gitmodules",))).protected == ()
    assert (await desk.finished(desk.checkout.commit({".gitmodules": None}))).protected == (".gitmodules",)


# --- protected paths and consent ----------------------------------------------------------


async def test_a_protected_path_is_done_and_asked_for(desk: Desk) -> None:
    made = await desk.finished(desk.checkout.commit({CI: "on: push\n", "calc.py": "x = 2\n"}))
    assert made.protected == (CI,)
    assert made.allowed == ()
    assert made.change.files_changed == 2
    assert git(desk.checkout.path, "cat-file", "-t", made.change.head_sha) == "commit", "it is published"


async def test_where_they_are_refused_nothing_is_made_and_consent_lifts_it(desk: Desk) -> None:
    head = desk.checkout.commit({CI: "on: push\n"})
    with pytest.raises(GuardRailViolation, match=f"changes protected paths: `{CI}`"):
        await desk.finished(head, REFUSE)
    made = await desk.finished(head, REFUSE, consented=(CI,))
    assert (made.protected, made.allowed) == ((), (CI,))


async def test_where_they_are_allowed_they_are_said_but_git_s_own_files_are_asked_for(desk: Desk) -> None:
    made = await desk.finished(desk.checkout.commit({CI: "on: push\n", "src/.gitattributes": "* filter=x\n"}), ALLOW)
    assert (made.protected, made.allowed) == (("src/.gitattributes",), (CI,))


async def test_consent_is_for_the_paths_that_were_shown_and_not_for_others(desk: Desk) -> None:
    first = await desk.finished(desk.checkout.commit({CI: "on: push\n"}))
    head = desk.checkout.commit({"CODEOWNERS": "* @me\n"})
    made = await desk.finished(head, start=first.change.head_sha, consented=(CI,))
    assert (made.protected, made.allowed) == (("CODEOWNERS",), (CI,))


async def test_what_an_earlier_round_did_is_asked_for_until_it_is_gone(desk: Desk) -> None:
    first = await desk.finished(desk.checkout.commit({CI: "on: push\n"}))
    start = first.change.head_sha
    later = await desk.finished(desk.checkout.commit({"calc.py": "x = 2\n"}), start=start)
    assert later.protected == (CI,)
    assert (await desk.finished(start, start=start)).protected == (CI,)
    back = await desk.finished(desk.checkout.commit({CI: None}), start=start)
    assert back.protected == ()


async def test_patterns_of_the_settings_count_and_take_back_what_is_put_into_operation(desk: Desk) -> None:
    head = desk.checkout.commit({"deploy/prod.yml": "a: 1\n", "infra/Main.TF": "x\n", CI: "on: push\n"})
    assert (await desk.finished(head)).protected == (CI, "deploy/prod.yml", "infra/Main.TF")
    guard = GuardSettings(protected=("*.tf", "!/deploy/", "!.github/"))
    assert (await desk.finished(head, guard)).protected == (CI, "infra/Main.TF")
    assert (await desk.finished(head, GuardSettings(protected=("!*.tf",)))).protected == (CI, "deploy/prod.yml")


async def test_a_link_that_takes_the_place_of_a_deploy_folder_is_asked_for(desk: Desk) -> None:
    head = desk.raw(("120000", "k8s", "src"), ("120000", ".vscode", "src"), ("120000", "here", "src"))
    assert (await desk.finished(head)).protected == (".vscode", "k8s")


# --- what an interrupted try left unjudged ------------------------------------------------------


async def test_a_round_that_changes_nothing_is_judged_by_the_whole_change(desk: Desk) -> None:
    start = desk.checkout.commit({CI: "on: push\n", "a.txt": "a\n" * 30})
    with pytest.raises(GuardRailViolation, match="It changes 31 lines; 30 are the most"):
        await desk.finished(start, GuardSettings(max_lines=30), start=start)
    with pytest.raises(GuardRailViolation, match=f"changes protected paths: `{CI}`"):
        await desk.finished(start, REFUSE, start=start)
    made = await desk.finished(start, REFUSE, start=start, consented=(CI,))
    assert (made.change.head_sha, made.protected, made.allowed) == (start, (), (CI,))


@pytest.mark.parametrize("more", [{}, {"src/a.py": "a = 2\n"}], ids=["changes nothing", "changes something else"])
async def test_a_trick_of_an_interrupted_try_is_found_when_the_next_one_ends(desk: Desk, more: dict[str, str]) -> None:
    start = desk.raw(("120000", "etc", "/etc/passwd"))
    git(desk.checkout.path, "reset", "--hard", start)
    head = desk.checkout.commit(dict(more)) if more else start
    with pytest.raises(GuardRailViolation, match="etc is a symbolic link") as refused:
        await desk.finished(head, start=start)
    assert f"refs/sdlc/r1/{head[:16]}" in str(refused.value)


async def test_a_secret_of_an_interrupted_try_is_found_when_the_next_one_changes_nothing(desk: Desk) -> None:
    start = desk.checkout.commit({"calc.py": "token = 'ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6'\n"})
    with pytest.raises(GuardRailViolation, match=r"calc\.py:1 \(GitHub token\)"):
        await desk.finished(start, start=start)


async def test_nothing_is_judged_where_nothing_differs_from_the_base(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unread(*_: object, **__: object) -> str:
        raise AssertionError("the diff was read")

    monkeypatch.setattr(GitObjects, "diff", unread)
    made = await desk.finished(desk.base, REFUSE)
    assert made.change.is_empty


@pytest.mark.parametrize(
    ("guard", "says"), [(ASK, "a person will be asked to consent"), (REFUSE, "it will be refused")]
)
async def test_the_engine_is_told_before_what_will_come_of_it(desk: Desk, guard: GuardSettings, says: str) -> None:
    head = desk.checkout.commit({CI: "on: push\n"})
    async with desk.workspaces.at(desk.checkout.as_repository(), head) as workspace:
        kind, answer = await submit_problem(workspace, desk.request(), head, guard=guard)
        assert kind == "guard_rails"
        assert CI in answer
        assert says in answer
        assert await submit_problem(workspace, desk.request(consented=(CI,)), head, guard=guard) == ("", "")
        assert await submit_problem(workspace, desk.request(), head, guard=ALLOW) == ("", "")


async def test_a_protected_path_of_an_earlier_round_is_no_problem_of_this_one(desk: Desk) -> None:
    start = desk.checkout.commit({CI: "on: push\n"})
    head = desk.checkout.commit({"calc.py": "x = 2\n"})
    async with desk.workspaces.at(desk.checkout.as_repository(), head) as workspace:
        assert await submit_problem(workspace, desk.request(start), head) == ("", "")


async def test_a_summary_can_not_order_the_forge_about(desk: Desk) -> None:
    head = desk.checkout.commit({"calc.py": "x = 2\n"})
    said = "Round up [skip ci]\n\nFixes #1.\n\nskip-checks: true\nCo-authored-by: a <a@b>"
    made = await finished(desk.workspaces, desk.request(), head, said, "submitted")
    message = git(desk.checkout.path, "show", "--no-patch", "--format=%B", made.change.head_sha)
    assert message.splitlines()[0] == "fix(CALC-1): round up (skip ci)"
    assert not [order for order in ("[skip ci]", "Fixes #1", "skip-checks:") if order in message]
    assert "\nCo-authored-by" not in message


# --- size ---------------------------------------------------------------------------------


async def test_the_limits_of_the_settings_count(desk: Desk) -> None:
    head = desk.checkout.commit({"a.txt": "a\n" * 30, "b.txt": "b\n"})
    with pytest.raises(GuardRailViolation, match="It changes 31 lines; 30 are the most"):
        await desk.finished(head, GuardSettings(max_lines=30))
    with pytest.raises(GuardRailViolation, match="It changes 2 files; 1 are the most"):
        await desk.finished(head, GuardSettings(max_files=1))
    assert (await desk.finished(head, GuardSettings(max_files=2, max_lines=31))).change.insertions == 31


async def test_an_engine_that_deletes_everything_is_stopped(desk: Desk) -> None:
    head = desk.checkout.commit({"calc.py": None, "src/a.py": None})
    with pytest.raises(GuardRailViolation, match="deletes every file"):
        await desk.finished(head)
