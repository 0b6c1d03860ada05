"""What the GitHub forge is told: where, with whose word, and what is asked of a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from sdlc.config.section import Section

DEFAULT_API = "https://api.github.com"


class GitHubSettings(Section):
    """A personal token, or a GitHub App by its id and private key."""

    base_url: str = DEFAULT_API
    """Root of the REST API; of GitHub Enterprise Server `https://<host>/api/v3`."""
    token: SecretStr | None = None
    """A personal token. Classic: scope `repo`. Fine-grained: contents, pull requests and commit statuses to read and
    write; actions (and checks, where it can be had) to read; issues to read and write where they are tickets. With
    `intake.commander_groups` also `read:org`."""
    app_id: str = ""
    """Of a GitHub App, in place of a token; its id or its client id."""
    private_key: SecretStr | None = None
    """The App's private key, as PEM."""
    private_key_file: Path | None = None
    """A file with it."""
    installation_id: int = 0
    """0: looked up by the repository."""
    bot: str = ""
    """The login under which we write; empty: GitHub is asked."""
    timeout_seconds: int = Field(default=30, ge=1)
    """Of one request."""
    seconds_between_requests: float = Field(default=0.0, ge=0)
    seconds_between_writes: float = Field(default=1.0, ge=0)
    """GitHub asks for a second between writes; less brings secondary limits."""
    merge_method: Literal["merge", "squash", "rebase"] = "merge"
    """Another one is taken where the repository does not allow it."""
    checks: Literal["required", "all"] = "required"
    """`required`: where branch protection names checks, those decide. `all`: every check does."""
    checks_grace_seconds: float = Field(default=60.0, ge=0)
    """How long a head without any check is waited for before that counts as no checks at all."""
    max_inline: int = Field(default=50, ge=0)
    """Comments on lines per review; further findings stand in the summary."""
    code_owners: bool = True
    """Ask the owners in CODEOWNERS for their review."""
    max_log_chars: int = Field(default=20_000, ge=500)
    """Kept of the log of a job that failed."""
    reviews: Literal["auto", "statuses", "checks"] = "auto"
    """How panels show on a head: `checks` are Check Runs with annotations, which only an App may write; `auto` writes
    them where it can, and statuses otherwise."""
    close_issues: bool = False
    """Say `Closes #12` in a pull request about an issue of the same repository, so that GitHub closes it on merge."""
    issues: tuple[str, ...] = ()
    """With `tracker.kind: github`: the repositories (`owner/name`) whose issues are tickets, `<name>-<number>` each."""
    label: str = "ai-ready"
    """Of issues that are taken unasked."""
    webhook_secret: SecretStr | None = None
    """Signs what GitHub sends to `/webhooks/github`; without one nothing is taken there."""

    @field_validator("base_url")
    @classmethod
    def _api_root(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give the root of the API, such as https://github.example/api/v3")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("leave name, password and query out of the address")
        path = parts.path.rstrip("/")
        if parts.hostname in ("github.com", "www.github.com"):
            return DEFAULT_API
        if not path and not parts.hostname.startswith("api."):
            path = "/api/v3"
        return f"{parts.scheme}://{parts.netloc.lower()}{path}"

    @model_validator(mode="after")
    def _one_identity(self) -> GitHubSettings:
        app = bool(self.app_id)
        if app and self.token is not None:
            raise ValueError("give a token or an app_id, not both")
        if app and (self.private_key is None) == (self.private_key_file is None):
            raise ValueError("a GitHub App needs private_key or private_key_file, one of them")
        if not app and (self.private_key is not None or self.private_key_file is not None):
            raise ValueError("a private key needs the app_id that it belongs to")
        return self

    @field_validator("issues")
    @classmethod
    def _one_name_each(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """A ticket's key is made of the repository's short name, so two of one name would be taken for each other."""
        short: dict[str, str] = {}
        for name in names:
            owner, _, last = name.partition("/")
            if not owner or not last or "/" in last:
                raise ValueError(f"`{name}` is no repository; write owner/name")
            if short.setdefault(last.casefold(), name) != name:
                raise ValueError(f"{name} and {short[last.casefold()]} have the same name; take one of them")
        return names
