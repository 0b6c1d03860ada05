"""Aider: edits by search and replace, with a map of the repository; it runs no commands."""

from __future__ import annotations

import json

from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.starting import apart
from sdlc.integrations.engine_installs import Package
from sdlc.integrations.gateway.wires import Wire

PACKAGE = Package("aider", "uv", "aider-chat", "0.86.2", "bin/aider", python=">=3.10,<3.13")

_METADATA = ".aider.model.metadata.json"
# fmt: off
_FLAGS = (
    "--yes-always", "--no-check-update", "--no-show-release-notes", "--analytics-disable", "--no-show-model-warnings",
    "--no-auto-commits", "--no-dirty-commits", "--no-gitignore", "--no-suggest-shell-commands", "--no-detect-urls",
    "--no-auto-test", "--no-pretty", "--no-fancy-input", "--no-stream", "--disable-playwright",
)
# fmt: on


class Aider:
    name = "aider"
    wire: Wire = "chat"
    droppings: tuple[str, ...] = (".aider*",)

    def launched(self, launch: Launch) -> Launched:
        """It has no bound of its own on turns: a message, and three more to mend what went wrong."""
        model = f"openai/{launch.model}"
        histories = [f"--{kind}-history-file={launch.home}/{kind}.history" for kind in ("input", "chat", "llm")]
        window = {"max_input_tokens": launch.context_tokens, "litellm_provider": "openai", "mode": "chat"}
        return Launched(
            command=(
                *(*apart(launch.program), *_FLAGS, *histories),
                *("--model", model, "--weak-model", model, "--edit-format", "diff"),
                *("--model-metadata-file", f"{launch.home}/{_METADATA}", "--message-file", launch.brief),
            ),
            env={
                "OPENAI_API_BASE": f"{launch.url}/v1",
                "OPENAI_API_KEY": launch.key,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
            files={_METADATA: json.dumps({model: window, launch.model: window})},
        )


PROGRAM = Aider()
