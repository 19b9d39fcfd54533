"""How ClickHouse is reached: one server, or the servers of a cluster by shard and replica."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from typing_extensions import Self

from steptrail.schemas.configuration.clickhouse_target import ClickHouseTarget, parse_clickhouse_url
from steptrail.schemas.configuration.kafka_settings import KafkaSettings

Layout: TypeAlias = Literal["single", "replicated", "sharded", "sharded_replicated"]
"""What the tables are made for: one server, several replicas of it, several shards, shards of replicas each."""

SHARDED: Final = ("sharded", "sharded_replicated")
REPLICATED: Final = ("replicated", "sharded_replicated")
_SERVERS: Final = "STEPTRAIL_CLICKHOUSE_SERVERS"


def _check_clickhouse(value: SecretStr) -> SecretStr:
    parse_clickhouse_url(value.get_secret_value())
    return value


def _check_servers(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        for shard in _urls(value):
            for url in shard:
                parse_clickhouse_url(url)
    return value


class ClickHouseSettings(KafkaSettings):
    """The settings of the connections to ClickHouse."""

    clickhouse: Annotated[SecretStr, AfterValidator(_check_clickhouse)] = Field(
        SecretStr("http://default@127.0.0.1:8123/steptrail"),
        description="ClickHouse's URL: http or https, user and password (percent-encoded) if any, host, port,"
        " database.",
    )
    clickhouse_user: str | None = Field(None, description="ClickHouse user; wins over the URL's.")
    clickhouse_password: SecretStr | None = Field(
        None, description="ClickHouse password; wins over the URL's."
    )
    clickhouse_ca: str | None = Field(
        None, description="File with the certificates of the authorities that ClickHouse is trusted by."
    )
    clickhouse_verify: bool = Field(
        True, description="Whether ClickHouse's certificate is checked. Leave it on."
    )
    clickhouse_layout: Layout = Field(
        "single",
        description="What the tables are made for: `single` server, `replicated`, `sharded`, or"
        " `sharded_replicated`. Those with replicas are experimental, and so is ClickHouse Cloud, with `single`.",
    )
    clickhouse_servers: Annotated[SecretStr, AfterValidator(_check_servers)] | None = Field(
        None,
        description="URLs of the servers that the projector writes to, where the layout is not `single`: shards with"
        " commas between them, replicas of a shard with vertical bars. The order of the shards is their number.",
    )
    clickhouse_cluster: str = Field(
        "steptrail",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="Name of the cluster in ClickHouse's configuration that Distributed tables read from.",
    )

    @model_validator(mode="after")
    def _servers_fit_the_layout(self) -> Self:
        layout, servers = self.clickhouse_layout, self.clickhouse_servers
        if layout == "single":
            if servers is not None:
                raise ValueError(
                    f"{_SERVERS} is set, but STEPTRAIL_CLICKHOUSE_LAYOUT is single, which writes to"
                    " STEPTRAIL_CLICKHOUSE: set the layout, or unset the servers"
                )
            return self
        if servers is None:
            raise ValueError(f"STEPTRAIL_CLICKHOUSE_LAYOUT is {layout}: {_SERVERS} must name the servers")
        shards = _urls(servers)
        if layout not in SHARDED and len(shards) > 1:
            raise ValueError(f"{_SERVERS} names {len(shards)} shards, the layout {layout} has one")
        least = 2 if layout in REPLICATED else 1
        for number, replicas in enumerate(shards):
            if len(replicas) < least or (len(replicas) > 1 and layout not in REPLICATED):
                wanted = "at least 2" if least == 2 else "1"
                raise ValueError(
                    f"{_SERVERS} names {len(replicas)} replicas of shard {number}, the layout {layout} has {wanted}"
                )
        targets = [target for shard in self.clickhouse_shards() for target in shard]
        places = [(target.host, target.port) for target in targets]
        if repeated := next((place for place in places if places.count(place) > 1), None):
            raise ValueError(f"{_SERVERS} names {repeated[0]}:{repeated[1]} more than once")
        databases = {target.database for target in targets}
        if len(databases) > 1:
            raise ValueError(
                f"{_SERVERS} names several databases, {', '.join(sorted(databases))}: all servers have the same one"
            )
        if layout in SHARDED and self.clickhouse_target().database in databases:
            raise ValueError(
                f"{_SERVERS} and STEPTRAIL_CLICKHOUSE name the same database, {databases.pop()}: in a sharded layout"
                " the shards' tables and those that read from all of them are in different ones, such as"
                " steptrail_local and steptrail"
            )
        return self

    def clickhouse_target(self) -> ClickHouseTarget:
        """ClickHouse's address in parts, with user and password."""
        return self._target(self.clickhouse.get_secret_value())

    def clickhouse_shards(self) -> list[list[ClickHouseTarget]]:
        """The servers that are written to, by shard and replica; one of each in the layout `single`."""
        if self.clickhouse_servers is None:
            return [[self.clickhouse_target()]]
        return [[self._target(url) for url in replicas] for replicas in _urls(self.clickhouse_servers)]

    def clickhouse_secrets(self) -> list[str]:
        """The passwords of these connections, as the URLs spell them and as they are."""
        urls = [self.clickhouse.get_secret_value()]
        if self.clickhouse_servers is not None:
            urls += [url for shard in _urls(self.clickhouse_servers) for url in shard]
        spelled = [urlsplit(url).password or "" for url in urls]
        return [*spelled, *(self._target(url).password for url in urls)]

    def _target(self, url: str) -> ClickHouseTarget:
        password = self.clickhouse_password
        return parse_clickhouse_url(
            url,
            username=self.clickhouse_user,
            password=None if password is None else password.get_secret_value(),
            ca=self.clickhouse_ca,
            verify=self.clickhouse_verify,
        )


def _urls(servers: SecretStr) -> list[list[str]]:
    shards = servers.get_secret_value().split(",")
    return [[url.strip() for url in shard.split("|")] for shard in shards]
