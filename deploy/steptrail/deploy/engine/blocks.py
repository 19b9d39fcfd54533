"""ClickHouse's own block compression (`compress=1`, `decompress=1`): frames of LZ4 or ZSTD, each with a checksum.

A frame is a CityHash128 (version 1.0.2, ClickHouse's) of all that follows it, one byte for the method, the
compressed size with these nine bytes, the plain size (both 32 bits, little-endian), and the data.
"""

from __future__ import annotations

import importlib
import struct
from typing import Any

import lz4.block
import zstandard

from steptrail.deploy.engine.errors import EngineError

_HEAD = struct.Struct("<BII")
_HALVES = struct.Struct("<QQ")
_CHECKSUM = 16
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02
_PIECE = 1 << 20
_LARGEST = 256 << 20
"""Bytes of a frame, compressed or not; clients write some MiB."""


def _checksum(frame: bytes) -> bytes:
    city: Any = importlib.import_module("clickhouse_cityhash.cityhash")
    value: int = city.CityHash128(frame)
    return _HALVES.pack(value >> 64, value & 0xFFFFFFFFFFFFFFFF)


class BlockEncoder:
    """Compresses an answer into frames; `method` is LZ4, ZSTD or NONE, any case."""

    def __init__(self, method: str = "LZ4") -> None:
        self._method = {"LZ4": _LZ4, "LZ4HC": _LZ4, "ZSTD": _ZSTD, "NONE": _NONE}.get(method.upper())
        if self._method is None:
            raise EngineError(
                36, f"network_compression_method is {method!r}: answers come in LZ4, LZ4HC, ZSTD or NONE"
            )

    def encode(self, data: bytes) -> bytes:
        """Return frames that hold `data`."""
        return b"".join(self._frame(data[i : i + _PIECE]) for i in range(0, len(data), _PIECE))

    def finish(self) -> bytes:
        """Return the last bytes: none, since every frame is whole."""
        return b""

    def _frame(self, data: bytes) -> bytes:
        if self._method == _LZ4:
            packed: bytes = lz4.block.compress(data, store_size=False)
        elif self._method == _ZSTD:
            packed = zstandard.ZstdCompressor(level=1).compress(data)
        else:
            packed = data
        frame = _HEAD.pack(self._method or 0, len(packed) + _HEAD.size, len(data)) + packed
        return _checksum(frame) + frame


class BlockDecoder:
    """Decodes a body of frames that comes in pieces; raises EngineError for what is none.

    Without `checked` the checksums are not looked at.
    """

    def __init__(self, *, checked: bool = True) -> None:
        self._checked = checked
        self._held = bytearray()

    def decode(self, data: bytes) -> bytes:
        """Return what the frames hold that are complete by now."""
        self._held += data
        out: list[bytes] = []
        start = 0
        while len(self._held) - start >= _CHECKSUM + _HEAD.size:
            method, packed_size, size = _HEAD.unpack_from(self._held, start + _CHECKSUM)
            if not _HEAD.size <= packed_size <= _LARGEST or size > _LARGEST:
                raise EngineError(
                    271, f"A compressed block says that it has {packed_size} bytes, {size} when decompressed: "
                    f"at most {_LARGEST} are taken",
                )  # fmt: skip
            end = start + _CHECKSUM + packed_size
            if len(self._held) < end:
                break
            frame = bytes(self._held[start + _CHECKSUM : end])
            if self._checked and _checksum(frame) != self._held[start : start + _CHECKSUM]:
                raise EngineError(40, "Checksum doesn't match: the compressed body was damaged on its way")
            out.append(_unpack(method, frame[_HEAD.size :], size))
            start = end
        del self._held[:start]
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> None:
        """Say that the body has ended."""
        if self._held:
            raise EngineError(271, "The compressed body ends inside a block: it was cut off")


def _unpack(method: int, packed: bytes, size: int) -> bytes:
    try:
        if method == _LZ4:
            plain: bytes = lz4.block.decompress(packed, uncompressed_size=size)
        elif method == _ZSTD:
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        elif method == _NONE:
            plain = packed
        else:
            raise EngineError(
                89, f"Unknown method of compression 0x{method:02x}: LZ4, ZSTD and NONE are taken"
            )
    except (lz4.block.LZ4BlockError, zstandard.ZstdError, ValueError) as error:
        raise EngineError(271, f"A compressed block cannot be decompressed: {error}") from error
    if len(plain) != size:
        raise EngineError(271, f"A compressed block has {len(plain)} bytes and says {size}")
    return plain
