"""The SQL of `steptrail grants`: roles with their rights, users, bounds, row policies. No password is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from steptrail.projections.access.analyst import (
    LIMITS,
    MAX_STATEMENTS,
    literal,
    row_conditions,
    visible_relations,
)
from steptrail.projections.access.parts import Part, Right
from steptrail.schemas.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CLUSTER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Statement:
    """A statement, whom it is for, and what it is for."""

    role: str
    sql: str
    comment: str = ""


@dataclass(frozen=True)
class Granting:
    """How grants are written: steptrail's database, the start of the roles' and users' names, the cluster if any.

    Raises ConfigurationError for a prefix or cluster that is no name.
    """

    database: str = "steptrail"
    prefix: str = "steptrail"
    cluster: str | None = None

    def __post_init__(self) -> None:
        check_name("--prefix", self.prefix)
        if self.cluster is not None and not _CLUSTER.fullmatch(self.cluster):
            raise ConfigurationError(f"--cluster {self.cluster!r}: letters, digits, and _ . -")

    def part(self, part: Part) -> Iterator[Statement]:
        """The role and the user of a part."""
        role = f"{self.prefix}_{part.name}"
        yield Statement(role, self._create("ROLE", role), f"{part.name}: {part.is_what}")
        for right in part.rights:
            yield Statement(role, self._grant(right, role))
        yield self._user(role)

    def analyst(self, name: str | None = None, pipelines: Sequence[str] = ()) -> Iterator[Statement]:
        """The role and the user of people who only read; `pipelines` are those that they see, none: all.

        Raises ConfigurationError for pipelines without a name, and for a name that is none.
        """
        role = f"{self.prefix}_analyst"
        if name is not None:
            check_name("--analyst", name)
            role = f"{role}_{name}"
        if pipelines and name is None:
            raise ConfigurationError("--pipelines: whose? Name the analyst with --analyst NAME")
        what = "analyst: only reads, within bounds of time, memory and rows"
        what += "; some pipelines alone" if pipelines else ""
        yield Statement(role, self._create("ROLE", role), what)
        if pipelines:
            yield from self._limited(role, tuple(pipelines))
        else:
            yield Statement(role, self._grant(Right("SELECT", "*"), role))
        bounds = ", ".join(f"{name} = {most} MIN 1 MAX {most}" for name, most in LIMITS.items())
        yield Statement(
            role,
            f"CREATE SETTINGS PROFILE IF NOT EXISTS {role}{self._on_cluster} SETTINGS readonly = 2, "
            f"allow_ddl = 0 CONST, {bounds}, "
            f"max_concurrent_queries_for_user = {MAX_STATEMENTS} MIN 1 MAX {MAX_STATEMENTS} TO {role}",
            "Bounds of one statement, which it cannot widen",
        )
        yield self._user(role)

    def _limited(self, role: str, pipelines: tuple[str, ...]) -> Iterator[Statement]:
        limited = f"{self.prefix}_limited"
        conditions = row_conditions(self._quoted, pipelines)
        yield Statement(
            role, self._create("ROLE", limited), "Whoever sees some pipelines alone has this role, too"
        )
        yield Statement(role, f"GRANT{self._on_cluster} {limited} TO {role}")
        for position, table in enumerate(conditions):
            # First of all: from the first policy on, some ClickHouse show no row to those for whom there is none,
            # and a projector that does not see its rows writes them again.
            yield Statement(
                role,
                f"CREATE ROW POLICY IF NOT EXISTS {self.prefix}_others{self._on_cluster} ON {self._quoted}.{table} "
                f"USING 1 TO ALL EXCEPT {limited}",
                "" if position else "All others see every row. These come before the policies that hide rows",
            )
        for position, (table, condition) in enumerate(conditions.items()):
            yield Statement(
                role,
                f"CREATE ROW POLICY OR REPLACE {role}{self._on_cluster} ON {self._quoted}.{table} "
                f"USING {condition} TO {role}",
                "" if position else "Rows of these pipelines",
            )
        for position, name in enumerate(visible_relations()):
            yield Statement(
                role,
                self._grant(Right("SELECT", name), role),
                "" if position else "Tables whose rows can be told apart by pipeline, and views of them",
            )

    def _grant(self, right: Right, role: str) -> str:
        target = {
            "steptrail": f"{self._quoted}.{right.name}",
            "system": f"system.{right.name}",
            "database": f"{right.name}.*",
            "engine": right.name,
            "source": right.name,
        }[right.of]
        return f"GRANT{self._on_cluster} {right.privileges} ON {target} TO {role}"

    def _create(self, kind: str, name: str) -> str:
        return f"CREATE {kind} IF NOT EXISTS {name}{self._on_cluster}"

    def _user(self, role: str) -> Statement:
        placeholder = f"SHA256_OF_THE_PASSWORD_OF_{role.upper()}"
        return Statement(
            role,
            f"{self._create('USER', role)} IDENTIFIED WITH sha256_hash BY {literal(placeholder)} DEFAULT ROLE {role}",
            "ClickHouse refuses this until the password's hash is in its place",
        )

    @property
    def _quoted(self) -> str:
        escaped = self.database.replace("\\", "\\\\").replace("`", "\\`")
        return self.database if _NAME.fullmatch(self.database) else f"`{escaped}`"

    @property
    def _on_cluster(self) -> str:
        return "" if self.cluster is None else f" ON CLUSTER `{self.cluster}`"


def check_name(option: str, name: str) -> None:
    """Raise ConfigurationError unless this can be part of the name of a role without quotes."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{option} {name!r}: a name begins with a letter and has letters, digits and _, 64 at most"
        )
