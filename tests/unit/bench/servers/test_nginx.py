from __future__ import annotations

from pathlib import Path

import pytest

from bench.servers.child import ServerFailed
from bench.servers.nginx import find_nginx


def test_a_missing_nginx_is_one_line_that_names_the_script(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"bench/install-debian\.sh") as failed:
        find_nginx(path=str(tmp_path))
    assert "\n" not in str(failed.value)


def test_the_script_is_there() -> None:
    script = Path(__file__).parents[4] / "bench" / "install-debian.sh"
    assert script.stat().st_mode & 0o111
