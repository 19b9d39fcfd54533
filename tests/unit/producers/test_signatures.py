"""What editors and type checkers see of the arguments that are settings; mypy and pyright read this file, too."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from typing_extensions import assert_type

from steptrail.producers import ProcessingStepManager, StepEmitter, emit_only
from steptrail.producers.emit_only import EmitOnlyStorage
from steptrail.projections import open_storage
from steptrail.projections.storage import ProjectedStorage
from steptrail.schemas import ConfigurationError, Settings
from steptrail.schemas.configuration.settings_values import SettingsOverrides, SettingsValues

if TYPE_CHECKING:
    # Never run: each ignore is an error that a checker must find, since an unused one is an error, too.
    assert_type(emit_only(linger_ms=5, kafka="a:1", pipeline="p", spool="/x"), EmitOnlyStorage)
    assert_type(
        open_storage(linger_ms=5, clickhouse="http://a/b", kafka_options={"a": "b"}), ProjectedStorage
    )
    assert_type(Settings(pipeline="p", kafka_sasl_password="x").with_values(linger_ms=1.5), Settings)
    StepEmitter(kafka_security_protocol="sasl_ssl", exit_flush_s=0)
    emit_only(linger="5")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    emit_only(linger_ms="5")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    open_storage(kafka_adress="a:1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    open_storage(kafka=9092)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    StepEmitter(kafka_security_protocol="tls")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Settings().with_values(pipline="p")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]

    manager = ProcessingStepManager(emit_only(), skip_on=(KeyError, OSError))

    @manager.step(lambda doc, *_: doc)
    def typed(doc: str, pages: int) -> list[str]:
        return [doc] * pages

    assert_type(typed("d", 1), list[str])
    typed("d", "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_arguments_are_those_of_settings() -> None:
    """The typed names are the fields of Settings: who adds a setting adds it in settings_values.py."""
    assert list(get_type_hints(SettingsOverrides)) == [
        name for name in Settings.model_fields if name != "pipeline"
    ]
    assert get_type_hints(SettingsValues).keys() == Settings.model_fields.keys()


@pytest.mark.parametrize("function", [emit_only, open_storage, StepEmitter, EmitOnlyStorage])
def test_own_arguments_are_named(function: Any) -> None:
    """Whatever opens a storage has the same arguments, each by its name."""
    parameters = inspect.signature(function).parameters
    assert list(parameters) == ["settings", "pipeline", "redact", "spool", "overrides"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("kafka_adress", "kafka"),
        ("lingerms", "linger_ms"),
        ("piplines", "pipeline"),
        ("password", "kafka_sasl_password"),
    ],
)
@pytest.mark.parametrize("function", [emit_only, open_storage, Settings])
def test_a_wrong_name_is_refused_with_near_ones(function: Any, given: str, meant: str) -> None:
    """A name that is no setting is told with those that it may be meant for."""
    with pytest.raises(
        ConfigurationError, match=rf"{given}: there is no such setting; did you mean .*\b{meant}\b.*\?"
    ):
        function(**{given: "x"})


def test_a_name_that_is_like_no_other_is_refused_alone() -> None:
    """Nothing is suggested where nothing is near."""
    with pytest.raises(ConfigurationError, match=r"qqqq: there is no such setting$"):
        emit_only(qqqq=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
