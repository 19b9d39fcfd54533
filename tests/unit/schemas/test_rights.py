"""The rights of each part, in every form in which they are printed."""

from __future__ import annotations

import shlex

import pytest
import yaml
from confluent_kafka import KafkaError

from steptrail.schemas.access.acl_forms import as_commands, as_yaml
from steptrail.schemas.access.denials import denial, error_said, principal
from steptrail.schemas.access.rights import ROLES, Right, rights
from steptrail.schemas.topic_specs import Topics

RIGHTS = rights(Topics("acme"))
PRINCIPALS = {role: f"User:acme-{role}" for role in ROLES}
SCRAM = {"security.protocol": "SASL_SSL", "sasl.username": "ocr", "sasl.password": "sesame"}


def test_nobody_has_a_right_outside_of_the_prefix() -> None:
    """Every topic and group is one of ours; none is a wildcard, and only the admin's are by prefix."""
    for role, granted in RIGHTS.items():
        for right in granted:
            assert right.name.startswith("acme")
            assert right.prefixed is (right.name == "acme.")
            assert not right.prefixed or role == "admin"


def test_no_right_includes_another_of_the_same_role() -> None:
    """Read and Write include Describe, AlterConfigs includes DescribeConfigs: these are not granted twice."""
    including = {"Describe": {"Read", "Write"}, "DescribeConfigs": {"AlterConfigs"}}
    for granted in RIGHTS.values():
        assert len(set(granted)) == len(granted)
        for right in granted:
            more = including.get(right.operation, set())
            assert not any(each.name == right.name and each.operation in more for each in granted)


def test_commands_grant_exactly_the_rights() -> None:
    """What kafka-acls is told, read back word by word, is what each role has."""
    found: set[tuple[str, str, str, str, bool]] = set()
    for line in as_commands(RIGHTS, PRINCIPALS, "a:1,b:2"):
        if line.startswith("#"):
            continue
        words = shlex.split(line)
        assert words[:6] == [
            "kafka-acls",
            "--bootstrap-server",
            "a:1,b:2",
            "--command-config",
            "admin.properties",
            "--add",
        ]
        options = list(zip(words[6::2], words[7::2], strict=True))
        [who], [operation] = (
            [v for o, v in options if o == name] for name in ("--allow-principal", "--operation")
        )
        prefixed = ("--resource-pattern-type", "prefixed") in options
        found |= {
            (who, operation, option[2:], value, prefixed)
            for option, value in options
            if option in ("--topic", "--group", "--transactional-id")
        }
    assert found == {
        (PRINCIPALS[role], right.operation, right.kind, right.name, right.prefixed)
        for role, granted in RIGHTS.items()
        for right in granted
    }


def test_yaml_grants_exactly_the_rights() -> None:
    """A KafkaUser for each role, with an entry for each right."""
    users = list(yaml.safe_load_all("\n".join(as_yaml(RIGHTS, PRINCIPALS, "production"))))
    assert [user["metadata"]["name"] for user in users] == [f"acme-{role}" for role in ROLES]
    for user, granted in zip(users, RIGHTS.values(), strict=True):
        assert user["metadata"]["labels"]["strimzi.io/cluster"] == "production"
        entries = user["spec"]["authorization"]["acls"]
        assert [
            (
                entry["resource"]["type"],
                entry["resource"]["name"],
                entry["resource"]["patternType"],
                entry["operations"],
            )
            for entry in entries
        ] == [
            (
                {"transactional-id": "transactionalId"}.get(right.kind, right.kind),
                right.name,
                "prefix" if right.prefixed else "literal",
                [right.operation],
            )
            for right in granted
        ]


def test_a_denial_names_who_what_and_the_remedy() -> None:
    """Of what was attempted it is the kind of resource that the error is about."""
    needed = Right("Read", "topic", "acme.steps.v1"), Right("Read", "group", "acme-projector")
    said = denial(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), SCRAM, *needed)
    assert said == (
        "User:ocr lacks the right Read on the group acme-projector: "
        "`steptrail acls` prints the rights that each part needs"
    )
    assert denial(KafkaError(KafkaError._TIMED_OUT), SCRAM, *needed) is None


def test_what_is_said_of_other_errors_holds_no_secret() -> None:
    """librdkafka quotes what it was given."""
    error = KafkaError(KafkaError._INVALID_ARG, "bad value sesame")
    assert "sesame" not in error_said(error, SCRAM)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SCRAM, "User:ocr"),
        ({}, "User:ANONYMOUS"),
        ({"security.protocol": "ssl"}, "User:ANONYMOUS"),
        (
            {"security.protocol": "ssl", "ssl.certificate.location": "/etc/ocr.crt"},
            "the principal of the certificate /etc/ocr.crt",
        ),
        ({"security.protocol": "sasl_ssl"}, "the principal of this client's token or ticket"),
    ],
)
def test_the_principal_is_as_the_brokers_know_it(config: dict[str, str], expected: str) -> None:
    """As far as the client's settings tell."""
    assert principal(config) == expected
