"""A JWKS whose answer is cut, from a real server."""

import socket
import threading

import pytest

from server.auth.jwks import load_jwks
from server.settings import SettingsError


def _cut(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"keys":')


def test_a_jwks_answer_that_is_cut_is_a_source_that_cannot_be_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_cut, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(SettingsError, match="IncompleteRead"):
            load_jwks(f"http://127.0.0.1:{listener.getsockname()[1]}/jwks")
        thread.join(5)
