"""docker-compose.yml without a Docker engine: it is valid by the schema, and each node would start as configured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.settings import Settings
from gateway.sources import load_settings, setting_keys, variable_of

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
NODES = ("node-1", "node-2", "node-3")
SHELL = {"FOREBAY_SECRET": "0123456789abcdef" * 4}


def environment(node: str) -> dict[str, str]:
    """The node's variables, with compose's ``${NAME:?why}`` filled in from the shell."""
    written = COMPOSE["services"][node]["environment"]
    return {name: re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda m: SHELL[m[1]], text) for name, text in written.items()}


def settings(node: str) -> Settings:
    return load_settings(environment=environment(node))


def test_it_is_valid_by_the_compose_schema() -> None:
    schema = json.loads((ROOT / "tests/data/compose_spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


@pytest.mark.parametrize("where", ["services", "volumes"])
def test_the_schema_would_refuse_a_typing_error(where: str) -> None:
    schema = json.loads((ROOT / "tests/data/compose_spec.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({where: {"x": {"imagee": "y"}}})


@pytest.mark.parametrize("node", NODES)
def test_every_variable_is_a_setting(node: str) -> None:
    assert set(environment(node)) <= {variable_of(key) for key in setting_keys()}


@pytest.mark.parametrize("node", NODES)
def test_a_node_starts_as_itself_in_the_view_that_all_share(node: str) -> None:
    loaded = settings(node)
    assert loaded.node.id == loaded.node.host == node
    assert loaded.server.workers == loaded.node.workers
    assert loaded.view == settings(NODES[0]).view
    assert [member.id for member in loaded.view.nodes] == list(NODES)


@pytest.mark.parametrize("node", NODES)
def test_ports_checks_and_volumes_fit_the_settings(node: str) -> None:
    service, loaded = COMPOSE["services"][node], settings(node)
    inside = {int(mapping.rsplit(":", 1)[1]) for mapping in service["ports"]}
    assert inside == {loaded.server.port, loaded.server.admin_port}
    assert all(mapping.startswith("127.0.0.1:") for mapping in service["ports"])
    assert f":{loaded.server.admin_port}/health/ready" in service["healthcheck"]["test"][-1]
    mounted = [volume.split(":")[1] for volume in service["volumes"]]
    assert mounted == [loaded.cache.directory, str(Path(loaded.identities.file).parent)]
    assert float(service["stop_grace_period"].removesuffix("s")) > loaded.server.drain_s


def test_no_two_services_share_a_port_or_a_cache() -> None:
    outside = [mapping.rsplit(":", 1)[0] for each in COMPOSE["services"].values() for mapping in each.get("ports", ())]
    caches = [COMPOSE["services"][node]["volumes"][0] for node in NODES]
    assert len(set(outside)) == len(outside)
    assert len(set(caches)) == len(caches)


def test_named_volumes_and_mounted_files_exist() -> None:
    sources = [volume.split(":")[0] for each in COMPOSE["services"].values() for volume in each.get("volumes", ())]
    named = {source for source in sources if not source.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    assert all((ROOT / source).is_file() for source in sources if source.startswith("."))
    assert (ROOT / COMPOSE["x-node"]["build"]["dockerfile"]).is_file()


def test_prometheus_asks_every_node() -> None:
    config = yaml.safe_load((ROOT / "docs/deploy/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{n}:{settings(n).server.admin_port}" for n in NODES]
    assert job["metrics_path"] == "/metrics"
