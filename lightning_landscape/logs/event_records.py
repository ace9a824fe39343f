"""The records of TensorBoard's event files."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event


def events(path: Path) -> Iterator[Event]:
    """Yield the events of a file up to the first one that is incomplete or damaged; the rest cannot be trusted."""
    from tensorboard.compat.proto.event_pb2 import Event

    for raw in _records(path):
        try:
            event = Event.FromString(raw)
        except Exception:  # protobuf's error for a damaged file
            return
        yield event


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of an event file up to the first incomplete one.

    A record is its length in 8 bytes, 4 bytes of checksum, the content, and 4 bytes of checksum. The checksums are not
    verified: in Python, that takes longer than everything else.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if file.tell() + length + 4 > size:
                return
            yield file.read(length)
            file.seek(4, os.SEEK_CUR)
