from __future__ import annotations

import tomllib
from pathlib import Path

from bench.plan import Door
from bench.servers.forebay import write_settings


def test_the_settings_are_those_of_one_worker_that_verifies(tmp_path: Path) -> None:
    upstream = Door(("http://127.0.0.1:1",), "b", "UP", 'a "secret"\\')
    config = write_settings(upstream, tmp_path, port=9, access_key="AK", secret_key="SK")
    settings = tomllib.loads(config.read_text())
    assert settings["upstream"] == {
        "endpoint": "http://127.0.0.1:1",
        "access_key": "UP",
        "secret_key": 'a "secret"\\',
    }
    assert settings["server"]["workers"] == 1
    assert "auth" not in settings["server"]
    identities = Path(settings["identities"]["file"])
    (identity,) = tomllib.loads(identities.read_text())["identity"]
    assert (identity["access_key"], identity["secret_key"]) == ("AK", "SK")
    assert [path.stat().st_mode & 0o777 for path in (config, identities)] == [0o600, 0o600]
