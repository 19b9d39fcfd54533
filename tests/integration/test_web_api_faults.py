"""The HTTP API without a store: it says so, within its patience."""

from __future__ import annotations

import re
import socket

from steptrail.schemas.configuration.settings import Settings
from support.web import serving

ADDRESSES = (
    "/overview",
    "/failing",
    "/document?doc_id=x",
    "/search?q=xx",
    "/losses",
    "/throughput",
    "/live?times=1",
)


def test_a_store_that_is_away_is_said_to_be(topics_only: Settings) -> None:
    """503 with where it should be; what does not need it has an answer, which says what is not known."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        with serving(topics_only.with_values(clickhouse=away)) as api:
            for address in ADDRESSES[:-1]:
                reply = api.send("GET", address, None)
                assert reply.status == 503, address
                assert reply.json["error"] == "store_unavailable"
            assert b"event: problem" in api.send("GET", ADDRESSES[-1], None).body
            assert api.get("/health").json["status"] == "UNKNOWN"
            freshness = api.get("/freshness").json
            assert freshness["as_of"] is None
            assert freshness["freshness_problem"]


def test_a_store_that_hangs_is_said_to_be_away(topics_only: Settings) -> None:
    """It takes connections and never answers: 503 after the patience, whatever its own time-outs are."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(50)
        hangs = f"http://127.0.0.1:{mute.getsockname()[1]}/x"
        with serving(topics_only.with_values(clickhouse=hangs)) as api:
            for address in ADDRESSES[1:4]:
                reply = api.send("GET", address, None)
                assert reply.status == 503
                assert reply.json["error"] == "store_unavailable"
                assert re.search(
                    "did not answer within 1.8 s|no answer within the time", reply.json["detail"]
                )
