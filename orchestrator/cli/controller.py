"""``gvisor-nodes controller``: the process that serves a cluster, started as the upstream extension is.

Every flag of upstream's is an option here, given as text, because what it may be is said in one place:
``orchestrator/controller/settings.py``. What the process needs is imported when it runs, so that help stays fast.
"""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.controller.settings import ControllerSettings

_NO_EFFECT = "Taken for upstream's sake, without effect."


def _text(meaning: str, metavar: str = "TEXT") -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=meaning, metavar=metavar)
    return option


def _version(wanted: bool) -> None:
    if wanted:
        from orchestrator.cli.app import version  # noqa: PLC0415 - it imports this module

        typer.echo(f"gvisor-nodes {version()}")
        raise typer.Exit


def controller(
    *,
    config: Annotated[
        Path | None, typer.Option(help="File with settings (YAML); see docs/controller.md.", metavar="FILE")
    ] = None,
    extension_classes: Annotated[
        str | None, _text("Classes of ContainerRuntimes to serve, with commas.", "CLASSES")
    ] = None,
    kubeconfig: Annotated[str | None, _text("Path of a kubeconfig.", "FILE")] = None,
    master: Annotated[str | None, _text("URL of an API server, instead of the kubeconfig's.", "URL")] = None,
    leader_election: Annotated[str | None, _text("Whether one replica of several works.", "BOOL")] = None,
    leader_election_id: Annotated[str | None, _text("Name of the Lease.", "NAME")] = None,
    leader_election_namespace: Annotated[str | None, _text("Namespace of the Lease.", "NAMESPACE")] = None,
    metrics_bind_address: Annotated[str | None, _text("Where metrics are served; 0 for nowhere.", "ADDRESS")] = None,
    health_bind_address: Annotated[str | None, _text("Where probes are served; 0 for nowhere.", "ADDRESS")] = None,
    log_level: Annotated[str | None, _text("debug, info or error.", "LEVEL")] = None,
    log_format: Annotated[str | None, _text("json, or console (text means the same).", "FORMAT")] = None,
    max_concurrent_reconciles: Annotated[
        str | None, _text("How many ContainerRuntimes are worked on at once.", "NUMBER")
    ] = None,
    heartbeat_namespace: Annotated[str | None, _text("Namespace of the heartbeat's Lease.", "NAMESPACE")] = None,
    heartbeat_renew_interval_seconds: Annotated[
        str | None, _text("Seconds between renewals of the heartbeat.", "SECONDS")
    ] = None,
    ignore_operation_annotation: Annotated[
        str | None, _text("Whether a changed spec is acted upon at once.", "BOOL")
    ] = None,
    gardener_version: Annotated[str | None, _text(_NO_EFFECT)] = None,
    self_hosted_shoot_cluster: Annotated[str | None, _text(_NO_EFFECT, "BOOL")] = None,
    webhook_config_server_host: Annotated[str | None, _text(_NO_EFFECT)] = None,
    webhook_config_server_port: Annotated[str | None, _text(_NO_EFFECT)] = None,
    webhook_config_cert_dir: Annotated[str | None, _text(_NO_EFFECT)] = None,
    gvisor_installation_test_repository: Annotated[str | None, _text(_NO_EFFECT)] = None,
    healthcheck_max_concurrent_reconciles: Annotated[str | None, _text(_NO_EFFECT)] = None,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve the ContainerRuntimes of a seed, or of one cluster without Gardener. Runs until SIGTERM.

    Options but --config and --version are those of Gardener's own extension and win over the file.
    """
    flags = {
        "extension-classes": extension_classes,
        "kubeconfig": kubeconfig,
        "master": master,
        "leader-election": leader_election,
        "leader-election-id": leader_election_id,
        "leader-election-namespace": leader_election_namespace,
        "metrics-bind-address": metrics_bind_address,
        "health-bind-address": health_bind_address,
        "log-level": log_level,
        "log-format": log_format,
        "max-concurrent-reconciles": max_concurrent_reconciles,
        "heartbeat-namespace": heartbeat_namespace,
        "heartbeat-renew-interval-seconds": heartbeat_renew_interval_seconds,
        "ignore-operation-annotation": ignore_operation_annotation,
        "gardener-version": gardener_version,
        "self-hosted-shoot-cluster": self_hosted_shoot_cluster,
        "webhook-config-server-host": webhook_config_server_host,
        "webhook-config-server-port": webhook_config_server_port,
        "webhook-config-cert-dir": webhook_config_cert_dir,
        "gvisor-installation-test-repository": gvisor_installation_test_repository,
        "healthcheck-max-concurrent-reconciles": healthcheck_max_concurrent_reconciles,
    }
    _run(config, {name: text for name, text in flags.items() if text is not None})


def _run(config: Path | None, flags: Mapping[str, str]) -> None:
    from orchestrator.controller.upstream_flags import without_effect  # noqa: PLC0415

    found = _settings(config, flags)
    from orchestrator.controller import log_lines, process  # noqa: PLC0415 - a wrong setting is told without them

    log_lines.configure(found.log.level, found.log.format)
    process.run(found, without_effect(flags))


def _settings(config: Path | None, flags: Mapping[str, str]) -> ControllerSettings:
    from orchestrator.controller.settings import settings  # noqa: PLC0415 - not needed to print help
    from orchestrator.errors import InvalidInputError  # noqa: PLC0415

    text = ""
    if config is not None:
        try:
            text = config.read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidInputError(
                f"{config} cannot be read", why=error.strerror or str(error), remedy="give another --config"
            ) from error
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"{config} cannot be read", why="it is no UTF-8 text", remedy="give another --config"
            ) from error
    return settings(text, flags, os.environ, file=str(config) if config else "the settings")
