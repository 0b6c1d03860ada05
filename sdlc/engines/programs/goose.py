"""Goose: an agent with a shell and an editor, by its built-in `developer` extension."""

from __future__ import annotations

from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.starting import own_bound
from sdlc.integrations.engine_installs import Package
from sdlc.integrations.gateway.wires import Wire

PACKAGE = Package(
    "goose", "npm", "@aaif/goose-binary-{platform}", "1.52.0", "node_modules/@aaif/goose-binary-{platform}/bin/goose"
)


class Goose:
    name = "goose"
    wire: Wire = "chat"
    droppings: tuple[str, ...] = ()

    def launched(self, launch: Launch) -> Launched:
        options = ("--no-session", "--no-profile", "--with-builtin", "developer", "--max-turns", str(own_bound(launch)))
        return Launched(
            command=(launch.program, "run", *options, "-i", launch.brief),
            env={
                "GOOSE_PROVIDER": "openai",
                "GOOSE_MODEL": launch.model,
                "GOOSE_MODE": "auto",
                "GOOSE_CONTEXT_LIMIT": str(launch.context_tokens),
                "GOOSE_DISABLE_KEYRING": "1",
                "GOOSE_DISABLE_SESSION_NAMING": "true",
                "GOOSE_TELEMETRY_OFF": "1",
                "OPENAI_HOST": f"{launch.url}/v1",
                # Not its default path, since under that it speaks another wire with models of certain names.
                "OPENAI_BASE_PATH": "chat/completions",
                "OPENAI_API_KEY": launch.key,
            },
        )


PROGRAM = Goose()
