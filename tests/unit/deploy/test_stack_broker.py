from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from steptrail.deploy.stack.broker import BrokerFiles, answers, server_properties, write_config
from steptrail.deploy.stack.folder import StackFolder
from steptrail.deploy.stack.parts import Addresses, parts_environ

AT = Addresses(kafka_port=1, controller_port=2, clickhouse_port=3, metrics_port=4, password="pass word")


def test_the_broker_listens_on_loopback_alone() -> None:
    """Every listener has an address, 127.0.0.1, and topics never appear by accident."""
    properties = server_properties(Path("/data"), port=1111, controller_port=2222)
    listeners = properties["listeners"].split(",") + properties["advertised.listeners"].split(",")
    assert all("://127.0.0.1:" in listener for listener in listeners)
    assert properties["auto.create.topics.enable"] == "false"
    assert int(properties["message.max.bytes"]) > 2 * 1024 * 1024


def test_any_folder_name_survives_the_properties_file(tmp_path: Path) -> None:
    """Java reads the file as Latin-1 with escapes: what it would read is the folder's name."""
    files = BrokerFiles(tmp_path / "dé\\já vu 😀")
    write_config(files, port=1, controller_port=2)
    (line,) = [each for each in files.config.read_bytes().splitlines() if each.startswith(b"log.dirs=")]
    value = line.partition(b"=")[2].decode("ascii")
    units = value.encode().decode("unicode_escape").encode("utf-16-be", "surrogatepass").decode("utf-16-be")
    assert units == str(files.data)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x06\0\0\0\x01\0\x23"])
def test_only_a_broker_answers_like_a_broker(reply: bytes) -> None:
    """Silence, another protocol's words and a Kafka error are all no answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not answers(port, timeout=5)
        thread.join()
    assert not answers(port)


def test_parts_speak_to_this_stack_alone() -> None:
    """Settings of another Kafka or ClickHouse do not reach the parts; the rest does, and nothing expires."""
    base = {"PATH": "/bin", "STEPTRAIL_KAFKA_SASL_PASSWORD": "x", "STEPTRAIL_CLICKHOUSE_USER": "y"}
    environ = parts_environ(StackFolder(Path("/stack")), AT, base | {"STEPTRAIL_PIPELINE": "p"})
    assert environ == {
        "PATH": "/bin",
        "STEPTRAIL_PIPELINE": "p",
        "STEPTRAIL_KAFKA": "127.0.0.1:1",
        "STEPTRAIL_CLICKHOUSE": AT.clickhouse,
        "STEPTRAIL_METRICS_PORT": "4",
        "STEPTRAIL_DIR": "/stack",
        "STEPTRAIL_RETENTION_MS": "-1",
        "STEPTRAIL_DLQ_RETENTION_MS": "-1",
    }
