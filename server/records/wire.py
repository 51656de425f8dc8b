"""Protobuf's wire format, where parsing or copying whole messages would be waste."""

LENGTH_DELIMITED = 2
"""The wire type of strings, bytes and messages."""
VARINT_BYTES = 10
"""No number is longer; one without an end would take for ever to read."""


def varint(number: int) -> bytes:
    """Return a number as it is on the wire."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 # seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and where it ends; raise IndexError if it does not."""
    number = 0
    for index in range(VARINT_BYTES):
        byte = data[position + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004 # the continuation bit
            return number, position + index + 1
    raise IndexError


def framed(pb: bytes) -> bytes:
    """Return a message as field 1 of the message around it."""
    return b"\x0a" + varint(len(pb)) + pb


def unframed(item: bytes) -> bytes:
    """Return the message inside a frame."""
    _, start = read_varint(item, 1)
    return item[start:]
