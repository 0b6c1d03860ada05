"""OpenCode: an agent with a shell and an editor, for any provider."""

from __future__ import annotations

import json

from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.starting import on_stdin, own_bound
from sdlc.integrations.engine_installs import Package
from sdlc.integrations.gateway.wires import Wire

PACKAGE = Package(
    "opencode",
    "npm",
    "opencode-{platform}",
    "1.18.33",
    "node_modules/opencode-{platform}/bin/opencode",
    # Its default build needs AVX2.
    platforms={"linux-x64": "linux-x64-baseline", "linux-x64-musl": "linux-x64-baseline-musl"},
)

_OFF = ("AUTOUPDATE", "DEFAULT_PLUGINS", "LSP_DOWNLOAD", "MODELS_FETCH", "PROJECT_CONFIG", "SHARE", "TERMINAL_TITLE")


class OpenCode:
    name = "opencode"
    wire: Wire = "chat"
    droppings: tuple[str, ...] = (".opencode/node_modules/",)

    def launched(self, launch: Launch) -> Launched:
        """Its provider package is part of the program. A repository's own configuration of it is not read."""
        limit = {"context": launch.context_tokens, "output": min(32_000, launch.context_tokens // 4)}
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{launch.url}/v1", "apiKey": launch.key},
            "models": {launch.model: {"tool_call": True, "limit": limit}},
        }
        model = f"worker/{launch.model}"
        config = {
            "model": model,
            "provider": {"worker": provider},
            "enabled_providers": ["worker"],
            "agent": {"build": {"steps": own_bound(launch)}},
            "permission": "allow",
            "snapshot": False,
        }
        return Launched(
            command=on_stdin(launch.brief, launch.program, "run", "--pure", "--model", model),
            env={f"OPENCODE_DISABLE_{name}": "true" for name in _OFF},
            files={".config/opencode/opencode.json": json.dumps(config)},
        )


PROGRAM = OpenCode()
