"""The command line: ``forebay serve | demo | status | config | bench | warm``.

This package only reads arguments, renders results and chooses exit codes; the work is elsewhere and is imported when
its verb is called, so that ``forebay --help`` answers at once. What a user can get wrong ends in one line on standard
error: exit 2 for arguments and settings, exit 1 for work that failed, 130 after Ctrl-C. A traceback is a bug of ours.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The ``forebay`` command. Raises SystemExit always."""
    # The package stays light for those who import one of its modules.
    from gateway.lean import lean_imports  # noqa: PLC0415

    with lean_imports():
        from gateway.cli.verbs import run  # noqa: PLC0415

    raise SystemExit(run())
