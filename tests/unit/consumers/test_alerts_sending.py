"""One attempt takes its time-out at most, all in all; and a refusal for size is answered by less text."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from steptrail.consumers.alerts.delivery.dialing import Address, addresses_of, connected
from steptrail.consumers.alerts.delivery.http_post import post
from steptrail.consumers.alerts.delivery.target import ALERTMANAGER, WEBHOOK, Target
from steptrail.consumers.alerts.delivery.templates import Template, custom, discord, slack, standard
from steptrail.consumers.alerts.delivery.worker import Outcome, Worker
from steptrail.consumers.alerts.model.alert import Alert
from steptrail.consumers.alerts.model.notification import Notification, notification
from steptrail.consumers.health.rules import HealthStatus
from steptrail.consumers.runtime.backoff import BackoffPolicy
from steptrail.consumers.runtime.deadline import Deadline
from support.listener import Listener, listening

NOW = 1_790_000_000.0


def an_outage(
    number: int, sentence: str = "33 of the last 157 executions (21 %) failed in 15 s"
) -> Notification:
    alerts = [
        Alert(f"id{n}", f"id{n}-1", "invoices", f"process_section_{n:02d}", HealthStatus.CRITICAL, "errors",
              sentence, NOW, NOW)
        for n in range(number)
    ]  # fmt: skip
    return notification("chat", "all", alerts, NOW)


def told(target: Target, what: Notification) -> Outcome:
    outcomes: queue.Queue[Outcome] = queue.Queue()
    worker = Worker(target, outcomes.put)
    worker.submit(what)
    try:
        return outcomes.get(timeout=300)
    finally:
        worker.stop()
        worker.join(10)


def target_of(listener: Listener, template: Template | None = None, **more: Any) -> Target:
    kind = ALERTMANAGER if template is None else WEBHOOK
    return Target(
        "chat",
        kind,
        listener.url,
        template=template or standard(),
        timeout=20,
        attempts=2,
        backoff=BackoffPolicy(0.01, 2.0, 0.01),
        **more,
    )


# --- refusals for size


def refuses_over(listener: Listener, most: int, status: int) -> None:
    listener.behave = lambda number: status if len(json.dumps(listener.got[number].body)) > most else 200


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    "template",
    [custom('{"content": "**$title**\\n$text"}'), slack(), discord(), standard(), None],
    ids=["custom", "slack", "discord", "standard", "alertmanager"],
)
def test_a_refusal_for_size_is_answered_by_less(template: Template | None, status: int) -> None:
    """Sixty alerts at a receiver that takes 1,500 bytes: it is told in the end, in its first round of attempts."""
    with listening(None) as receiver:
        refuses_over(receiver, 1500, status)
        outcome = told(target_of(receiver, template), an_outage(60, "failed " * 40))
        sizes = [len(json.dumps(got.body)) for got in receiver.got]
    assert outcome.delivered, outcome.said
    assert sizes[-1] <= 1500
    assert len(sizes) < 100
    if template is not None and template.splits:
        heard = {
            each["id"] for got in receiver.got for each in got.alerts if len(json.dumps(got.body)) <= 1500
        }
        assert len(heard) == 60
        ids = {got.headers["webhook-id"]: json.dumps(got.body["data"]["alerts"]) for got in receiver.got}
        assert len(ids) == len(set(ids.values())), "one id, one content"


def test_twenty_alerts_in_a_discord_body_by_hand_are_told() -> None:
    """2,000 characters in `content`, else 400: what docs once recommended."""
    with listening(None) as receiver:
        receiver.behave = lambda number: 204 if len(receiver.got[number].body["content"]) <= 2000 else 400
        outcome = told(
            target_of(receiver, custom('{"content": "**$title**\\n$text"}')), an_outage(20, "x" * 90)
        )
        assert outcome.delivered
        assert len(receiver.got) == 2
        assert "invoices/process_section_00" in receiver.got[1].body["content"]


def test_what_is_refused_for_another_reason_is_not_tried_for_ever() -> None:
    """A receiver that answers 400 to everything is dead after a handful of requests, each shorter than the last."""
    with listening(None) as receiver:
        receiver.behave = lambda _: 400
        outcome = told(target_of(receiver, slack()), an_outage(60))
        sizes = [len(json.dumps(got.body)) for got in receiver.got]
    assert not outcome.delivered
    assert "answered 400" in outcome.said
    assert len(sizes) <= 7
    assert sizes == sorted(sizes, reverse=True)


def test_one_alert_that_is_refused_keeps_the_others_from_nobody() -> None:
    """A program that refuses whatever has one of forty in it hears of the others, and is not asked a thousand times."""
    with listening(None) as receiver:
        receiver.behave = lambda number: (
            400 if any(each["id"] == "id7" for each in receiver.got[number].alerts) else 200
        )
        outcome = told(target_of(receiver, standard()), an_outage(40))
        taken = [got for got in receiver.got if all(each["id"] != "id7" for each in got.alerts)]
    assert not outcome.delivered
    assert {each["id"] for got in taken for each in got.alerts} == {f"id{n}" for n in range(40) if n != 7}
    assert len(receiver.got) < 100


def test_who_hangs_up_before_all_was_sent_has_answered() -> None:
    """A proxy that answers 413 by the length alone, and closes: that is the answer, not a broken connection."""
    with listener_that(lambda connection: _refuse_unread(connection)) as port:
        target = Target("p", WEBHOOK, f"http://127.0.0.1:{port}/", timeout=30)
        answer = post(target, "/", {}, b"x" * 20_000_000)
    assert answer.status == 413
    assert answer.too_large


def _refuse_unread(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 20):  # as nginx does for a while: else the answer is lost with the connection
        pass


# --- the time-out is for everything. Each of these would hang for ever if it were not.


@contextmanager
def listener_that(does: Any) -> Iterator[int]:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            while True:
                connection, _ = server.accept()
                with closing(connection):
                    does(connection)
        except OSError:
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def _drip(connection: socket.socket, beginning: bytes) -> None:
    """A byte now and then, until the other side has had enough."""
    connection.recv(65536)
    connection.sendall(beginning)
    connection.settimeout(0.01)
    while True:
        connection.sendall(b"0")
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            pass


def _say_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_does_not_answer_is_cut_off(scheme: str) -> None:
    """Nothing at all, in plain or instead of TLS."""
    with listener_that(_say_nothing) as port:
        answer = post(Target("t", WEBHOOK, f"{scheme}://127.0.0.1:{port}/", timeout=0.3), "/", {}, b"{}")
    assert answer.status is None
    assert "no answer within 0.3 s" in answer.said


@pytest.mark.parametrize(("beginning", "status"), [(b"HTTP/1.1 2", None), (HEADERS, 200)])
def test_who_answers_a_byte_at_a_time_is_cut_off(beginning: bytes, status: int | None) -> None:
    """Before the status there is no answer; after it the target has taken it, and is not sent it again."""
    with listener_that(lambda connection: _drip(connection, beginning)) as port:
        answer = post(Target("t", WEBHOOK, f"http://127.0.0.1:{port}/", timeout=0.3), "/", {}, b"{}")
    assert answer.status == status


def test_a_body_that_nobody_reads_is_cut_off() -> None:
    """Sending counts, too."""
    held = threading.Event()
    with listener_that(lambda connection: held.wait(60)) as port:
        answer = post(
            Target("t", WEBHOOK, f"http://127.0.0.1:{port}/", timeout=0.3), "/", {}, b"x" * 50_000_000
        )
        held.set()
    assert "no answer within 0.3 s" in answer.said


def test_looking_up_the_name_counts() -> None:
    """A resolver that does not answer."""
    held = threading.Event()

    def resolve(host: str, port: int) -> list[Address]:
        held.wait(60)
        return []

    answer = post(
        Target("t", WEBHOOK, "http://nowhere.example/", timeout=0.2), "/", {}, b"{}", resolve=resolve
    )
    assert not held.is_set()
    held.set()
    assert "no answer within 0.2 s" in answer.said


def test_all_addresses_share_the_time() -> None:
    """Five addresses that do not answer get a fifth of the time each, not all of it each; every one is tried."""
    now = [0.0]
    given: list[float] = []

    def connect(address: Address, timeout: float) -> socket.socket:
        given.append(timeout)
        now[0] += timeout
        raise TimeoutError("timed out")

    where = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"127.0.0.{n}", 9)) for n in range(1, 6)]
    with pytest.raises(OSError, match="timed out"):
        connected(where, Deadline(2.0, lambda: now[0]), connect)
    assert len(given) == 5
    assert sum(given) == pytest.approx(2.0)


def test_an_address_that_refuses_leaves_its_time_to_the_next() -> None:
    """The first of two refuses at once; the second, which listens, is told."""
    with listening(None) as receiver:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        def resolve(host: str, _: int) -> list[Address]:
            return [*addresses_of("127.0.0.1", port), *addresses_of("127.0.0.1", receiver.port)]

        target = Target("t", WEBHOOK, "http://two.example/hook", timeout=20)
        answer = post(target, "/hook", {}, b"{}", resolve=resolve)
    assert answer.delivered
    assert receiver.got[0].headers["host"] == "two.example"


def test_tls_still_works_and_still_verifies(tmp_path: Path) -> None:
    """A certificate of one's own by `ca`; another is refused."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                request = b""
                while not request.endswith(b"{}"):
                    request += secure.recv(65536)
                secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        except ssl.SSLError:
            pass

    with listener_that(serve) as port:
        url = f"https://localhost:{port}/"
        trusting = post(Target("t", WEBHOOK, url, ca=str(certificate), timeout=30), "/", {}, b"{}")
        strict = post(Target("t", WEBHOOK, url, timeout=30), "/", {}, b"{}")
    assert trusting.status == 204
    assert strict.status is None
    assert "CERTIFICATE_VERIFY_FAILED" in strict.said
