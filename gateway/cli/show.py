"""``forebay config``: every setting, its value and where it came from; secrets as stars.

The settings are rendered from their models, so that a setting which is added there appears here by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli.flags import FLAGS
from gateway.sources import COMMAND_LINE, Loaded, setting_keys

if TYPE_CHECKING:
    from rich.table import Table


def shown(loaded: Loaded) -> Iterator[tuple[str, object, str]]:
    """(key, value, origin) of every setting; secrets are masked."""
    document = loaded.settings.model_dump(mode="json")
    for key in setting_keys():
        section, _, name = key.partition(".")
        origin = loaded.origins[key]
        if origin == COMMAND_LINE:
            origin = FLAGS.get(key, "--set")
        yield key, document[section][name] if name else document[section], origin


def as_json(loaded: Loaded) -> str:
    """One JSON object: ``{"server.port": {"value": 9000, "origin": "default"}, ...}``."""
    return json.dumps({key: {"value": value, "origin": origin} for key, value, origin in shown(loaded)}, indent=2)


def as_table(loaded: Loaded) -> Table:
    """A table of key, value and origin for a terminal."""
    from rich.table import Table  # noqa: PLC0415 - rich is slow to import
    from rich.text import Text  # noqa: PLC0415 - rich is slow to import

    table = Table("setting", "value", "from", box=None, header_style="bold", pad_edge=False)
    for key, value, origin in shown(loaded):
        text = value if isinstance(value, str) else json.dumps(value)
        style = "dim" if origin == "default" else ""
        table.add_row(Text(key), Text(text, overflow="fold"), Text(origin, overflow="fold"), style=style)
    return table
