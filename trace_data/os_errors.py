"""What the operating system refuses, in words that tell a missing file from a permission and from a broken mount."""

from __future__ import annotations

import errno

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
"""The only codes that mean that something is not there."""
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_NO_ANSWER = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET", "ECONNREFUSED", "ENODEV",
        "ENXIO", "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
MOUNT_AGAIN = "not a missing file: look at  mount  and  dmesg,  mount it again, then run the same command"
"""What mends a disk or mount that does not answer."""


class SpecialFile(OSError):
    """A pipe, socket or device where a file was expected: it would be waited for, or read, for ever."""


def is_missing(error: OSError) -> bool:
    """Whether the file or folder is not there, as opposed to something that keeps us from it."""
    return error.errno in MISSING


def in_words(error: OSError) -> tuple[str, str]:
    """(what was refused, what mends it)."""
    told = (error.strerror or str(error)).lower()
    if isinstance(error, SpecialFile):
        return f"is {told}, expected a file", "copy the file itself"
    if is_missing(error):
        return "is missing", "copy it again"
    if error.errno in _DENIED:
        return "permission denied", "it may well be there: check owner and mode with  ls -ld"
    if error.errno in _NO_ANSWER:
        return f"the disk or network mount does not answer ({told})", MOUNT_AGAIN
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads back to itself", "remove the link and copy the file or folder itself"
    if error.errno == errno.EISDIR:
        return "is a folder, expected a file", "copy the file itself"
    return f"cannot be read ({told})", ""
