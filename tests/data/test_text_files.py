"""JSON, YAML and TOML from outside: harmless text as its library reads it, everything else in one named error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trace_data.adapters.files import load_json
from trace_data.adapters.human36m import subject_files
from trace_data.errors import AnnotationError, ConfigError, ShardError
from trace_data.files import open_regular, path_of
from trace_data.text_files import content_of, parse_json, parse_toml, parse_yaml

HARMLESS = {"a": [1, 2.5, None, True, {"b": "é"}], "c": {}, "d": 1 << 127}


def as_toml(text: bytes) -> Any:
    return parse_toml(text, where="x", error=ConfigError)


def as_yaml(text: bytes) -> Any:
    return parse_yaml(text, where="x", error=ConfigError)


def as_json(text: bytes) -> Any:
    return parse_json(text, where="x", error=ConfigError)


READERS = {"json": as_json, "yaml": as_yaml, "toml": as_toml}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_harmless_text_with_and_without_a_byte_order_mark(encoding: str) -> None:
    assert as_json(json.dumps(HARMLESS, ensure_ascii=False).encode(encoding)) == HARMLESS
    assert as_yaml("a: [1, 2.5, null, true, {b: é}]\nc: &x {e: 1}\nf: *x\n".encode(encoding)) == {
        "a": HARMLESS["a"],
        "c": {"e": 1},
        "f": {"e": 1},
    }
    assert as_toml('a = ["é", 1]\n[c]\nd = 1\n'.encode(encoding)) == {"a": ["é", 1], "c": {"d": 1}}
    assert parse_json('\ufeff{"a": 1}', where="x", error=ConfigError, each=len) == 1


NESTED = 5000
DOUBLING = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("kind", "text", "word"),
    [
        ("json", "[" * NESTED + "]" * NESTED, "nests"),
        ("json", "[" * 100_000, "nests"),
        ("json", "[" * 100 + "]" * 100, "nests more than 64"),
        ("json", '{"a":' * 100 + "1" + "}" * 100, "nests more than 64"),
        ("json", "[" + "9" * 5000 + "]", "digits"),
        ("json", "[" + "9" * 4000 + "]", "bits"),
        ("json", '{"a": 1, "b": 2, "a": 3}', "key 'a' is given twice"),
        ("json", '["\\ud800"]', "surrogates"),
        ("json", '{"\\udfff": 1}', "surrogates"),
        ("json", "{", "Expecting"),
        ("json", "", "Expecting"),
        ("yaml", "[" * NESTED, "nests"),
        ("yaml", "- " * NESTED, "nests"),
        ("yaml", "{a: " * 100 + "1" + "}" * 100, "nests more than 64"),
        ("yaml", DOUBLING, "aliases"),
        ("yaml", "a: &a [*a]", "aliases"),
        ("yaml", "a: &a {b: *a, c: *a}", "aliases"),
        ("yaml", "a: &a {b: 1}\nc:\n  <<: *a\n", "merge"),
        ("yaml", "steps: 1\nlr: 2\nsteps: 3\n", "key 'steps' is given twice"),
        ("yaml", "a: {b: 1, 'b': 2}", "key 'b' is given twice"),
        ("yaml", "- ? [1]\n  : 2", "unhashable"),
        ("yaml", "a: " + "9" * 5000, "digits"),
        ("yaml", "a: 0x" + "f" * 5000, "bits"),
        ("yaml", 'a: "\\ud800"', "surrogates"),
        ("yaml", "a: 2020-13-45", "month"),
        ("yaml", "!!bool maybe", "maybe"),
        ("yaml", "!!int ''", "YAML"),
        ("yaml", "!!timestamp x", "YAML"),
        ("yaml", "!!python/object/apply:os.system [ls]", "python/object"),
        ("yaml", "a\0b", "special characters"),
        ("yaml", "#" * (1 << 21), "larger than"),
        ("toml", "a = " + "[" * NESTED, "nests"),
        ("toml", ".".join(["a"] * NESTED) + " = 1", "nests"),
        ("toml", "a = " + "9" * 5000, "digits"),
        ("toml", "a = 0x" + "f" * 4000, "bits"),
        ("toml", "a = 1\na = 2", "overwrite"),
    ],
)
def test_what_no_file_of_ours_needs_is_named(kind: str, text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        READERS[kind](text.encode())
    assert caught.value.where == "x"
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("kind", READERS)
def test_what_is_not_utf8_is_named(kind: str) -> None:
    for text in (b'a = "\xff"', b"\xfe\xff\xd8\x00", b"\xff\xfea"):
        with pytest.raises(ConfigError, match=r"UTF|utf|byte") as caught:
            READERS[kind](text)
        assert caught.value.where == "x"


def test_the_error_is_the_callers_own() -> None:
    with pytest.raises(ShardError) as caught:
        parse_json("{", where=Path("index.json"), error=ShardError, hint="build again")
    assert (caught.value.where, caught.value.hint) == ("index.json", "build again")


def test_only_regular_files_within_a_limit_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert content_of(tmp_path / "link", error=ConfigError) == b"abc"
    with pytest.raises(FileNotFoundError):
        content_of(tmp_path / "b", error=ConfigError)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "a\0b")
    with pytest.raises(ConfigError, match="larger than 2"):
        content_of(tmp_path / "a", error=ConfigError, limit_bytes=2)
    with pytest.raises(ConfigError, match="folder"):
        content_of(tmp_path, error=ConfigError)
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="expected a file") as caught:
            content_of(special, error=ConfigError)
        assert caught.value.where == str(special)


def test_annotations_with_a_byte_order_mark_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "Human36M_subject1_joint_3d.json"
    file.write_bytes(json.dumps({"2": {"1": {}}}).encode("utf-8-sig"))
    assert subject_files.load(file) == load_json(file) == {"2": {"1": {}}}
    for text, word in (("[" * 5000, "nests"), ('{"2": {}, "2": {}}', "twice"), ('{"2": ' + "1" * 5000 + "}", "digits")):
        file.write_text(text)
        with pytest.raises(AnnotationError, match=word) as caught:
            subject_files.load(file)
        assert caught.value.where == str(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(AnnotationError, match="expected a file"):
        subject_files.load(file)


def test_paths_as_users_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert path_of("~/x", where="here") == Path("/home/someone/x")
    for text in ("~nobody-of-this-name/x", "a\0b"):
        with pytest.raises(ConfigError) as caught:
            path_of(text, where="here")
        assert caught.value.where == "here"
