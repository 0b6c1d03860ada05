"""`make fakes`: an imitated Jira and GitHub with the bundled demo in them, and pages to work with both."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.cli.demo_model import mark_as_demo
from sdlc.config import CONFIG_FILE, Settings
from tests.fakes.scripted_ci import ScriptedCi
from tests.fakes.web_view import WebView
from tests.fakes.world import KEY, LABEL, World, sdlc_command, trial_world

if TYPE_CHECKING:
    from collections.abc import Sequence

WEB_PORT = 8080
"""Where `sdlc serve` listens unless it is told otherwise."""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; ends the process with code 2 for what can't be read."""
    parser = argparse.ArgumentParser("make fakes", description="Imitations of Jira and GitHub, to try things out with.")
    parser.add_argument("--flavour", choices=("cloud", "datacenter"), default="cloud", help="which Jira (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="of the pages; default: a free one")
    parser.add_argument("--jira-port", type=int, default=0, help="default: a free one")
    parser.add_argument("--github-port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--webhooks", metavar="URL", default="", help="address of `sdlc serve`, which webhooks are sent to"
    )
    parser.add_argument("--secret", default="", help="signs the webhooks; default: a new one, which is printed")
    parser.add_argument("--ci", choices=("green", "red", "none"), default="green", help="how checks end (%(default)s)")
    parser.add_argument("--protect", action="store_true", help="protect the default branch: a check and an approval")
    parsed = parser.parse_args(words)
    if parsed.webhooks and not parsed.webhooks.startswith(("http://", "https://")):
        parser.error("--webhooks: give an address such as http://127.0.0.1:8080")
    return parsed


async def main(chosen: argparse.Namespace) -> int:
    """Serve until a signal comes; the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports = {"jira_port": chosen.jira_port, "github_port": chosen.github_port}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sdlc-fakes-")))
        try:
            async with trial_world(folder, flavour=chosen.flavour, protect=chosen.protect, **ports) as world:
                ci = stack.enter_context(ScriptedCi(world, chosen.ci))
                view = stack.enter_context(WebView(world, ci, port=chosen.port))
                world.secret = chosen.secret or world.secret
                if chosen.webhooks:
                    world.send_webhooks(chosen.webhooks)
                data = folder / "data"
                data.mkdir()
                mark_as_demo(Settings(data_dir=data))
                file = world.write_settings(folder / CONFIG_FILE, web_port=WEB_PORT, data_dir=str(data))
                print(introduction(world, view, file, chosen), flush=True)
                await stop.wait()
                stack.close()
        except OSError as error:
            print(f"make fakes: {error}; choose another port, or 0 for a free one.", file=sys.stderr)
            return 1
    return 0


def introduction(world: World, view: WebView, file: Path, chosen: argparse.Namespace) -> str:
    """What stands in the terminal: addresses, tokens, and how to connect."""
    bot = world.jira.users["bot"]
    cloud = world.jira.flavour == "cloud"  # API tokens go with an e-mail address there
    env = {
        "JIRA_URL": world.jira.url,
        **({"JIRA_EMAIL": bot.email, "JIRA_TOKEN": bot.secret} if cloud else {"JIRA_TOKEN": bot.bearer}),
        "GITHUB_TOKEN": world.github_token,
        "SDLC_GITHUB__BASE_URL": world.github.url,
        "SDLC_JIRA__WEBHOOK_SECRET": world.secret,
        "SDLC_GITHUB__WEBHOOK_SECRET": world.secret,
    }
    if chosen.webhooks:
        hooks = f"Webhooks go to {chosen.webhooks}, signed."
        poll = ""
    else:
        hooks = f"No webhooks are sent; for them start with --webhooks http://127.0.0.1:{WEB_PORT}."
        poll = " --poll"
    lines = [
        "Imitations of Jira and GitHub, to try things out with. Nothing leaves this machine; Ctrl-C throws all away.",
        "",
        f"  Open this     {view.url}",
        f"  Jira          {world.jira.url} ({'Cloud' if cloud else 'Data Center'})",
        f"  GitHub's API  {world.github.url}",
        f"  Repository    {world.repository.clone_url}",
        "",
        hooks,
        "",
        f"To connect, in two more terminals (all settings and tokens stand in {file}):",
        "",
        f"  {sdlc_command(file)} dev",
        f"  {sdlc_command(file)} serve{poll}",
        "",
        f"Unless SDLC_MODEL names a model, a scripted one answers, which knows {KEY} alone.",
        "",
        "Or with a configuration of your own, these in the environment:",
        "",
        *(f"  export {name}={value}" for name, value in env.items()),
        "",
        f"Then put the label {LABEL} on {KEY}: {view.url}/browse/{KEY}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
