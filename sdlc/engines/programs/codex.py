"""Codex: OpenAI's agent, with a shell and patches."""

from __future__ import annotations

import json

from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.starting import on_stdin
from sdlc.integrations.engine_installs import Package
from sdlc.integrations.gateway.wires import Wire

PACKAGE = Package(
    "codex",
    "npm",
    "@openai/codex",
    "0.169.0",
    "node_modules/@openai/codex/vendor/*/bin/codex",
    release="{version}-{platform}",
    # Its build for Linux needs no C library.
    platforms={"linux-x64-musl": "linux-x64", "linux-arm64-musl": "linux-arm64"},
)

_CONFIG = """\
model = {model}
model_provider = "worker"
model_context_window = {window}
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
web_search = "disabled"
analytics = {{ enabled = false }}
feedback = {{ enabled = false }}

[model_providers.worker]
name = "worker"
base_url = {url}
env_key = "OPENAI_API_KEY"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 2
"""


class Codex:
    name = "codex"
    wire: Wire = "responses"
    droppings: tuple[str, ...] = ()

    def launched(self, launch: Launch) -> Launched:
        """Its own sandbox is off: it is in ours. It has no bound of its own on turns."""
        config = _CONFIG.format(
            model=json.dumps(launch.model), window=launch.context_tokens, url=json.dumps(f"{launch.url}/v1")
        )
        options = ("--skip-git-repo-check", "--ephemeral", "--color", "never")
        return Launched(
            command=on_stdin(launch.brief, launch.program, "exec", *options, "-"),
            env={"OPENAI_API_KEY": launch.key, "CODEX_HOME": f"{launch.home}/.codex"},
            files={".codex/config.toml": config},
        )


PROGRAM = Codex()
