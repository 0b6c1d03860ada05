"""Claude Code: Anthropic's agent, with a shell and an editor."""

from __future__ import annotations

from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.starting import on_stdin, own_bound
from sdlc.integrations.engine_installs import Package
from sdlc.integrations.gateway.wires import Wire

PACKAGE = Package(
    "claude",
    "npm",
    "@anthropic-ai/claude-code-{platform}",
    "2.1.197",
    "node_modules/@anthropic-ai/claude-code-{platform}/claude",
)

# fmt: off
_OFF = (
    "DISABLE_AUTOUPDATER", "DISABLE_UPDATES", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_GROWTHBOOK",
    "DISABLE_FEEDBACK_COMMAND", "DISABLE_COST_WARNINGS", "DISABLE_INSTALLATION_CHECKS",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY", "CLAUDE_CODE_DISABLE_TERMINAL_TITLE",
)
# fmt: on


class Claude:
    name = "claude"
    wire: Wire = "messages"
    droppings: tuple[str, ...] = (".claude/settings.local.json",)

    def launched(self, launch: Launch) -> Launched:
        """It refuses to skip its questions as root, which nobody is in the sandbox. A repository's settings and hooks
        for it are not read; the brief has its rules."""
        options = ("--dangerously-skip-permissions", "--setting-sources", "user", "--strict-mcp-config", "--no-chrome")
        bounds = ("--model", launch.model, "--max-turns", str(own_bound(launch)), "--no-session-persistence")
        models = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL")
        return Launched(
            command=on_stdin(launch.brief, launch.program, "--print", "--verbose", *options, *bounds),
            env={
                "ANTHROPIC_BASE_URL": launch.url,
                "ANTHROPIC_API_KEY": launch.key,
                "IS_SANDBOX": "1",
                **dict.fromkeys(models, launch.model),
                **dict.fromkeys(_OFF, "1"),
            },
        )


PROGRAM = Claude()
