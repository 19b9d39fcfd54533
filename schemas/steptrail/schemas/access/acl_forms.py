"""Rights as `kafka-acls` commands and as YAML: what an administrator applies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from shlex import quote
from typing import Final

from steptrail.schemas.access.rights import Right

_PRINCIPAL: Final = "User:"


def as_commands(
    roles: Mapping[str, Sequence[Right]],
    principals: Mapping[str, str],
    bootstrap: str,
    *,
    config_file: str = "admin.properties",
) -> Iterator[str]:
    """Lines of a shell script: `kafka-acls --add` for each role of `principals`, a command for each kind of entry."""
    start = f"kafka-acls --bootstrap-server {quote(bootstrap)} --command-config {quote(config_file)} --add"
    for role, principal in principals.items():
        yield f"# {role}: {principal}"
        for (prefixed, operation), group in groupby(sorted(roles[role], key=_order), key=_order):
            resources = " ".join(f"--{right.kind} {quote(right.name)}" for right in group)
            pattern = "--resource-pattern-type prefixed " if prefixed else ""
            who = f"--allow-principal {quote(principal)}"
            yield f"{start} {who} --operation {operation} {pattern}{resources}"


def as_yaml(
    roles: Mapping[str, Sequence[Right]], principals: Mapping[str, str], cluster: str = "my-cluster"
) -> Iterator[str]:
    """Lines of YAML: a `KafkaUser` of the Strimzi operator for each role of `principals`."""
    for role, principal in principals.items():
        yield "---"
        yield "apiVersion: kafka.strimzi.io/v1"
        yield "kind: KafkaUser"
        yield "metadata:"
        yield f"  name: {json.dumps(principal.removeprefix(_PRINCIPAL))}"
        yield "  labels:"
        yield f"    strimzi.io/cluster: {json.dumps(cluster)}"
        yield f"    app.kubernetes.io/component: {json.dumps(role)}"
        yield "spec:"
        yield "  authorization:"
        yield "    type: simple"
        yield "    acls:"
        for right in roles[role]:
            yield f"      - resource: # {right.why}"
            yield f"          type: {_STRIMZI.get(right.kind, right.kind)}"
            yield f"          name: {json.dumps(right.name)}"
            yield f"          patternType: {'prefix' if right.prefixed else 'literal'}"
            yield f"        operations: [{right.operation}]"


_STRIMZI: Final = {"transactional-id": "transactionalId"}


def _order(right: Right) -> tuple[bool, str]:
    return right.prefixed, right.operation
