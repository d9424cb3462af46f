"""Answers that no server should give: on the wire, byte for byte."""

from __future__ import annotations

import functools
import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
Answer = Callable[[socket.socket], None]


def endless(head: bytes, piece: bytes, pause: float = 0.0) -> Answer:
    """``head``, and ``piece`` for ever."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return answer


def whole(data: bytes) -> Answer:
    """This, and the end of the connection."""
    return lambda connection: connection.sendall(data)


@functools.cache
def bomb(wbits: int) -> bytes:
    """256 MiB of zeros, packed."""
    make = zlib.compressobj(1, wbits=wbits)
    return b"".join(make.compress(bytes(1 << 20)) for _ in range(256)) + make.flush()


def packed(kind: str, wbits: int) -> Answer:
    def answer(connection: socket.socket) -> None:
        data = bomb(wbits)
        connection.sendall(OK + f"Content-Encoding: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)

    return answer


def labelled(kind: str) -> Answer:
    """Something small that says that it is packed in a way that we have no packer for."""
    data = gzip.compress(b"{}")
    return whole(OK + f"Content-Encoding: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def redirect(where: str) -> Answer:
    return whole(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())


ODD: dict[str, Answer] = {
    "drips a header": endless(OK + b"X-Drip: ", b"x", 0.05),
    "drips headers": endless(OK, b"X: y\r\n", 0.2),
    "drips a body": endless(OK + b"Content-Length: 1000000\r\n\r\n", b" ", 0.05),
    "drips a stream": endless(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                              b"9\r\ndata: {}\n\r\n", 0.05),
    "endless body": endless(OK + b"\r\n", b" " * 65536),
    "endless chunks": endless(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "endless small chunks": endless(CHUNKED, b"1\r\n \r\n" * 1000),
    "endless chunk": endless(CHUNKED + b"1;", b"x" * 65536),
    "endless trailers": endless(CHUNKED + b"0\r\n", b"X-A: yyyyyyyy\r\n" * 1000),
    "endless headers": endless(OK, b"X-A: yyyyyyyy\r\n" * 1000),
    "endless cookies": endless(OK, b"Set-Cookie: a=b\r\n" * 1000),
    "endless header": endless(OK + b"X: ", b"y" * 65536),
    "endless status": endless(b"HTTP/1.1 200 ", b"y" * 65536),
    "endless newlines": endless(b"", b"\r\n" * 32768),
    "endless continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "endless refusal": endless(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65536),
    "garbage": whole(bytes(range(256)) * 16),
    "half a body": whole(OK + b"Content-Length: 10\r\n\r\n{}"),
    "absurd length": whole(OK + b"Content-Length: 99999999999999999999999\r\n\r\n{}"),
    "gzip bomb": packed("gzip", 31),
    "deflate bomb": packed("deflate", 15),
    "br": labelled("br"),
    "zstd": labelled("zstd"),
    "redirects to itself": redirect(""),
    "redirects elsewhere": redirect("http://192.0.2.1/"),
    "silent": endless(b"", b"", 1.0),
    "closes": whole(b""),
    "resets": reset,
}  # fmt: skip
"""By name, what is sent once the request was read; the connection is closed afterwards."""
