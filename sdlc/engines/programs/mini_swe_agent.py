"""mini-swe-agent: a small agent with a shell and nothing else."""

from __future__ import annotations

import json

from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.starting import apart, as_last_argument, own_bound
from sdlc.integrations.engine_installs import Package
from sdlc.integrations.gateway.wires import Wire

PACKAGE = Package(
    "mini-swe-agent",
    "uv",
    "mini-swe-agent",
    "2.4.6",
    "bin/mini",
    python=">=3.10",
    # Later ones can't make a call with tools without a package that they don't ask for.
    also=("litellm==1.81.10",),
    probe=("--help",),
)

_CONFIG = "worker.yaml"


class MiniSweAgent:
    name = "mini-swe-agent"
    wire: Wire = "chat"
    droppings: tuple[str, ...] = ()

    def launched(self, launch: Launch) -> Launched:
        """Its own prompts, `mini.yaml`, with our bounds over them. What models cost, the worker knows."""
        endpoint = {"api_base": f"{launch.url}/v1", "api_key": launch.key, "drop_params": True}
        model = {"model_name": f"openai/{launch.model}", "model_class": "litellm", "model_kwargs": endpoint}
        bounds = {"step_limit": own_bound(launch), "cost_limit": 0}
        config = {
            "agent": {"mode": "yolo", "confirm_exit": False, **bounds},
            "environment": {"timeout": 600},
            "model": {**model, "cost_tracking": "ignore_errors"},
        }
        options = ("-c", "mini.yaml", "-c", f"{launch.home}/{_CONFIG}", "--exit-immediately")
        return Launched(
            command=as_last_argument(launch.brief, *apart(launch.program), *options, "--task"),
            env={
                "MSWEA_CONFIGURED": "true",
                "MSWEA_SILENT_STARTUP": "1",
                "MSWEA_GLOBAL_CONFIG_DIR": f"{launch.home}/.config/mini-swe-agent",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
            # JSON is YAML.
            files={_CONFIG: json.dumps(config)},
        )


PROGRAM = MiniSweAgent()
