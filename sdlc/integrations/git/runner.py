"""Git, run so that nothing but this module decides how it behaves.

No system or user configuration, no hooks, no filters, no prompts, no credential of the worker other
than its SSH agent; every call has an end. What stands in `_SETTINGS` is given twice: as a file, which
also reaches the git at the other end of a local fetch or push, and in the environment, which wins over
the configuration of whatever repository is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdlc.config import default_cache_dir
from sdlc.errors import ConfigurationError, GuardRailViolation
from sdlc.integrations import process
from sdlc.integrations.git.failures import failure

LOCAL_SECONDS = 300.0
"""For a command that needs nothing but this machine."""
ASK_SECONDS = 60.0
"""For a question to a remote."""
TRANSFER_SECONDS = 1_800.0
"""For a fetch or a push."""
_MAX_OUTPUT = 256 * 1024**2

BOT = "sdlc-bot <sdlc-bot@users.noreply.invalid>"

_SETTINGS: tuple[tuple[str, str], ...] = (
    # The worker may run as another user than the one whose repository it reads.
    ("safe.directory", "*"),
    ("core.hooksPath", os.devnull),
    ("core.attributesFile", os.devnull),
    ("core.excludesFile", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.splitIndex", "false"),
    ("core.quotePath", "false"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.fileMode", "true"),
    ("core.ignoreCase", "false"),
    # What tells a file that was changed and then dated back from one that was not.
    ("core.trustctime", "true"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.editor", "false"),
    ("core.pager", "cat"),
    ("core.alternateRefsCommand", "true"),
    # Pointer files of Git LFS stay as they are, also where the repository's own configuration has the filter.
    ("filter.lfs.clean", ""),
    ("filter.lfs.smudge", ""),
    ("filter.lfs.process", ""),
    ("filter.lfs.required", "false"),
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
    ("credential.helper", ""),
    ("credential.interactive", "never"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("push.followTags", "false"),
    ("push.gpgSign", "false"),
    ("commit.gpgSign", "false"),
    # Commits of workspaces are in no ref until they are published; nothing may collect them.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("init.defaultBranch", "main"),
)

_PASSED_ON = (
    "PATH",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    *(name for lower in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (lower, lower.upper())),
)

_ASKPASS = """#!/bin/sh
echo "sdlc gives git no passwords" >&2
exit 1
"""


@dataclass(frozen=True)
class Answer:
    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Output without white space at its ends, fit for shas and names of refs."""
        return self.stdout.decode(errors="replace").strip()

    @property
    def records(self) -> list[bytes]:
        """Output of a command with `-z`."""
        return self.stdout.split(b"\0")[:-1]


@dataclass(frozen=True)
class Git:
    """Runs git. `git_dir`, `work_tree` and `index` say on what; without, in no repository."""

    home: Path | None = None
    """A folder of ours for the configuration; default `<cache>/git`."""
    git_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None

    def on(self, git_dir: Path, *, work_tree: Path | None = None, index: Path | None = None) -> Git:
        """The same git for this repository."""
        return replace(self, git_dir=git_dir, work_tree=work_tree, index=index)

    async def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        accept: Collection[int] = (0,),
        timeout: float = LOCAL_SECONDS,
        remote: str = "",
    ) -> Answer:
        """One command to its end. `remote` is the address that it talks to, for the message when it fails.

        Raises what `failures.failure` makes of an exit code that is not in `accept`, ServiceUnavailable
        after `timeout` seconds, and ConfigurationError without git.
        """
        home = self._prepared_home()
        done = await process.run(
            ("git", *arguments),
            cwd=cwd or self.work_tree or home,
            env={**self._environment(home), **(env or {})},
            stdin=stdin,
            timeout=timeout,
            max_output=_MAX_OUTPUT,
        )
        answer = Answer(done.exit_code, done.stdout, done.stderr.decode(errors="replace").strip())
        if answer.exit_code not in accept:
            raise failure(arguments, answer.exit_code, answer.stderr, remote=remote, place=self.git_dir)
        if done.dropped_bytes:
            raise GuardRailViolation(
                f"`git {arguments[0]}` gave more than {_MAX_OUTPUT // 1024**2} MiB; it is too large."
            )
        return answer

    def _environment(self, home: Path) -> dict[str, str]:
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
        env |= {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(home / "config"),
            "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": str(home / "askpass"),
            "SSH_ASKPASS": str(home / "askpass"),
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_LAZY_FETCH": "1",
            # A repository around the cache, or around the folder that was named, is never meant.
            "GIT_CEILING_DIRECTORIES": str(home.parent),
        }
        for number, (key, value) in enumerate(_SETTINGS):
            env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
        for name, path in (
            ("GIT_DIR", self.git_dir),
            ("GIT_WORK_TREE", self.work_tree),
            ("GIT_INDEX_FILE", self.index),
        ):
            if path is not None:
                env[name] = str(path)
        return env

    def _prepared_home(self) -> Path:
        home = (self.home or default_cache_dir() / "git").absolute()
        if str(home) not in _prepared or not (home / "config").is_file():
            try:
                home.mkdir(parents=True, exist_ok=True, mode=0o700)
                _write(home / "config", "".join(_config_lines()), 0o600)
                _write(home / "askpass", _ASKPASS, 0o700)
            except OSError as error:
                raise ConfigurationError(f"The cache folder {home} can't be written: {error.strerror}.") from error
            _prepared.add(str(home))
        return home


_prepared: set[str] = set()


def _config_lines() -> list[str]:
    lines = []
    for key, value in _SETTINGS:
        section, _, name = key.rpartition(".")
        head, _, subsection = section.partition(".")
        lines.append(f'[{head} "{subsection}"]\n' if subsection else f"[{head}]\n")
        lines.append(f'\t{name} = "{value}"\n')
    return lines


def _write(file: Path, text: str, mode: int) -> None:
    if file.is_file() and file.read_text() == text:
        return
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(file)
