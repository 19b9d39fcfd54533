import pytest

from steptrail.schemas.wire.partitioning import message_key, murmur2, partition_for


@pytest.mark.parametrize(
    ("data", "java"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_javas(data: bytes, java: int) -> None:
    """The values that Kafka's own tests state for its Java clients."""
    assert murmur2(data) == java % 2**32


def test_a_key_has_one_partition() -> None:
    """Keys spread over all partitions, none outside, and one partition takes all."""
    keys = [message_key("default", f"doc-{number}") for number in range(500)]
    assert {partition_for(key, 6) for key in keys} == set(range(6))
    assert {partition_for(key, 1) for key in keys} == {0}
    with pytest.raises(ValueError, match="at least 1"):
        partition_for(b"a", 0)


def test_the_key_is_pipeline_and_document() -> None:
    """Documents of the same name in two pipelines are two keys; text is UTF-8."""
    assert message_key("invoices", "größe") == "invoices/größe".encode()
