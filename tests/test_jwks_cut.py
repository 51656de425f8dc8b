"""A JWKS at a URL: what is refused, and an answer that is cut."""

import socket
import threading

import pytest

from server.auth.jwks import keys_of, load_jwks
from server.settings import Settings, SettingsError


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


def test_a_jwks_url_with_a_password_is_refused_and_not_printed() -> None:
    with pytest.raises(SettingsError) as refused:
        keys_of(Settings(jwks="https://user:hunter2@issuer.example/jwks"))
    assert "hunter2" not in str(refused.value)
