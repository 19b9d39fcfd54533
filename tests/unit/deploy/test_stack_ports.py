from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from steptrail.deploy.stack.ports import HOST, choose_ports, is_free, stable_ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something else listens on."""
    listener = socket.socket()
    listener.bind((HOST, 0))
    listener.listen()
    yield listener.getsockname()[1]
    listener.close()


def test_a_taken_port_gives_another(taken: int) -> None:
    """A port with a listener is not chosen, and every name gets one of its own."""
    ports = choose_ports({"a": taken, "b": taken, "c": 0})
    assert taken not in ports.values()
    assert len(set(ports.values())) == 3
    assert all(map(is_free, ports.values()))
    assert not is_free(taken)


def test_ports_stay_while_they_are_free(tmp_path: Path, taken: int) -> None:
    """The next start takes the remembered ports; one that was taken meanwhile is replaced and remembered."""
    file = tmp_path / "ports.json"
    first = stable_ports(file, preferred={"a": 0, "b": 0})
    assert stable_ports(file, preferred={"a": 0, "b": 0}) == first
    file.write_text(json.dumps({**first, "b": taken}))
    second = stable_ports(file, preferred={"a": 0, "b": 0})
    assert second["a"] == first["a"]
    assert second["b"] != taken
    assert json.loads(file.read_text()) == second


@pytest.mark.parametrize("damaged", ["", "[1]", "nonsense", '{"a": "x", "b": -1}', '{"a": 99999999}'])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, damaged: str) -> None:
    """Whatever the file holds, ports are chosen."""
    file = tmp_path / "ports.json"
    file.write_text(damaged)
    assert set(stable_ports(file, preferred={"a": 0, "b": 0})) == {"a", "b"}
