"""Where a pull is, in a file, so that the same command goes on after a stop."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.commands.import_lines import Report
from server.commands.pulling.system import Places, Position
from server.settings import SettingsError


class State:
    """The file of one pull, which `of` tells from others; None keeps nothing."""

    def __init__(self, path: Path | None, of: Mapping[str, Any]) -> None:
        self.path = path
        self._of = dict(of)

    def read(self, report: Report, places: Places) -> Position | None:
        """Return the position that was reached and put its counts into `report`; None for a new pull.

        A position has `places`.  Raises SettingsError for a file that is of another pull, or of none.
        """
        if self.path is None:
            return None
        try:
            kept = json.loads(self.path.read_bytes())
            of, position = kept["pull"], dict(kept["position"])
            stored, refused = int(kept["stored"]), int(kept["refused"])
            is_place = all(fits(position[name]) for name, fits in places.items())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"--state: {self.path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            is_place = False
        if not is_place:
            raise SettingsError(f"--state: {self.path} is not the state of a pull")
        if of != self._of:
            raise SettingsError(f"--state: {self.path} is of another pull: {json.dumps(of)}")
        report.stored, report.refused = stored, refused
        return position

    def write(self, position: Position, report: Report) -> None:
        """Keep a position; everything before it is stored."""
        if self.path is None:
            return
        counts = {"stored": report.stored, "refused": report.refused}
        text = json.dumps({"pull": self._of, "position": position, **counts}, indent=2)
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.touch(0o600)
            new.write_text(f"{text}\n")
            new.replace(self.path)
        except OSError as error:
            raise SettingsError(f"--state: {self.path}: {error.strerror}") from None

    def drop(self) -> None:
        """Forget the position: the pull is at its end, or at its beginning."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    @property
    def kept(self) -> bool:
        """Whether the same command would go on."""
        return self.path is not None and self.path.exists()


def file_in(folder: Path, of: Mapping[str, Any]) -> Path:
    """Return the file of a pull whose operator names none."""
    digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
    return folder / "pulls" / f"{digest}.json"
