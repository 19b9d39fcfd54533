"""The work of the demonstration's pipeline on images: their size, and whether they are whole."""

from __future__ import annotations

import struct
import zlib

from steptrail.deploy.demo.files import Damaged


def measure_image(kind: str, data: bytes) -> dict[str, int]:
    """Width and height in pixels, and for PNG the number of chunks, each one's checksum verified."""
    try:
        if kind == "png":
            return _measure_png(data)
        if kind == "gif":
            width, height = struct.unpack_from("<HH", data, 6)
            return {"width": width, "height": height}
        return _measure_jpeg(data)
    except struct.error as error:
        raise Damaged(f"{kind}: it ends in the middle of a field ({error})") from error


def _measure_png(data: bytes) -> dict[str, int]:
    position, chunks = 8, 0
    while True:
        length, name = struct.unpack_from(">I4s", data, position)
        body = data[position + 4 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(body) != checksum:
            raise Damaged(f"png: chunk {name.decode('latin-1')} at byte {position} has a wrong checksum")
        chunks += 1
        if name == b"IEND":
            width, height = struct.unpack_from(">II", data, 16)
            return {"width": width, "height": height, "chunks": chunks}
        position += 12 + length


def _measure_jpeg(data: bytes) -> dict[str, int]:
    position = 2
    while position < len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return {"width": width, "height": height}
        if marker < 0xFF00:
            raise Damaged(f"jpeg: no marker at byte {position}")
        position += 2 + length
    raise Damaged("jpeg: no frame header")
