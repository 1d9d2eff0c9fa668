"""Errors of the operating system in words: missing file, permission, or a mount that does not respond."""

from __future__ import annotations

import errno

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
"""The codes that mean that a file or folder does not exist."""
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_NO_ANSWER = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET", "ECONNREFUSED", "ENODEV",
        "ENXIO", "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
MOUNT_AGAIN = "the file is not missing: check  mount  and  dmesg,  mount it again, then run the same command"
"""Hint for a disk or mount that does not respond."""


TOO_LITTLE_MEMORY = "end other programs, give fewer --workers, or use a machine with more memory"
"""What helps where memory does not suffice."""


class SpecialFile(OSError):
    """A pipe, socket or device where a file was expected: it would be waited for, or read, for ever."""


def is_missing(error: OSError) -> bool:
    """Whether the file or folder does not exist, as opposed to being inaccessible."""
    return error.errno in MISSING


def in_words(error: OSError) -> tuple[str, str]:
    """(what was refused, what mends it)."""
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, SpecialFile):
        return f"is {reason}, expected a file", "copy the file itself"
    if is_missing(error):
        return "is missing", "copy it again"
    if error.errno in _DENIED:
        return "permission denied", "the file may exist: check owner and mode with  ls -ld"
    if error.errno in _NO_ANSWER:
        return f"the disk or network mount does not respond ({reason})", MOUNT_AGAIN
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads back to itself", "remove the link and copy the file or folder itself"
    if error.errno == errno.EISDIR:
        return "is a folder, expected a file", "copy the file itself"
    return f"cannot be read ({reason})", ""
