"""Files of others and of ours, with pipes, devices and links where a file was expected."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trace_data import files
from trace_data.assets.pack_files import read_arrays
from trace_data.errors import AnnotationError, AssetError, OutputError, printable
from trace_data.files import exclusive, is_held, open_own, open_regular, read_regular, sha256_of, wait_for_lock
from trace_data.frames.image import file_size, read_bytes
from trace_data.os_errors import SpecialFile
from trace_data.progress import Progress
from trace_data.verify.memory import VerifyMemory


def pipe(place: Path) -> None:
    os.mkfifo(place)


def link_to_pipe(place: Path) -> None:
    os.mkfifo(place.with_name("pipe"))
    place.symlink_to("pipe")


def endless(place: Path) -> None:
    place.symlink_to("/dev/zero")


SPECIAL: tuple[Callable[[Path], None], ...] = (pipe, link_to_pipe, endless)


@pytest.mark.parametrize("make", SPECIAL)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    file = tmp_path / "image_00000.jpg"
    make(file)
    for read in (open_regular, sha256_of, lambda file: read_regular(file, 10)):
        with pytest.raises(SpecialFile) as caught:
            read(file)
        assert caught.value.filename == str(file)
    for frame in (read_bytes, file_size):
        with pytest.raises(AnnotationError, match=r"is a (pipe|device)") as named:
            frame(file)
        assert named.value.where == str(file)


@pytest.mark.parametrize("make", SPECIAL)
def test_packs_and_remembered_results_are_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    file = tmp_path / "SMPL_NEUTRAL.pth"
    make(file)
    with pytest.raises(AssetError, match=r"is a (pipe|device)") as caught:
        read_arrays(file)
    assert caught.value.where == str(file)
    said: list[str] = []

    class Log(Progress):
        def log(self, text: str) -> None:
            said.append(text)

    with VerifyMemory(file).writing(Log()):
        pass
    assert len(said) == 1 and str(file) in said[0]


def test_a_link_to_a_file_is_read_and_more_than_the_limit_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"12345" and stream.name == str(tmp_path / "link")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="at most 4") as caught:
        read_regular(tmp_path / "file", 4)
    assert caught.value.errno == errno.EFBIG


def link(place: Path, target: Path) -> None:
    place.symlink_to(target)


def second_name(place: Path, target: Path) -> None:
    place.hardlink_to(target)


@pytest.mark.parametrize("make", [link, second_name])
def test_a_lock_that_leads_elsewhere_is_refused_and_changes_nothing(
    tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    precious = tmp_path / "thesis"
    precious.write_text("three years")
    (tmp_path / ".lock").mkdir()
    make(tmp_path / ".lock" / "lock", precious)
    with pytest.raises(OutputError, match="expected a file of our own") as caught, exclusive(tmp_path / ".lock"):
        pass
    assert caught.value.where == str(tmp_path / ".lock" / "lock") and "rm " in str(caught.value.hint)
    assert precious.read_text() == "three years"


def test_a_lock_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OutputError, match="a pipe"):
        open_own(tmp_path / "lock")
    assert not is_held(tmp_path)


def test_a_lock_keeps_what_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("kept")
    with exclusive(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(OutputError, match="another process"), exclusive(tmp_path):
            pass
    assert not is_held(tmp_path) and (tmp_path / "lock").read_text() == "kept"


def test_somebody_elses_lock_is_waited_for_with_a_word_and_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_WORD", 0.01)
    monkeypatch.setattr(files, "LOCK_END", 0.2)
    said: list[str] = []
    with open_own(tmp_path / "lock") as held, open_own(tmp_path / "lock") as other:

        def lock() -> None:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="has held this lock") as caught:
            wait_for_lock(lock, tmp_path / "lock", said.append)
        assert caught.value.where == str(tmp_path / "lock") and "fuser" in str(caught.value.hint)
        assert len(said) == 1 and "waiting" in said[0]
        fcntl.flock(held, fcntl.LOCK_UN)
        wait_for_lock(lock, tmp_path / "lock", said.append)
    assert len(said) == 1


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OutputError, match="knows no file locks") as caught, exclusive(tmp_path):
        pass
    assert caught.value.where == str(tmp_path) and "disk of this machine" in str(caught.value.hint)


def test_text_from_elsewhere_gives_the_terminal_no_commands() -> None:
    assert printable("a\x1b[31m\x07\u202eb\udcff\x9b\rc") == r"a\x1b[31m\x07\u202eb\udcff\x9b\rc"
    assert printable("an umlaut ä, a dash –, a tab\tand\na line") == "an umlaut ä, a dash –, a tab\tand\na line"
