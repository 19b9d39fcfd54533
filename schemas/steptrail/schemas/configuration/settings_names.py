"""Variables that start with STEPTRAIL_ and mean nothing: told once, or refused where they may be a missing address."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Final

from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.near_names import near_names

_logger = logging.getLogger("steptrail.settings")
_told: set[str] = set()

_PREFIX: Final = "STEPTRAIL_"
_OTHER_WORDS: Final = {
    "STEPTRAIL_KAFKA": re.compile(
        r"(KAFKA_)?(BROKERS?|BOOTSTRAP(_SERVERS?)?|SERVERS?|HOSTS?|URLS?|ADDRESS(ES)?)"
    ),
    "STEPTRAIL_CLICKHOUSE": re.compile(r"CLICKHOUSE_?(URL|URI|DSN|HOST|SERVER|ADDRESS)"),
}
"""What other programs call the addresses."""
_OF_KUBERNETES: Final = re.compile(r"_SERVICE_(HOST|PORT(_.*)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?$")
"""What Kubernetes sets for a service whose name begins with `steptrail`."""


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
    rest = name[len(_PREFIX) :].upper()
    for address, others in _OTHER_WORDS.items():
        if others.fullmatch(rest):
            return [address]
    return [_PREFIX + each for each in near_names(rest, [each[len(_PREFIX) :] for each in known])]
