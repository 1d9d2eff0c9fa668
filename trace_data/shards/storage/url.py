"""URLs of remote shards: told from folders, joined with file names, and shown without what is secret in them."""

from __future__ import annotations

import re
from pathlib import Path

_USER = re.compile(r"(?<=://)[^/@\s'\"]*@")
_QUERY = re.compile(r"(://[^\s'\"<>?]*)\?[^\s'\"<>)]*")


def is_url(location: str | Path) -> bool:
    """Whether fsspec rather than the file system knows the place: `s3://…`, `https://…`, `file://…`."""
    return isinstance(location, str) and "://" in location


def joined(url: str, name: str) -> str:
    """The URL of file `name` in the folder `url`; a query that signs the folder (say, Azure's) stays at the end."""
    if not url.startswith(("http://", "https://")):  # elsewhere a question mark is part of the name
        return f"{url.rstrip('/')}/{name}"
    place, mark, query = url.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{query}"


def shown(text: str) -> str:
    """`text` with every URL in it stripped of user, password and query, where passwords and signatures stand."""
    return _QUERY.sub(r"\1", _USER.sub("", text))
