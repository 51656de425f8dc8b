"""Tiny but real pictures and sounds, the same bytes on every machine."""

import base64
import io
import wave
import zlib

_RATE = 8000
_SIZE = 8


def tone(hertz: int, milliseconds: int) -> str:
    """Return a WAV file with one tone, in base64."""
    period = _RATE // hertz
    samples = bytes(
        128 + 60 * (1 if index % period < period // 2 else -1)
        for index in range(_RATE * milliseconds // 1000)
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(_RATE)
        sound.writeframes(samples)
    return base64.b64encode(file.getvalue()).decode()


def picture(red: int, green: int, blue: int) -> str:
    """Return a PNG file of one colour, as a data URL."""
    row = b"\0" + bytes((red, green, blue)) * _SIZE
    header = _SIZE.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    file = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", _zlib(row * _SIZE))
        + _chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(file).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def _zlib(data: bytes) -> bytes:
    """Store without compression: compressors differ between versions of zlib."""
    size = len(data)
    stored = b"\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data
    return b"\x78\x01" + stored + zlib.adler32(data).to_bytes(4, "big")
