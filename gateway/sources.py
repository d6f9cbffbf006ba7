"""Sources: where a node's settings come from, and which source won.

Layers, highest first: the command line, ``FOREBAY_SECTION__KEY`` variables, the TOML file (``--config`` or
``FOREBAY_CONFIG``), facts of this machine (host name, cores, the user's cache directory), the defaults. They are laid
over each other key by key; lists (``freshness``, ``cluster.members``, ``server.domains``) are taken whole. Every value
remembers its origin, for ``forebay config`` and for error messages. ``FOREBAY_`` variables without ``__`` are not
ours but for two: Kubernetes names such variables after a service called forebay.

All that can be wrong becomes one ``BadSetting``: the key, what is wrong, the fix, in one line.
"""

from __future__ import annotations

import difflib
import json
import os
import platform
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, SecretStr, ValidationError

from gateway.settings import Section, Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

COMMAND_LINE: Final = "command line"
DEFAULT: Final = "default"
_PREFIX: Final = "FOREBAY_"
_LISTS: Final = frozenset({"freshness", "cluster.members"})
_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {  # pydantic's error type: what is wrong, how to put it right
    "bool_parsing": ("{input!r} is neither true nor false", "write true or false"),
    "bool_type": ("this is neither true nor false", "write true or false"),
    "finite_number": ("{input!r} is no finite number", "write a number"),
    "float_parsing": ("{input!r} is no number", "write a number"),
    "float_type": ("this is no number", "write a number"),
    "greater_than": ("{input} is too small", "use more than {gt}"),
    "greater_than_equal": ("{input} is too small", "use {ge} or more"),
    "int_from_float": ("{input} is no whole number", "write a whole number"),
    "int_parsing": ("{input!r} is no whole number", "write a whole number"),
    "int_type": ("this is no whole number", "write a whole number"),
    "less_than_equal": ("{input} is too large", "use {le} or less"),
    "literal_error": ("{input!r} is not among the choices", "use {expected}"),
    "missing": ("it is missing", "add it"),
    "model_type": ("this is no table of keys", "write one"),
    "string_too_short": ("it is empty", "leave it out, or fill it in"),
    "string_type": ("this is no text", "put it in quotes"),
    "tuple_type": ("this is no list", "write a list"),
}


class BadSetting(Exception):
    """A setting that cannot work: ``key``, what is ``wrong`` with it and its ``fix``; one line as text."""

    def __init__(self, key: str, wrong: str, fix: str) -> None:
        self.key, self.wrong, self.fix = key, wrong, fix
        super().__init__(" ".join(f"{key}: {wrong}; {fix}".split()))


@dataclass(frozen=True, slots=True)
class Setting:
    """One value as a source gave it, and that source in words."""

    value: object
    origin: str


Layer = dict[str, Setting]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Complete settings, and for each key (``section.key``) where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force. Raises BadSetting. See :func:`load`."""
    return load(config, overrides, environment).settings


def load(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Layer all sources and check the result.

    ``overrides`` are the command line's, by dotted key (``{"server.port": 9000}``). ``environment`` stands for the
    process's. Raises BadSetting before anything has started.
    """
    environment = os.environ if environment is None else environment
    named = config or (Path(environment["FOREBAY_CONFIG"]) if environment.get("FOREBAY_CONFIG") else None)
    values = _read_file(named) if named is not None else {}
    values |= _read_environment(environment)
    for key, value in (overrides or {}).items():
        parsed = _parsed_list(COMMAND_LINE, key, value) if key in _LISTS and isinstance(value, str) else value
        values[key] = Setting(parsed, COMMAND_LINE)
    _complete(values, environment)
    origins = {key: values[key].origin if key in values else DEFAULT for key in setting_keys()}
    return Loaded(_checked(values), origins)


def setting_keys() -> Iterator[str]:
    """Every settable key, ``section.key``, in the order of the models; ``freshness`` is one key."""
    for name, field in Settings.model_fields.items():
        if name in _LISTS:
            yield name
        else:
            yield from (f"{name}.{key}" for key in _section(field.annotation).model_fields)


def variable_of(key: str) -> str:
    """The variable that sets ``key``: ``server.port`` is FOREBAY_SERVER__PORT."""
    return _PREFIX + key.upper().replace(".", "__")


def _section(annotation: object) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    raise TypeError(f"no settings section: {annotation!r}")


def _read_file(path: Path) -> Layer:
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise BadSetting("--config", f"{path} cannot be read ({error.strerror})", "name a TOML file") from error
    except ValueError as error:
        raise BadSetting("--config", f"{path} is no TOML ({error})", "correct the line") from error
    lines = dict(_lines_of_keys(text))
    found: Layer = {}
    for key, value in _flattened(document):
        found[key] = Setting(value, f"{path}:{lines[key]}" if key in lines else str(path))
    return found


def _flattened(document: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, table in document.items():
        if name not in Settings.model_fields or name in _LISTS:
            yield name, table
        elif isinstance(table, dict):
            yield from ((f"{name}.{key}", value) for key, value in table.items())
        else:
            raise BadSetting(name, "this is a section, not a value", f"write [{name}] and its keys below")


def _lines_of_keys(text: str) -> Iterator[tuple[str, int]]:
    """Where keys stand, for messages: plain ``[section]`` and ``key =`` lines; the last one wins."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([\w.]+)\s*\]", line):
            section = header[1]
            if section in _LISTS:
                yield section, number
        elif key := re.match(r"\s*([\w.]+)\s*=", line):
            yield f"{section}.{key[1]}".lstrip("."), number


def _read_environment(environment: Mapping[str, str]) -> Layer:
    found: Layer = {}
    for name, text in environment.items():
        key = name.removeprefix(_PREFIX).lower().replace("__", ".")
        if name.startswith(_PREFIX) and ("." in key or key in _LISTS):
            found[key] = Setting(_parsed_list(name, key, text) if key in _LISTS else text, name)
    return found


def _parsed_list(name: str, key: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadSetting(key, f"this is no JSON ({error}) ({name})", "write a JSON list of objects") from error


def _complete(values: Layer, environment: Mapping[str, str]) -> None:
    """Add what this machine knows and nobody has set, so that no value is left open."""

    def text(key: str) -> str:
        value = values[key].value if key in values else ""
        return value if isinstance(value, str) else ""

    def offer(key: str, value: object, origin: str) -> None:
        if key not in values or values[key].value in ("", "0", 0):
            values[key] = Setting(value, origin)

    _read_secret(values, text("cluster.secret_file"))
    offer("cluster.node_id", platform.node() or "localhost", "this machine's host name")
    member = _own_member(values, text("cluster.node_id"))
    for key, name in (("server.workers", "workers"), ("cluster.peer_port", "peer_port")):
        if name in member:
            offer(key, member[name], "cluster.members")
    offer("server.workers", len(os.sched_getaffinity(0)), "one per core")
    caches = environment.get("XDG_CACHE_HOME") or os.path.join(environment.get("HOME") or "/var", ".cache")
    offer("cache.directory", os.path.join(caches, "forebay"), "the user's cache directory")
    offer("identities.file", os.path.join(text("cache.directory"), "identities.toml"), "in the cache directory")


def _own_member(values: Layer, node_id: str) -> Mapping[str, object]:
    members = values["cluster.members"].value if "cluster.members" in values else ()
    listed = members if isinstance(members, list | tuple) else ()
    return next((each for each in listed if isinstance(each, Mapping) and each.get("id") == node_id), {})


def _read_secret(values: Layer, path: str) -> None:
    if not path:
        return
    if "cluster.secret" in values:
        raise BadSetting("cluster.secret_file", "cluster.secret is set too", "keep one of the two")
    try:
        secret = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        wrong = f"{path} cannot be read ({getattr(error, 'strerror', None) or 'no UTF-8'})"
        raise BadSetting("cluster.secret_file", wrong, "name a file that holds at least 32 bytes") from error
    values["cluster.secret"] = Setting(secret, path)


def _checked(values: Layer) -> Settings:
    document: dict[str, Any] = {}
    for key, setting in values.items():
        section, _, name = key.partition(".")
        if name and section in Settings.model_fields and section not in _LISTS:
            document.setdefault(section, {})[name] = setting.value
        else:
            document[key] = setting.value
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise _explained(error.errors(include_url=False)[0], values) from error


def _explained(details: ErrorDetails, values: Layer) -> BadSetting:
    parts = [str(part) for part in details["loc"]]
    key = ".".join(parts)
    if details["type"] == "extra_forbidden":
        return BadSetting(key, f"there is no such setting{_at(key, values)}", _near_miss(parts))
    if details["type"] == "value_error":
        return _from_validator(key, details, values)
    ctx = details.get("ctx", {})
    wrong, fix = _MESSAGES.get(details["type"], ("this value cannot be used", "give another one"))
    return BadSetting(
        key, wrong.format(input=details["input"], **ctx) + _at(key, values), f"{fix.format(**ctx)} ({_meaning(parts)})"
    )


def _from_validator(key: str, details: ErrorDetails, values: Layer) -> BadSetting:
    """A message of our own validators: ``[key: ]what is wrong; how to put it right``."""
    wrong, _, fix = str(details["ctx"]["error"]).partition("; ")
    name, colon, rest = wrong.partition(": ")
    if colon and re.fullmatch(r"[a-z_.]+", name):
        key, wrong = (f"{key}.{name}" if key else name), rest
    return BadSetting(key, f"{wrong}{_at(key, values)}", fix)


def _at(key: str, values: Layer) -> str:
    section, _, rest = key.partition(".")
    names = (key, f"{section}.{rest.partition('.')[0]}", section)
    origin = next((values[name].origin for name in names if name in values), "")
    return f" ({origin})" if origin else ""


def _meaning(parts: Iterable[str]) -> str:
    model: type[BaseModel] = Settings
    text = ""
    for part in parts:
        if part.isdigit():
            continue
        field = model.model_fields.get(part)
        if field is None:
            break
        text = field.description or text
        model = next((each for each in _models_in(field.annotation)), model)
    return text or "see README.md"


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    for each in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _near_miss(parts: list[str]) -> str:
    model: type[BaseModel] = Settings
    for part in parts[:-1]:
        field = model.model_fields.get(part)
        model = next(_models_in(field.annotation), model) if field is not None else model
    near = difflib.get_close_matches(parts[-1], model.model_fields, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join([*parts[:-1], near[0]])}?"
    return f"known here: {', '.join(model.model_fields)}"


def masked(value: object) -> str:
    """``value`` as ``forebay config`` shows it: secrets as stars, true/false as in TOML."""
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
