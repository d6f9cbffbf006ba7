"""Flags: which options of ``serve`` and ``config`` set which settings.

The table gives the few settings that people change by hand an option of their own; ``--set section.key=value`` reaches
all others. Both verbs take the same options, so that ``forebay config`` shows exactly what ``forebay serve`` would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.sources import BadSetting, Loaded, load

FLAGS: Final[Mapping[str, str]] = {
    "upstream.endpoint": "--upstream",
    "server.port": "--port",
    "server.workers": "--workers",
    "cache.directory": "--cache-dir",
    "cache.quota": "--quota",
}

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file of settings (or FOREBAY_CONFIG).")]
Upstream = Annotated[str | None, typer.Option("--upstream", help="URL of the real S3: http(s)://host[:port].")]
ServerPort = Annotated[str | None, typer.Option("--port", help="Port that clients connect to.")]
Workers = Annotated[str | None, typer.Option("--workers", help="Data workers; default: one per core.")]
CacheDirectory = Annotated[str | None, typer.Option("--cache-dir", help="Directory of the cache.")]
Quota = Annotated[str | None, typer.Option("--quota", help="Bytes of chunks at most, such as 64GB.")]
Further = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any other setting; may be repeated.")
]


def load_flags(config: Path | None, values: Sequence[str | None], further: Iterable[str] | None) -> Loaded:
    """The settings in force, given the options of ``FLAGS`` in its order and the ``--set`` ones. Raises BadSetting."""
    given: dict[str, object] = {key: value for key, value in zip(FLAGS, values, strict=True) if value is not None}
    return load(config, given | dict(_assignment(text) for text in further or ()))


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or ("." not in key and key != "freshness"):
        raise BadSetting("--set", f"{text!r} assigns nothing", "write --set section.key=value")
    return key.strip(), value.strip()
