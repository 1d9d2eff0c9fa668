"""JSON, YAML and TOML from outside: read within limits, and refused in words where they are wrong.

The libraries answer a hostile or damaged file with whatever their code runs into: RecursionError, an integer that
cannot be printed, a minute of YAML aliases. Here every such file ends in the error class that the caller names.
"""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from trace_data.errors import TraceError
from trace_data.files import open_regular, read_within
from trace_data.os_errors import TOO_LITTLE_MEMORY, in_words

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIMIT_BYTES = 1 << 24
"""Of a file that a person or this project wrote; annotations are larger."""
LIMIT_YAML = 1 << 20
"""YAML is read in Python, a second for some hundred kilobytes."""
MAX_DEPTH = 64
MAX_INTEGER_BITS = 128
"""The largest integers in our own files are the states of numpy's generators."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_PLAIN = (float, bool, type(None))

Each = Callable[[dict[str, Any]], Any]
"""What stands in place of an object that was read."""


def content_of(file: Path, *, error: type[TraceError], limit_bytes: int = LIMIT_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises FileNotFoundError, which has a meaning of its own to most callers, and `error` for everything else: no
    permission, a pipe or device, a name that cannot be one, more than `limit_bytes`.
    """
    try:
        with open_regular(file) as stream:
            content = read_within(stream, limit_bytes)
    except FileNotFoundError:
        raise
    except OSError as reason:
        what, hint = in_words(reason)
        raise error(what, where=file, hint=hint or None) from reason
    if len(content) > limit_bytes:
        raise error(f"is larger than {limit_bytes:,} bytes, more than any file of its kind", where=file)
    return content


def parse_json(
    content: bytes | str,
    *,
    where: str | Path,
    error: type[TraceError],
    hint: str | None = None,
    each: Each | None = None,
) -> Any:
    """The value in JSON text, every object in it as `each` makes it. A byte-order mark is passed over.

    Raises `error` when it is no JSON, has a key twice, nests more than `MAX_DEPTH` deep, or holds an integer of more
    than `MAX_INTEGER_BITS` or a text that no file can hold.
    """

    def unique(pairs: list[tuple[str, Any]]) -> Any:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise ValueError(f"the key {_repeated([key for key, _ in pairs])!r} is given twice")
        return values if each is None else each(values)

    return _parsed("JSON", lambda text: json.loads(text, object_pairs_hook=unique), content, where, error, hint)


def parse_yaml(content: bytes | str, *, where: str | Path, error: type[TraceError], hint: str | None = None) -> Any:
    """The value in YAML text, under the limits of `parse_json`.

    Merge keys (`<<`) are refused, aliases are not, unless what they repeat outgrows the text. Raises `error`.
    """
    if len(content) > LIMIT_YAML:
        raise error(f"is larger than {LIMIT_YAML:,} bytes, more than any YAML file here", where=where, hint=hint)
    return _parsed("YAML", lambda text: yaml.load(text, Loader=_Loader), content, where, error, hint)


def parse_toml(
    content: bytes | str, *, where: str | Path, error: type[TraceError], hint: str | None = None
) -> dict[str, Any]:
    """The table in TOML text, under the limits of `parse_json`. Raises `error`."""
    values: dict[str, Any] = _parsed("TOML", tomllib.loads, content, where, error, hint)
    return values


def _parsed(
    kind: str,
    parse: Callable[[str], Any],
    content: bytes | str,
    where: str | Path,
    error: type[TraceError],
    hint: str | None,
) -> Any:
    try:
        text = _decoded(content)
        value = parse(text)
        _check(value, most=len(text) + 1)
    except UnicodeDecodeError as reason:
        what = f"byte {reason.object[reason.start]:#04x} at position {reason.start:,} is not UTF-8"
        raise error(f"cannot be read as {kind}: {what}", where=where, hint=hint) from reason
    except RecursionError as reason:
        raise error(f"cannot be read as {kind}: it nests too deeply", where=where, hint=hint) from reason
    except MemoryError as reason:
        raise error(
            f"there is too little memory to read {len(content):,} bytes of {kind}",
            where=where,
            hint=TOO_LITTLE_MEMORY,
        ) from reason
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, yaml.YAMLError) as reason:
        raise error(f"cannot be read as {kind}: {_in_words(reason)}", where=where, hint=hint) from reason
    return value


def _in_words(reason: Exception) -> str:
    if isinstance(reason, yaml.MarkedYAMLError) and reason.problem_mark is not None:
        mark = reason.problem_mark
        return f"{str(reason.problem)[:300]} (line {mark.line + 1}, column {mark.column + 1})"
    # what stands behind a semicolon tells programmers how to lift Python's limit on digits
    return " ".join(str(reason).split(";")[0].split())[:300]


def _decoded(content: bytes | str) -> str:
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    return content.decode(encoding)


def _check(value: Any, most: int) -> None:
    """Raise ValueError for a value that nests too deeply, has more than `most` parts, or parts nothing can use."""
    level, total = [value], 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for part in level:
            inner: list[Any] = []
            if isinstance(part, dict):
                inner = [*part.keys(), *part.values()]
            elif isinstance(part, (list, tuple)):
                inner = list(part)
            elif isinstance(part, str) and not part.isascii():
                part.encode()  # raises UnicodeEncodeError, a ValueError, for half a surrogate pair
            elif isinstance(part, int) and part.bit_length() > MAX_INTEGER_BITS:
                raise ValueError(f"it holds an integer of {part.bit_length():,} bits")
            total += len(inner)
            if total > most:
                raise ValueError("its aliases repeat more than the file holds")
            deeper.extend(item for item in inner if not isinstance(item, _PLAIN))
        level = deeper
        if not level:
            return
    raise ValueError(f"it nests more than {MAX_DEPTH} deep")


def _repeated(keys: list[Any]) -> Any:
    seen: set[Any] = set()
    return next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, in which a key given twice is an error instead of silently the last."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            # a mapping merged from two copies of one doubles at every line
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not read", key.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            key = _repeated([self.construct_object(key) for key, _ in node.value])
            mark = node.value[-1][0].start_mark
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", mark)
        return mapping
