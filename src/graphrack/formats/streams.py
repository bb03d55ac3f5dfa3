"""Large files written piece by piece that appear under their names whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from graphrack.formats.safe_write import TemporaryFile, folder_lock, folder_of, reporting, sweep, sync_folder


@contextlib.contextmanager
def streaming_write(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[BinaryIO]:
    """A seekable stream for a `with` block, at whose end the file takes its place by a rename.

    A block that raises leaves what was there before, and nothing else. With `durable`, the end waits until
    the disk has the bytes. The folder must exist.

    Raises:
        FileError: the file can't be written: the stream's own `OSError`s become that as well.
    """
    target = os.fspath(path)
    folder = folder_of(target)
    with folder_lock(folder):
        sweep(folder, re.escape(os.path.basename(target)))
        file = TemporaryFile(target)
    with file:
        with reporting(target):
            # A second handle: buffered and seekable, as archives want it. The first one holds the lock.
            stream = open(file.path, "r+b")  # noqa: SIM115 - closed below, where a failing flush can't hide the cause
            try:
                yield stream
                stream.flush()
            finally:
                with contextlib.suppress(OSError):
                    stream.close()
        file.flush(durable=durable)
        with folder_lock(folder):
            file.place()
        if durable:
            sync_folder(folder)
