"""The deployment's files, as far as a machine without a container engine can tell: they parse, and name what is there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossattn_pipeline.instance import instance_settings

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()

TOP_KEYS = {"name", "services", "volumes", "networks", "configs", "secrets", "include"}
SERVICE_KEYS = {
    *("build", "command", "configs", "container_name", "depends_on", "deploy", "entrypoint", "env_file", "environment", "expose"),
    *("healthcheck", "hostname", "image", "init", "labels", "logging", "networks", "ports", "profiles", "restart", "secrets"),
    *("shm_size", "stop_grace_period", "stop_signal", "tmpfs", "ulimits", "user", "volumes", "working_dir"),
}
"""Of the Compose specification (https://github.com/compose-spec/compose-spec), what a service of ours may have."""
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def _lines(instruction: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in DOCKERFILE if line.startswith(f"{instruction} ")]


def test_compose_has_the_documented_keys_and_every_part_of_a_deployment() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} <= TOP_KEYS
    assert set(SERVICES) == {
        *("postgres", "object_store", "code_location", "webserver", "daemon", "ray_head", "ray_worker"),
    }
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("healthcheck", {})) <= HEALTH_KEYS, name
        assert "image" in service, name


def test_what_a_service_waits_for_is_there_and_can_become_so() -> None:
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted["condition"] in CONDITIONS
            assert wanted["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], (name, other)


def test_every_volume_is_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def test_only_the_web_ui_is_reachable_and_from_this_host_alone() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"webserver": ["127.0.0.1:3000:3000"]}


def test_no_secret_stands_in_a_file_and_each_that_is_asked_for_is_in_the_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    listed = set(re.findall(r"^#?(\w+)=", (DEPLOY / "env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert asked == listed
    must = {name for name, how in re.findall(r"\$\{(\w+)(:\?|:-)", text) if how == ":?"}
    assert must == {"POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert "deploy/.env" in (PROJECT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_each_variable_that_the_instance_reads_is_set() -> None:
    read = set(re.findall(r"\{env: (\w+)\}", (DEPLOY / "dagster.yaml").read_text(encoding="utf-8")))
    of_image = {pair.partition("=")[0] for line in _lines("ENV") for pair in line}
    for name in ("code_location", "webserver", "daemon"):
        assert read <= of_image | set(SERVICES[name]["environment"])


def test_the_image_copies_and_starts_what_is_there() -> None:
    kept = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for line in _lines("COPY"):
        for source in line[:-1]:
            assert (PROJECT / source).exists(), source
            assert f"!{source.split('/')[0]}" in kept, source
    assert (PROJECT / SERVICES["webserver"]["build"]["dockerfile"]).is_file()
    assert "deploy/.env" in kept
    (install,) = (line for line in DOCKERFILE if "pip install" in line)
    extras = re.findall(r"\.\[([\w,]+)\]", install)[0].split(",")
    optional = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", optional, re.MULTILINE) for extra in extras)


@pytest.mark.parametrize("name", ["code_location", "webserver", "daemon"])
def test_each_process_of_dagsters_is_started_with_options_that_it_has(name: str) -> None:
    from dagster._cli import cli
    from dagster._daemon.cli import cli as daemon
    from dagster_webserver.cli import dagster_webserver

    command = SERVICES[name]["command"]
    found, words = {
        "code_location": (cli.commands["api"].commands["grpc"], command[3:]),  # pyright: ignore[reportAttributeAccessIssue]
        "webserver": (dagster_webserver, command[3:]),
        "daemon": (daemon.commands["run"], command[2:]),
    }[name]
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_workspace_names_the_code_locations_host_and_port() -> None:
    (location,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    server, command = location["grpc_server"], SERVICES["code_location"]["command"]
    assert server["host"] == "code_location"
    assert str(server["port"]) == command[command.index("--port") + 1]


def test_the_instance_differs_from_a_homes_where_a_deployment_must() -> None:
    deployed = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
    of_home = yaml.safe_load(instance_settings("x", in_postgres=True))
    for key in ("run_storage", "event_log_storage", "schedule_storage", "telemetry", "nux"):
        assert deployed[key] == of_home[key]
    assert deployed["concurrency"]["pools"] == of_home["concurrency"]["pools"]
    assert deployed["concurrency"]["runs"]["max_concurrent_runs"] == 4
    assert of_home["run_retries"] | {"retry_on_asset_or_op_failure": False} == deployed["run_retries"]
