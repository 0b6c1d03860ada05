"""Settings for a command, and what to tell a person whose configuration can't be read: the place and the mend."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sdlc.config import CONFIG_FILE, Settings, load
from sdlc.domain import StepLimits
from sdlc.errors import ConfigurationError
from sdlc.progress import Step

_PREFIX = "SDLC_"
_LIST = "`sdlc config` lists the settings"


def load_settings(file: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """As `sdlc.config.load`, with a message that names the file's line, or the variable, and what could be meant."""
    read = file or (Path(CONFIG_FILE) if Path(CONFIG_FILE).is_file() else None)
    _refuse_misspelt_variables(os.environ)
    try:
        settings = load(file, overrides=overrides)
    except ConfigurationError as error:
        raise ConfigurationError(_explained(error, read)) from error.__cause__
    if read is not None:
        _refuse_misspelt_keys(read)
    folders = {"data_dir": settings.data_dir, "cache_dir": settings.cache_dir}
    return settings.model_copy(update={name: path.expanduser().absolute() for name, path in folders.items()})


def _refuse_misspelt_variables(environment: Mapping[str, str]) -> None:
    """`SDLC_RNU__MERGE=1` would change nothing and say nothing. Names without `__` may be somebody else's."""
    for name in environment:
        parts = name.removeprefix(_PREFIX).lower().split("__")
        if not name.startswith(_PREFIX) or len(parts) == 1:
            continue
        wrong = next(_unknown(_nested(parts), Settings), None)
        if wrong is not None:
            meant = _PREFIX + "__".join([*wrong.place[:-1], wrong.meant, *parts[len(wrong.place) :]]).upper()
            hint = f"did you mean {meant}?" if wrong.meant else f"unset it; {_LIST}."
            raise ConfigurationError(f"{name} is set, and there is no such setting; {hint}")


def _refuse_misspelt_keys(file: Path) -> None:
    """What a run keeps (budget, approval, limits) can grow, and so lets keys pass that it does not know."""
    import yaml  # here, as below: most commands read no file

    wrong = next(_unknown(yaml.safe_load(file.read_text("utf-8")), Settings), None)
    if wrong is not None:
        raise ConfigurationError(_no_such(_place(wrong.place, file), wrong.meant))


@dataclass(frozen=True)
class _Unknown:
    place: tuple[str, ...]
    meant: str
    """The name that it is close to, or nothing."""


def _unknown(values: Any, kind: Any, place: tuple[str, ...] = ()) -> Iterator[_Unknown]:
    """Keys that the settings, or a part of them of this type, don't have."""
    if not isinstance(values, Mapping):
        return
    if _is_model(kind):
        known: dict[str, Any] = {name: field.annotation for name, field in kind.model_fields.items()}
    elif place == ("run", "limits"):
        known = dict.fromkeys((step.key for step in Step), StepLimits)
    else:
        return
    for key, value in values.items():
        if key in known:
            yield from _unknown(value, known[key], (*place, key))
        else:
            yield _Unknown((*place, str(key)), _close(str(key), known))


def _nested(parts: Sequence[str]) -> Any:
    return {parts[0]: _nested(parts[1:])} if parts else None


def _explained(error: ConfigurationError, file: Path | None) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        first, *more = cause.errors()
        rest = f" ({len(more)} more of the kind.)" if more else ""
        return _one(first, file) + rest
    if (problem := getattr(cause, "problem", None)) is not None:  # of a yaml.MarkedYAMLError
        mark = getattr(cause, "problem_mark", None)
        place = f"{file}, line {mark.line + 1}" if mark else str(file)
        return f"{place}: this is not YAML ({problem}); look at the indentation and at quotes there."
    if cause is None or isinstance(cause, ConfigurationError):
        return str(cause or error)
    if field := re.search(r'error parsing value for field "(\w+)"', str(cause)):  # a SettingsError
        variable = f"{_PREFIX}{field[1].upper()}"
        return f"{variable} is not JSON; set one value at a time, such as {variable}__NAME=value. {_LIST.capitalize()}."
    if isinstance(cause, UnicodeDecodeError):
        return f"{file} is not UTF-8; save it as UTF-8."
    if isinstance(cause, OSError):
        return f"{file} can't be read ({cause.strerror}); check its mode."
    return f"{file} is not made of settings such as `run:` with `merge: true` below it; {_LIST}."


def _one(detail: ErrorDetails, file: Path | None) -> str:
    location = [str(part) for part in detail["loc"]]
    place = _place(location, file)
    if detail["type"] == "extra_forbidden":
        return _no_such(place, _close(location[-1].lower(), _siblings(location)))
    if detail["type"] == "model_type":
        return f"{place}: it takes settings of its own, one a line and indented; {_LIST}."
    return f"{place}: {detail['msg'][:1].lower()}{detail['msg'][1:]}."


def _no_such(place: str, meant: str) -> str:
    hint = f"did you mean `{meant}`?" if meant else f"{_LIST}."
    return f"{place}: there is no such setting; {hint}"


def _place(location: Sequence[str], file: Path | None) -> str:
    name = _PREFIX + "__".join(location).upper()
    usual = {"base_url": "OPENAI_BASE_URL", "api_key": "OPENAI_API_KEY", "name": "SDLC_MODEL"}
    if name in os.environ:
        return name
    line = _line(file, location) if file is not None else None
    if line is None and location[0] == "llm" and os.environ.get(usual.get(location[-1], "")):
        return usual[location[-1]]
    if line is None and (section := f"{_PREFIX}{location[0].upper()}") in os.environ:
        return f"{section}, `{'.'.join(location)}`"
    if file is None:
        return f"The setting `{'.'.join(location)}`"
    return f"{file}{f', line {line}' if line else ''}, `{'.'.join(location)}`"


def _line(file: Path, location: Sequence[str]) -> int | None:
    """The line, counted from 1, of the deepest part of the location that the file has."""
    import yaml

    node = yaml.compose(file.read_text("utf-8"), Loader=yaml.SafeLoader)
    line = None
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        found = next(((key, value) for key, value in node.value if key.value == part), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _siblings(location: Sequence[str]) -> Iterable[str]:
    model: Any = Settings
    for part in location[:-1]:
        field = model.model_fields.get(part) if _is_model(model) else None
        model = field.annotation if field is not None else None
    return model.model_fields if _is_model(model) else ()


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _close(word: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.6)), "")
