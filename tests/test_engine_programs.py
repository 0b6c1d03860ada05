"""How each coding program is started, as far as that can be seen without it."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from sdlc.config import EngineName, EngineSettings
from sdlc.demo.conversation import ChatRequest, edit
from sdlc.engines.programs.base import Launch, Launched
from sdlc.engines.programs.registry import ENGINES, package_of, program_of
from sdlc.engines.programs.starting import LONGEST_ARGUMENT, as_last_argument, on_stdin
from sdlc.errors import ConfigurationError
from tests.engine_dialects import Dialect, demo_rounds

LAUNCH = Launch(
    program="/opt/engines/bin/program",
    brief="/engine/brief.md",
    url="http://127.0.0.1:3128",
    key="key-of-this-run",
    model="gpt-5.1-codex",
    max_turns=17,
    home="/home/engine",
    context_tokens=64_000,
)


def launched(name: str) -> Launched:
    return ENGINES[name].program.launched(LAUNCH)


def everything(name: str) -> str:
    found = launched(name)
    return "\n".join([*found.command, *(f"{key}={value}" for key, value in found.env.items()), *found.files.values()])


def test_every_engine_of_the_settings_is_known_or_needs_no_program() -> None:
    assert set(ENGINES) | {"agent", "command"} == set(get_args(EngineName))
    for name, engine in ENGINES.items():
        assert engine.program.name == engine.package.name == name
        assert program_of(name, EngineSettings()) is engine.program
        assert package_of(name) is engine.package
    assert package_of("command") is None


def test_an_engine_that_is_no_program_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"`agent` is no command-line engine; there are aider, goose"):
        program_of("agent", EngineSettings())


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_program_is_given_its_brief_its_model_and_the_key_of_the_run(name: str) -> None:
    said = everything(name)
    for needed in (LAUNCH.program, LAUNCH.brief, LAUNCH.model, LAUNCH.key):
        assert needed in said
    assert LAUNCH.key not in " ".join(launched(name).command), "everybody on the machine sees a command line"


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_program_reaches_its_model_by_the_gateway_alone(name: str) -> None:
    plain = name == "claude"
    assert (LAUNCH.url if plain else f"{LAUNCH.url}/v1") in everything(name)
    assert (f"{LAUNCH.url}/v1" in everything(name)) is not plain


@pytest.mark.parametrize("name", ["goose", "opencode", "claude", "mini-swe-agent"])
def test_a_program_that_counts_its_turns_has_one_more_than_the_gateway_grants(name: str) -> None:
    said = everything(name)
    assert str(LAUNCH.max_turns + 1) in said
    assert str(LAUNCH.max_turns) not in said


@pytest.mark.parametrize("name", list(ENGINES))
def test_configuration_files_can_be_read_and_lie_in_home(name: str) -> None:
    for path, text in launched(name).files.items():
        assert not os.path.isabs(path)
        readers: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}
        assert readers[path.rpartition(".")[2]](text)


def test_codex_leaves_the_sandbox_to_us_and_asks_nobody() -> None:
    config = tomllib.loads(launched("codex").files[".codex/config.toml"])
    assert (config["sandbox_mode"], config["approval_policy"]) == ("danger-full-access", "never")
    provider = config["model_providers"][config["model_provider"]]
    assert (provider["base_url"], provider["wire_api"]) == (f"{LAUNCH.url}/v1", "responses")


def test_a_model_name_with_quotes_breaks_no_configuration_file() -> None:
    launch = Launch("p", "/b", "http://127.0.0.1:1", "k", 'a"b\\c', 3, "/h")
    config = tomllib.loads(ENGINES["codex"].program.launched(launch).files[".codex/config.toml"])
    assert config["model"] == launch.model


# --- how a brief gets into a program --------------------------------------------------------


def test_a_brief_on_standard_input_arrives_byte_for_byte(tmp_path: Path) -> None:
    brief = tmp_path / "a brief.md"
    brief.write_text("$(touch owned) `x` 'y' \"z\" ü\n\n")
    done = subprocess.run(on_stdin(str(brief), "cat", "-"), capture_output=True, text=True, timeout=20, cwd=tmp_path)
    assert done.stdout == brief.read_text()
    assert os.listdir(tmp_path) == [brief.name]


def test_a_brief_as_an_argument_is_one_word_that_no_shell_looks_into(tmp_path: Path) -> None:
    brief = tmp_path / "brief.md"
    brief.write_text("-x $(touch owned) `x` 'y' \"z\" *\nsecond line")
    command = as_last_argument(str(brief), "printf", "<%s>", "two words")
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=tmp_path)
    assert done.stdout == f"<two words><{brief.read_text()}>"
    assert os.listdir(tmp_path) == [brief.name]


def test_a_brief_that_no_argument_can_hold_is_named(tmp_path: Path) -> None:
    brief = tmp_path / "brief.md"
    brief.write_text("x" * (LONGEST_ARGUMENT + 1))
    done = subprocess.run(as_last_argument(str(brief), "echo"), capture_output=True, text=True, timeout=20)
    assert done.stdout == f"Your whole task is in the file {brief}. Read all of it first, then do it.\n"


# --- a command of one's own -----------------------------------------------------------------


def own(template: str) -> tuple[str, ...]:
    return program_of("command", EngineSettings(command=template)).launched(LAUNCH).command


def test_a_template_is_split_once_and_filled_in_within_its_words() -> None:
    template = "my-agent --task={brief} '--model {model}' {url} {key} {home}/x"
    assert own(template) == (
        "my-agent",
        "--task=/engine/brief.md",
        "--model gpt-5.1-codex",
        "http://127.0.0.1:3128/v1",
        "key-of-this-run",
        "/home/engine/x",
    )


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    launch = Launch("p", "/{key}/brief", "http://127.0.0.1:1", "secret", "{home}", 3, "/h")
    program = program_of("command", EngineSettings(command="a {brief} {model}"))
    assert program.launched(launch).command == ("a", "/{key}/brief", "{home}")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", r"`engine.command` is empty; set it"),
        ("   ", r"`engine.command` is empty"),
        ("agent {task}", r"has `\{task\}`, which nothing stands for; there are \{brief\}, \{model\}"),
        ("agent {}", r"has `\{\}`"),
        ("agent 'half", r"can't be split into words: No closing quotation"),
    ],
)
def test_a_template_of_no_use_is_refused_with_the_mend(template: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        own(template)


def test_braces_that_name_nothing_are_left_alone() -> None:
    assert own("""sh -c 'echo "${HOME}" {"a": 1}' {brief}""") == ("sh", "-c", 'echo "${HOME}" {"a": 1}', LAUNCH.brief)


# --- the dialects in which scripted models speak to them -------------------------------------

ROUND = {"role": "user", "content": "# Task\n\nRound: 0\n"}


def ask(name: str, *messages: dict[str, Any], tool: str = "") -> Any:
    tools = [{"type": "function", "function": {"name": tool, "parameters": {}}}] if tool else []
    script = Dialect(name, {0: [edit("a.py", "x = 1", "x = 2"), edit("new.py", "", "y = 1\n")]})
    return script.answer(ChatRequest({"messages": list(messages), "tools": tools}))


def test_aider_is_asked_for_files_before_they_are_edited_and_says_whole_lines() -> None:
    assert "a.py" in ask("aider", ROUND).content.splitlines()
    shown = {"role": "user", "content": "These:\n\na.py\n```\n    x = 1  # one\n```\n"}
    answer = ask("aider", shown, ROUND).content
    assert "a.py\n```\n<<<<<<< SEARCH\n    x = 1  # one\n=======\n    x = 2  # one\n>>>>>>> REPLACE\n```" in answer
    assert "new.py\n```\n<<<<<<< SEARCH\n=======\ny = 1\n>>>>>>> REPLACE" in answer


def test_aider_is_not_told_twice_what_is_done() -> None:
    shown = {"role": "user", "content": "a.py\n```\nx = 2\n```\n\nnew.py\n```\ny = 1\n```\n"}
    assert "SEARCH" not in ask("aider", shown, ROUND).content


def test_a_program_with_a_shell_makes_the_change_once_and_can_do_it_again_without_harm(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    call = ask("goose", ROUND, tool="shell").tool_calls[0]
    for _ in range(2):
        subprocess.run(["bash", "-c", call.arguments["command"]], cwd=tmp_path, check=True, timeout=20)
        assert (tmp_path / "a.py").read_text() == "x = 2\n"
        assert (tmp_path / "new.py").read_text() == "y = 1\n"
    assert not ask("goose", ROUND, {"role": "tool", "content": "changed"}, tool="shell").tool_calls


def test_a_request_for_a_title_gets_a_word_and_a_lens_the_answer_of_the_demo() -> None:
    assert ask("opencode", {"role": "user", "content": "Generate a title"}).content
    prompt = "You are the security panel of a code review. Lens: injection.\n"
    assert json.loads(ask("opencode", {"role": "user", "content": prompt}).content)["findings"] == []


def test_the_demos_edits_are_known_by_round() -> None:
    rounds = demo_rounds()
    assert len(rounds[0]) == 10
    assert len(rounds[1]) == 3
