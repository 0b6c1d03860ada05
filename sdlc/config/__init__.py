"""Settings: `sdlc.yaml`, with the environment over it.

Names in the environment are `SDLC_` and the keys joined by two underscores, such as
`SDLC_RUN__MAX_FIX_ROUNDS=2`. Some are also understood by their usual names: the model's `OPENAI_BASE_URL`,
`OPENAI_API_KEY` and `SDLC_MODEL`; `JIRA_URL`, `JIRA_EMAIL`, `JIRA_TOKEN`; `GITHUB_TOKEN`.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from sdlc.config.approvals import ApprovalSettings, expanded, policy_for
from sdlc.config.github import GitHubSettings
from sdlc.config.intake import IntakeSettings, PersonSettings
from sdlc.config.jira import JiraSettings
from sdlc.config.notify import NotifySettings
from sdlc.config.section import Section
from sdlc.config.web import WebSettings
from sdlc.domain import ApprovalPolicy, Budget, RunPolicy, SplitPolicy, StepLimits
from sdlc.errors import ConfigurationError

CONFIG_FILE = "sdlc.yaml"


class TemporalSettings(Section):
    """Where Temporal is. The standard `TEMPORAL_*` variables and `temporal.toml` win over this."""

    address: str = ""
    """Empty: the embedded dev server."""
    namespace: str = "default"
    task_queue: str = "vishkar-sdlc"
    port: int = 0
    """Port of the embedded server; 0 picks a free one."""
    ui_port: int = 0
    """Port of its web UI; 0 picks a free one."""
    ui_url: str = ""
    """Root of the Temporal UI, for links in tickets and pull requests; empty: that of the embedded server."""


class TrackerSettings(Section):
    kind: Literal["local", "jira", "github"] = "local"
    """`local`: Markdown tickets in a folder. `jira`: see `jira`. `github`: issues, see `github.issues`."""
    folder: Path | None = None
    """Where the local tracker keeps its tickets; default `<data>/tickets`."""
    claimant: str = "sdlc-bot"
    """Who a claimed ticket is assigned to."""


class ForgeSettings(Section):
    kind: Literal["local", "github"] = "local"
    """`local`: a bare repository with pull requests as files beside it. `github`: see `github`."""
    folder: Path | None = None
    """Where the local forge keeps its repositories; default `<data>/forge`."""
    publish_branch: bool = True
    """Push the run's branch to the repository that was given as well, so that it can be checked out there."""
    submodules: bool = False
    """Fetch submodules. Off by default: they bring code from places nobody named."""


class Price(Section):
    """USD per million tokens."""

    input: float
    output: float
    cached_input: float | None = None
    """Of input that the endpoint had in its cache; default `input`."""


class ModelSettings(Section):
    base_url: str = ""
    """An OpenAI-compatible endpoint; empty: that of OpenAI."""
    api_key: SecretStr | None = None
    name: str = ""
    """The model's name as the endpoint knows it."""
    coder: str = ""
    """Model of the coding agent; default `name`."""
    reviewer: str = ""
    """Model of the panels; default `name`."""
    planner: str = ""
    """Model that plans and splits a ticket; default `coder`."""
    verifier: str = ""
    """Model that challenges the findings of the panels; default `reviewer`."""
    ladder: tuple[str, ...] = ()
    """Models for the coder, one above the other: `escalate_model` without a name takes the next."""
    escalate_after: int = Field(default=2, ge=0)
    """Red rounds, one after the other, after which the next model of the ladder is taken by itself; 0: never."""
    provider: str = "openai"
    """`openai` for every OpenAI-compatible endpoint; others, such as `anthropic` or `google_genai`, by LangChain's
    `init_chat_model` and its package for it (`pip install 'vishkar-sdlc[anthropic]'`)."""
    context_tokens: int = Field(default=128_000, ge=4_000)
    """The coder's window. The agent's conversation is summed up before it is full."""
    timeout_seconds: float = 180
    max_output_tokens: int = 8_192
    structured_output: Literal["auto", "json_schema", "prompt"] = "auto"
    """How JSON is asked for. `auto` tries the endpoint's JSON schema and falls back to the prompt."""
    prices: dict[str, Price] = {}
    """By model name; a model without a price costs `unknown`, not 0."""


class SandboxSettings(Section):
    kind: Literal["bubblewrap", "docker", "podman", "none"] = "bubblewrap"
    """`none` runs repository code without any protection, and every pull request then says so."""
    image: str = ""
    """Of `docker` and `podman`: what commands see as their system, with bash, git and Python in it."""
    memory_bytes: int = 4 * 1024**3
    processes: int = 512
    cpu_seconds: int = 3_600
    file_bytes: int = 2 * 1024**3
    """Largest single file."""
    disk_bytes: int = 8 * 1024**3
    """All that a command may add to its workspace."""
    allowed_hosts: tuple[str, ...] = ()
    """`host` or `host:port` that a repository's set-up may reach although it is private, such as a mirror of your
    own. Public hosts are reached by a proxy of ours; this machine and private networks are not."""
    output_bytes: int = 2 * 1024**2
    """Kept of a command's output, from its start and its end; the rest is counted."""


EngineName = Literal["agent", "aider", "goose", "codex", "opencode", "claude", "mini-swe-agent", "command"]


class EngineSettings(Section):
    name: EngineName = "agent"
    """`agent` is built in; the others are programs, installed by `sdlc engines install NAME`."""
    max_turns: int = 60
    command_seconds: float = 600
    """Longest time one shell command of the agent may take."""
    output_chars: int = 12_000
    """What the model sees of a command's output; the middle is cut out and its size told."""
    idle_turns: int = Field(default=20, ge=3)
    """The agent ends after so many turns in a row without a change to a file."""
    version: str = ""
    """Of the program; empty: the version that was tried, see `sdlc engines`."""
    command: str = ""
    """For `command`: your own, such as `my-agent --task {brief} --model {model} --endpoint {url}`. It is run without
    a shell. `{brief}` is a file, `{url}` where the model is reached (OpenAI-compatible, up to `/v1`), `{key}` a key
    that is good for that place and this run alone, `{home}` an empty folder that lives as long as the run of it."""
    base_url: str = ""
    """Endpoint of the program's model where it differs from `llm.base_url`, such as that of Anthropic for `claude`."""
    api_key: SecretStr | None = None
    """For `base_url`. It stays with the worker: the program never sees it."""
    model: str = ""
    """The program's model; default `llm.coder`."""
    checkpoint_seconds: float = Field(default=30, ge=1)
    """How often the files that a program has changed are committed to the run's work ref."""


class PlanSettings(Section):
    split: Literal["auto", "always", "never"] = "never"
    """Do a large ticket in parts, each by an engine and on a branch of its own: where the planner finds it too large
    for one (`auto`), wherever it can be split, or never."""
    max_parts: int = Field(default=6, ge=2, le=20)
    max_depth: int = Field(default=1, ge=1, le=3)
    """1: parts are not split again."""
    at_once: int = Field(default=2, ge=1)
    """Parts that are worked on at the same time."""


class GuardSettings(Section):
    @field_validator("protected")
    @classmethod
    def _can_match(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """A pattern that fits nothing must not look as if it protected something."""
        for pattern in patterns:
            if not pattern.strip("!/ ") or ".." in pattern.split("/"):
                raise ValueError(f"`{pattern}` fits no path of a repository; give a pattern such as `secrets/`")
        return patterns

    protected: tuple[str, ...] = ()
    """More paths that only people may let change, as patterns of `.gitignore`: `secrets/`, `billing/`. CI, ownership,
    git's and our own configuration are protected anyway. So are deploy files (`deploy/`, `k8s/`, `*.tf`, `fly.toml` …)
    and what steers editors and later engines (`.vscode/`, `.envrc`, `AGENTS.md` …), unless a pattern such as
    `!/deploy/` or `!AGENTS.md` takes them back."""
    consent: Literal["ask", "refuse", "allow"] = "ask"
    """What happens to a change of a protected path: a person is asked, it is refused, or it is let through and said.
    `allow` still asks about git's own files."""
    max_files: int = Field(default=200, ge=1)
    max_lines: int = Field(default=20_000, ge=1)
    """Added and deleted lines of a change."""


class PanelSettings(Section):
    lenses: bool = True
    """Ask models as well; false leaves the analysers alone."""
    verify: bool = True
    """Have each finding of a model challenged on the code by a second call, which tries to refute it."""
    max_model_findings: int = 6
    """Published per panel; the rest is counted."""
    analyser_seconds: float = 300


class RunSettings(Section):
    starter: str = Field(default_factory=getpass.getuser)
    """Who starts a run from this machine."""
    max_fix_rounds: int = Field(default=3, ge=0)
    max_iterations: int = Field(default=2, ge=1)
    budget: Budget = Budget()
    approval: ApprovalPolicy = ApprovalPolicy(allow_starter=True)
    """`allow_starter` is true by default with the local forge alone, where one person works by themselves."""
    merge: bool = False
    """Merge the pull request after its approval, if branch protection agrees."""
    close_on: Literal["approval", "merge"] = "approval"
    """When the ticket is done: with the approval, or once the pull request is merged, by us or by a person."""

    @field_validator("budget")
    @classmethod
    def _can_be_kept(cls, budget: Budget) -> Budget:
        for name in ("usd", "tokens", "turns", "minutes"):
            bound = getattr(budget, name)
            if bound is not None and bound <= 0:
                raise ValueError(f"`{name}` must be above 0; `null` is no bound")
        return budget

    limits: dict[str, StepLimits] = {}
    """By step name, such as `unit_tests: {timeout_seconds: 3600}`."""
    first_retry_seconds: float = 30
    longest_retry_seconds: float = 300
    heartbeat_seconds: float = Field(default=20, ge=2)
    """After so long without a sign of life an activity's worker is taken for dead, and another one goes on."""


class StorageSettings(Section):
    folder: Path | None = None
    """Artifacts and large payloads, content-addressed; default `<data>/artifacts`."""
    payload_threshold_bytes: int = 16_384
    """Larger payloads leave the history for the folder. Below this, so that Temporal's UI can show it, stays what a
    run says of itself (about 11 kB)."""


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: console at a terminal, JSON otherwise."""


def default_cache_dir() -> Path:
    """Clones, workspaces and environments: all of it can be made again."""
    return Path(os.environ.get("SDLC_CACHE_DIR") or platformdirs.user_cache_dir("sdlc"))


def default_data_dir() -> Path:
    """Tickets, pull requests, the server's database, artifacts: what must not be lost."""
    return Path(os.environ.get("SDLC_DATA_DIR") or platformdirs.user_data_dir("sdlc"))


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix="SDLC_",
        env_nested_delimiter="__",
        extra="forbid",
        use_attribute_docstrings=True,
    )

    data_dir: Path = Field(default_factory=default_data_dir)
    """Tickets, pull requests, the server's database, artifacts."""
    cache_dir: Path = Field(default_factory=default_cache_dir)
    """Clones, workspaces, environments, the Temporal server: can be made again."""
    temporal: TemporalSettings = TemporalSettings()
    tracker: TrackerSettings = TrackerSettings()
    jira: JiraSettings = JiraSettings()
    forge: ForgeSettings = ForgeSettings()
    github: GitHubSettings = GitHubSettings()
    intake: IntakeSettings = IntakeSettings()
    people: tuple[PersonSettings, ...] = ()
    """People under all their names."""
    groups: dict[str, tuple[str, ...]] = {}
    """Names of people by the name of a group; `@name` stands for it wherever people are named."""
    approvals: tuple[ApprovalSettings, ...] = ()
    """What differs from `run.approval` for single repositories; the first that fits."""
    web: WebSettings = WebSettings()
    notify: NotifySettings = NotifySettings()
    llm: ModelSettings = ModelSettings()
    sandbox: SandboxSettings = SandboxSettings()
    engine: EngineSettings = EngineSettings()
    plan: PlanSettings = PlanSettings()
    guard: GuardSettings = GuardSettings()
    panels: PanelSettings = PanelSettings()
    run: RunSettings = Field(default_factory=RunSettings)
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()

    @property
    def tickets_dir(self) -> Path:
        return self.tracker.folder or self.data_dir / "tickets"

    @property
    def forge_dir(self) -> Path:
        return self.forge.folder or self.data_dir / "forge"

    @property
    def artifacts_dir(self) -> Path:
        return self.storage.folder or self.data_dir / "artifacts"

    def run_policy(self, repository: str = "") -> RunPolicy:
        """The part that a run about this repository keeps from its start to its end.

        Raises ConfigurationError for a group that is not there.
        """
        approval = self.run.approval
        if self.forge.kind != "local" and "approval" not in self.run.model_fields_set:
            # The default is for one person alone with a forge of files.
            approval = approval.model_copy(update={"allow_starter": False})
        approval = expanded(policy_for(repository, approval, self.approvals), self.groups)
        return RunPolicy(
            max_fix_rounds=self.run.max_fix_rounds,
            max_iterations=self.run.max_iterations,
            max_turns=self.engine.max_turns,
            budget=self.run.budget,
            approval=approval,
            merge=self.run.merge,
            close_on=self.run.close_on,
            engine=self.engine.name,
            plan=SplitPolicy.model_validate(self.plan.model_dump()),
            ladder=self.llm.ladder,
            escalate_after=self.llm.escalate_after,
            limits=self.run.limits,
            first_retry_seconds=self.run.first_retry_seconds,
            longest_retry_seconds=self.run.longest_retry_seconds,
            heartbeat_seconds=self.run.heartbeat_seconds,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)


def load(path: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a configuration file and the environment.

    `path` is a file that was named; without one, `sdlc.yaml` in the working folder is read if
    it is there. `overrides` are values of the command line, by section, and win over both.
    Raises ConfigurationError with the place and the mend.
    """
    if path is not None and not path.is_file():
        raise ConfigurationError(f"There is no configuration file {path}; name one that exists, or leave --config out.")
    file = path or Path(CONFIG_FILE)
    return _validated(file if file.is_file() else None, overrides or {})


def _validated(file: Path | None, overrides: Mapping[str, Any]) -> Settings:
    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = [kwargs["init_settings"], kwargs["env_settings"]]
            if file is not None:
                sources.append(YamlConfigSettingsSource(settings_cls, yaml_file=file))
            return tuple(sources)

    try:
        plain = FromFile(**overrides)
        settings = FromFile(**_with_service_environment(_with_model_environment(overrides, plain.llm.provider), plain))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        where = f"{file}" if file is not None else "the environment"
        mend = (
            "there is no such setting; `sdlc config show` lists them all"
            if first["type"] == "extra_forbidden"
            else first["msg"]
        )
        raise ConfigurationError(f"Configuration: `{place}` ({where}): {mend}.") from error
    except ConfigurationError:
        raise
    except Exception as error:  # a YAML error has no common base that pydantic-settings promises
        raise ConfigurationError(f"Configuration file {file} can't be read: {error}") from error
    return Settings.model_construct(**{name: getattr(settings, name) for name in Settings.model_fields})


_MODEL_VARIABLES = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
    "google_genai": ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_API_KEY"),
}
"""Endpoint and key by provider: nobody's key may go to somebody else."""


def _with_model_environment(overrides: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The provider's variables and `SDLC_MODEL` under the overrides, refusing what the libraries read differently."""
    if os.environ.get("OPENAI_API_BASE") and os.environ.get("OPENAI_BASE_URL"):
        # LangChain prefers the first and the SDK knows only the second: two endpoints in one run.
        raise ConfigurationError("OPENAI_API_BASE and OPENAI_BASE_URL are both set; unset OPENAI_API_BASE.")
    values: dict[str, Any] = dict(overrides)
    llm = dict(values.get("llm") or {})
    url_variable, key_variable = _MODEL_VARIABLES.get(provider, ("", ""))
    for key, variable in (("base_url", url_variable), ("api_key", key_variable), ("name", "SDLC_MODEL")):
        if variable and os.environ.get(variable) and not os.environ.get(f"SDLC_LLM__{key.upper()}"):
            llm.setdefault(key, os.environ[variable])
    if llm:
        values["llm"] = llm
    return values


_SERVICE_VARIABLES = {
    ("jira", "url"): "JIRA_URL",
    ("jira", "email"): "JIRA_EMAIL",
    ("jira", "token"): "JIRA_TOKEN",
    ("github", "token"): "GITHUB_TOKEN",
}


def _with_service_environment(values: Mapping[str, Any], plain: Settings) -> dict[str, Any]:
    """The usual variables of Jira and GitHub, where neither file nor command line nor `SDLC_…` says anything else.

    An App speaks for itself: a personal token that happens to be in the environment is left alone then.
    """
    found = dict(values)
    for (section, key), variable in _SERVICE_VARIABLES.items():
        given = os.environ.get(variable)
        is_app = section == "github" and bool(plain.github.app_id)
        if given and not is_app and not getattr(getattr(plain, section), key):
            found[section] = {**dict(found.get(section) or {}), key: given}
    return found
