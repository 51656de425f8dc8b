"""Writes the reference pages: `python -m deploy.reference GENERATED FOLDER`.

GENERATED is the folder with the descriptor set and the OpenAPI document.  Other pages in FOLDER are
removed.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from deploy.reference import commands, errors, protos, rest, settings

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> None:
    """Write every page."""
    generated, folder = map(Path, arguments)
    made = generated / "rollcall" / "v1"
    grpc = protos.Pages(FileDescriptorSet.FromString((made / "descriptors.binpb").read_bytes()))
    paths = rest.Pages(json.loads((made / "openapi.json").read_text()), grpc.message_link)
    pages = {
        "rest.md": paths.documented(),
        "rest-v1.md": paths.v1(),
        **grpc.all(),
        "cli.md": commands.cli(),
        "settings.md": settings.settings(),
        "errors.md": errors.reasons((ROOT / "README.md").read_text(), ROOT / "server"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for old in set(folder.glob("*.md")) - {folder / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
