"""Files of networks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, bytes_max: int) -> bytes:
    """Return the content of a file, which takes no longer than its size says.

    Raises OSError, also where it is a device, a pipe or another kind, or has more bytes.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if found.st_size > bytes_max:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        with open(file, "rb", closefd=False) as opened:
            return opened.read(found.st_size)
    finally:
        os.close(file)
