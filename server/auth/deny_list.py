"""Tokens that are withdrawn before they expire: a file of their `jti`s."""

import logging
from pathlib import Path

from server.settings import Settings, SettingsError
from server.watched import WatchedFile

log = logging.getLogger(__name__)


class DenyList:
    """The `jti`s of a file, one a line, read again when it changes.

    A file that cannot be read any more leaves the list as it was: what is revoked stays revoked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = WatchedFile(path)
        self._denied = _read(path)

    def denies(self, jti: str) -> bool:
        """Return whether a token is revoked; an id is no secret, so that timing tells nothing."""
        if self._file.changed():
            try:
                self._denied = _read(self._path)
            except SettingsError as error:
                log.error("%s; the tokens that were revoked stay so", error)  # noqa: TRY400 # the text says it all
        return jti in self._denied


def _read(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"ROLLCALL_JWT_DENY_LIST: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"ROLLCALL_JWT_DENY_LIST: {path}: must be UTF-8") from None
    return frozenset(stripped for line in lines if (stripped := line.strip()))


def deny_list_of(settings: Settings) -> DenyList | None:
    """Return the deny list of these settings, None if they name none; raise SettingsError."""
    return None if settings.jwt_deny_list is None else DenyList(settings.jwt_deny_list)
