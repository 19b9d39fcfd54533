"""Content-Encoding of the engine server, both ways."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard

from steptrail.deploy.engine.encoding import Decoder, choose, encoder
from steptrail.deploy.engine.errors import EngineError

DATA = b"".join(b"line %d\n" % n for n in range(20_000))
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def unpack(name: str, pieces: list[bytes]) -> bytes:
    decoder = Decoder(name)
    out = b"".join(map(decoder.decode, pieces))
    decoder.finish()
    return out


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("size", [1, 7, 5000, 1 << 20])
def test_many_frames_in_pieces(name: str, size: int) -> None:
    """Several frames after each other are all decoded, wherever the body is cut into pieces."""
    body = b"".join(PACK[name](DATA[start : start + 30_000]) for start in range(0, len(DATA), 30_000))
    if size == 1:
        body = PACK[name](DATA[:500]) + PACK[name](DATA[500:700])
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert unpack(name, pieces) == (DATA[:700] if size == 1 else DATA)


def test_raw_deflate() -> None:
    """The other meaning of deflate, without zlib's header, is read too."""
    raw = zlib.compressobj(wbits=-15)
    assert unpack("deflate", [raw.compress(DATA) + raw.flush()]) == DATA


@pytest.mark.parametrize("name", PACK)
def test_cut_off(name: str) -> None:
    """A body that ends inside a frame is refused."""
    with pytest.raises(EngineError, match="cut off") as caught:
        unpack(name, [PACK[name](DATA)[:-3]])
    assert caught.value.code == 89


@pytest.mark.parametrize("name", PACK)
def test_not_what_it_says(name: str) -> None:
    """Bytes that are something else are refused, at the start and after a good frame."""
    for body in (b"\x08 no such thing" * 10, PACK[name](DATA) + b"\x08 no such thing" * 10):
        with pytest.raises(EngineError) as caught:
            unpack(name, [body])
        assert caught.value.code == 89


def test_unknown_encoding() -> None:
    """An encoding that is not known is refused by name."""
    with pytest.raises(EngineError, match="snappy") as caught:
        Decoder("snappy")
    assert caught.value.status == 501


@pytest.mark.parametrize("name", PACK)
def test_encoders(name: str) -> None:
    """What is encoded piece by piece decodes to the whole; so does nothing at all."""
    for pieces in ([DATA[:10], DATA[10:]], [], [b""]):
        stream = encoder(name)
        packed = b"".join(map(stream.encode, pieces)) + stream.finish()
        assert unpack(name, [packed]) == b"".join(pieces)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("gzip, deflate", "gzip"),
        ("zstd;q=1.0, lz4;q=0", "zstd"),
        ("gzip,zstd,lz4", "lz4"),
        ("GZIP", "gzip"),
        ("unheard-of", None),
    ],
)
def test_choice(accept: str, chosen: str | None) -> None:
    """The cheapest encoding that the client takes is chosen."""
    assert choose(accept) == chosen
