"""How a command ends other than well: the exit codes, and the exception that carries the one line to print."""

from __future__ import annotations

from typing import Final

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


class Failed(Exception):
    """Work that did not succeed for a reason that the user can act on; its text is the one line to print."""
