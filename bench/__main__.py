"""``python -m bench``: what ``make bench`` runs, the comparison with nginx; with a verb, what ``forebay bench`` has."""

from __future__ import annotations

import sys

from bench.peers_command import main
from bench.verbs import VERBS, run_verb


def _main(args: list[str]) -> int:
    return run_verb(args[0], args[1:]) if args and args[0] in VERBS else main(args, quick=True)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
