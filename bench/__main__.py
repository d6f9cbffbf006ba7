"""``python -m bench``: what ``make bench`` runs, the comparison with nginx."""

from __future__ import annotations

import sys

from bench.beside_nginx import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
