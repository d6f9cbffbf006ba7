"""Settings of every test: hypothesis asserts no times, and chooses the same examples for everybody in CI."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("forebay", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "forebay")
