"""ClickHouse's own block compression: frames as clients write and read them."""

from __future__ import annotations

import random

import pytest

from steptrail.deploy.engine.blocks import BlockDecoder, BlockEncoder
from steptrail.deploy.engine.errors import EngineError

# What clickhouse-go 2.51 (ch-go's compress.Writer) makes of b"steptrail " * 8 by each method.
FROM_GO = {
    "LZ4": (
        "b270bfe7980261005ab0ec2b7c4889ba822900000050000000af73746570747261696c200a0021003c00e06169"
        "6c2073746570747261696c20"
    ),
    "ZSTD": (
        "4cd84787dbdff6872dec6b2451f4aec990270000005000000028b52ffd04008d00005073746570747261696c20"
        "01540a0328d3b7796973"
    ),
    "NONE": (
        "7d97c9f0742cd5b0f9802f498fd341a602590000005000000073746570747261696c2073746570747261696c20"
        "73746570747261696c2073746570747261696c2073746570747261696c2073746570747261696c207374657074"
        "7261696c2073746570747261696c20"
    ),
}
TEXT = b"steptrail " * 8


@pytest.mark.parametrize("method", FROM_GO)
def test_frames_of_another_hand(method: str) -> None:
    """Frames that the Go client wrote are read, checksum and all."""
    decoder = BlockDecoder()
    assert decoder.decode(bytes.fromhex(FROM_GO[method])) == TEXT
    decoder.finish()


@pytest.mark.parametrize("method", ["LZ4", "lz4hc", "ZSTD", "NONE"])
@pytest.mark.parametrize("size", [0, 1, 15, 1000, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_round_trip(method: str, size: int) -> None:
    """What is encoded in pieces is decoded from other pieces."""
    data = random.Random(size).randbytes(size // 2) + b"x" * (size - size // 2)
    encoder = BlockEncoder(method)
    frames = encoder.encode(data[: size // 3]) + encoder.encode(data[size // 3 :]) + encoder.finish()
    decoder = BlockDecoder()
    step = max(1, len(frames) // 7)
    assert b"".join(decoder.decode(frames[i : i + step]) for i in range(0, len(frames), step)) == data
    decoder.finish()


def test_damage() -> None:
    """Any changed byte is found; without the check of sums what was changed may come through, but never raises else."""
    frame = BlockEncoder().encode(TEXT)
    for position in range(len(frame)):
        damaged = bytearray(frame)
        damaged[position] ^= 0x10
        decoder = BlockDecoder()
        with pytest.raises(EngineError):  # noqa: PT012 - where it is noticed depends on the byte
            decoder.decode(bytes(damaged))
            decoder.finish()
        unchecked = BlockDecoder(checked=False)
        try:
            unchecked.decode(bytes(damaged))
            unchecked.finish()
        except EngineError:
            pass


@pytest.mark.parametrize("kept", [1, 16, 24, 25, 30])
def test_cut_off(kept: int) -> None:
    """A body that ends inside a frame is refused."""
    decoder = BlockDecoder()
    assert decoder.decode(BlockEncoder().encode(TEXT)[:kept]) == b""
    with pytest.raises(EngineError) as caught:
        decoder.finish()
    assert caught.value.code == 271


@pytest.mark.parametrize("sizes", [(8, 10), (1 << 30, 10), (100, (256 << 20) + 1)])
def test_sizes_that_cannot_be(sizes: tuple[int, int]) -> None:
    """A frame that says too much is refused before anything is allocated."""
    head = bytes(16) + b"\x82" + sizes[0].to_bytes(4, "little") + sizes[1].to_bytes(4, "little")
    with pytest.raises(EngineError) as caught:
        BlockDecoder().decode(head + b"x" * 10)
    assert caught.value.code == 271


def test_unknown_method() -> None:
    """A method that answers cannot have is refused."""
    with pytest.raises(EngineError) as caught:
        BlockEncoder("Gorilla")
    assert caught.value.code == 36
