"""How Kafka is reached: addresses, TLS, SASL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from typing_extensions import Self

from steptrail.schemas.configuration.settings_names import ENV_PREFIX
from steptrail.schemas.configuration.settings_parsing import check_addresses, parse_options
from steptrail.schemas.redact import is_secret_name

_Protocol = Annotated[
    Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
_FILE: Final = "_file"


class KafkaSettings(BaseModel):
    """The settings of the connection to Kafka, and the librdkafka properties that they make."""

    model_config = ConfigDict(defer_build=True)  # only the subclass with all settings is ever built

    kafka: Annotated[str, AfterValidator(check_addresses)] = Field(
        "127.0.0.1:9092", description="Kafka's bootstrap servers: host:port, several with commas between."
    )
    kafka_security_protocol: _Protocol | None = Field(
        None, description="Security protocol of the connection to Kafka; librdkafka's default is plaintext."
    )
    kafka_sasl_mechanism: str | None = Field(
        None, description="SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, GSSAPI or OAUTHBEARER."
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user name.")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_sasl_password_file: str | None = Field(
        None, min_length=1, description="File that holds the SASL password, in place of the password itself."
    )
    kafka_ssl_ca_location: str | None = Field(
        None, description="File with the certificates of the authorities that Kafka's brokers are trusted by."
    )
    kafka_ssl_certificate_location: str | None = Field(
        None, description="File with the client's certificate, for TLS in both directions."
    )
    kafka_ssl_key_location: str | None = Field(None, description="File with the client's private key.")
    kafka_ssl_key_password: SecretStr | None = Field(
        None, description="Password of the client's private key."
    )
    kafka_ssl_key_password_file: str | None = Field(
        None,
        min_length=1,
        description="File that holds the private key's password, in place of the password.",
    )
    kafka_options: Annotated[dict[str, str], BeforeValidator(parse_options)] = Field(
        default_factory=dict,
        description="Any further librdkafka properties, which win over all others: a JSON object, or"
        " `name=value` with commas between.",
    )

    if TYPE_CHECKING:  # the subclass says which values there are

        def __init__(self, **values: Any) -> None: ...

    @model_validator(mode="after")
    def _passwords_in_one_place(self) -> Self:
        for name in _SECRETS:
            variable = ENV_PREFIX + name.upper()
            if (file := getattr(self, name + _FILE)) is None:
                continue
            if getattr(self, name) is not None:
                raise ValueError(f"{variable} and {variable}_FILE are both set: one of them is enough")
            try:
                _password_in(file)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is no text"
                raise ValueError(f"{variable}_FILE: {file} cannot be read: {why}") from None
        return self

    def kafka_config(self) -> dict[str, Any]:
        """The librdkafka properties that every client of ours shares; with secrets, not to be shown.

        Passwords in files are read at each call, so that a new client has the one that is there now.
        """
        config: dict[str, Any] = {"bootstrap.servers": self.kafka, "client.id": "steptrail"}
        for name in _PROPERTIES:
            value = getattr(self, name)
            if value is None and name in _SECRETS and (file := getattr(self, name + _FILE)) is not None:
                value = _password_in(file)
            if value is not None:
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                config[name.removeprefix("kafka_").replace("_", ".")] = plain
        return {**config, **self.kafka_options}

    def kafka_secrets(self) -> list[str]:
        """The secrets among the librdkafka properties."""
        return [str(value) for name, value in self.kafka_config().items() if is_secret_name(name)]


def _password_in(file: str) -> str:
    return Path(file).expanduser().read_text(encoding="utf-8").rstrip("\r\n")


_SECRETS: Final = ("kafka_sasl_password", "kafka_ssl_key_password")
_PROPERTIES: Final = tuple(
    name
    for name in KafkaSettings.model_fields
    if name.startswith("kafka_") and name != "kafka_options" and not name.endswith(_FILE)
)
