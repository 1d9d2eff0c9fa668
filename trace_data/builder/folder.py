"""The output folder of a build: ownership, settings, locks, disk space.

`.build/` beside the shards holds the settings, the lock, and a record of each finished shard.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from io import FileIO
from pathlib import Path
from typing import Any

from trace_data.builder.plan import BuildPart, ShardPlan
from trace_data.errors import OutputError
from trace_data.files import as_json, cannot_lock, open_own, wait_for_lock, writable_folder, write_json
from trace_data.frames.image import encoder
from trace_data.progress import SILENT, size_in_words
from trace_data.shards.flow.layout import FLOW_INDEX_FILE, FLOW_STATE_FOLDER, SUFFIX, flow_file
from trace_data.shards.layout import INDEX_FILE
from trace_data.shards.levels import Storage
from trace_data.text_files import content_of, parse_json

BUILD_FOLDER = ".build"
"""Folder beside the shards for files that only a build needs."""
SHARD_FILE = re.compile(r".+-(train|val|test)-\d{5}\.h5(\.partial)?")
MADE_WITH = ("tool", "encoder")
"""Settings that depend on installed versions, see `made_with`."""
OPTIONS = {
    "splits": "--split",
    "sequences": "--sequences",
    "limit": "--limit",
    "every": "--every",
    "heights": "--height",
    "body_models": "--packs",
    "defects": "--defects",
    "check": "--check",
    "adapters": "--adapter",
}
"""Settings that a command-line option sets, with that option."""


def versions() -> dict[str, str]:
    """Versions of this project and of the encoder of scaled frames."""
    return {"tool": f"trace-5d {metadata.version('trace-5d')}", "encoder": encoder()}


def made_with(storage: Storage) -> dict[str, str]:
    """The versions that a shard's bytes depend on. All shards of a folder share them."""
    return versions() if storage.heights else {**versions(), "encoder": "none"}


class BuildFolder:
    """The output folder of a build. Several processes may work in it, each on its own shards."""

    def __init__(self, out: Path) -> None:
        """Created when missing. Raises OutputError when it cannot be written."""
        self.out = out
        self.state = out / BUILD_FOLDER
        writable_folder(self.state)

    def record(self, shard: str) -> Path:
        """Path of the record of a finished shard."""
        return self.state / f"{shard}.json"

    @contextlib.contextmanager
    def held(self, numbers: Sequence[int] | None) -> Iterator[FileIO]:
        """Hold the shards of these numbers, or the whole folder, for this process; the system lets go even when it is
        killed. Raises OutputError when another process holds one of them.

        Each shard is a byte of the lock file; byte 0 stands for the settings. All common network file systems support
        byte-range locks, unlike locks of whole files. Raises OutputError when another process holds one of them.
        """
        with open_own(self.state / "lock") as stream:
            ranges = [(0, 0)] if numbers is None else [(1, number + 1) for number in numbers]  # 0 bytes: to the end
            try:
                for length, start in ranges:
                    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except (BlockingIOError, PermissionError) as error:
                raise OutputError(
                    "another build is writing here",
                    where=self.out,
                    hint="wait until it ends, or give another --out",
                ) from error
            except OSError as error:
                raise cannot_lock(error, self.out) from error
            yield stream

    def claim(
        self,
        settings: Mapping[str, Any],
        lock: FileIO,
        *,
        part: BuildPart | None,
        force: bool,
        say: Callable[[str], object] = SILENT.log,
    ) -> None:
        """Make the folder ours: empty, or begun with the same settings, or cleared by `force`. Raises OutputError.

        `lock`: what `held` gave. Parts that start together take turns here; `say` is told when that takes long.
        """
        wait_for_lock(lambda: fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0), self.state / "lock", say)
        try:
            self._claim(settings, force=force)
            if part is not None:  # lets --finish name the missing part
                write_json(self.state / "parts", {"of": part.of})
        finally:
            fcntl.lockf(lock, fcntl.LOCK_UN, 1, 0)

    def _claim(self, settings: Mapping[str, Any], *, force: bool) -> None:
        file = self.state / "settings.json"
        if file.is_file() and not force:
            self._compare(file, settings)
            return
        if not force and any(entry.name != BUILD_FOLDER for entry in self.out.iterdir()):
            raise OutputError(
                "the folder is not empty and holds no build",
                where=self.out,
                hint="give another --out DIR, or --force",
            )
        (self.out / INDEX_FILE).unlink(missing_ok=True)
        shards = [file for file in self.out.iterdir() if SHARD_FILE.fullmatch(file.name)]
        flow = [*self.out.glob(f"*{SUFFIX}"), self.out / FLOW_INDEX_FILE]  # of frames that will be no more
        flow += (self.out / FLOW_STATE_FOLDER).glob("*.json")
        for entry in [*shards, *flow, *self.state.glob("*.json")]:
            entry.unlink(missing_ok=True)
        write_json(file, settings)

    def _compare(self, file: Path, settings: Mapping[str, Any]) -> None:
        try:
            content = dict(parse_json(content_of(file, error=OutputError), where=file, error=OutputError))
        except (FileNotFoundError, OutputError, ValueError, TypeError):
            content = {}
        settings = dict(parse_json(as_json(settings), where=file, error=OutputError))
        # the user's own settings first: with --frames original the encoder differs too, but as a consequence
        keys = sorted(settings, key=lambda key: (key in MADE_WITH, key))
        key = next((key for key in keys if content.get(key) != settings[key]), None)
        if key is None:
            return
        if key in MADE_WITH:
            raise OutputError(
                f"the build here was begun with {content.get(key) or 'another version'}, this is {settings[key]}:"
                " frames may be encoded differently, and one folder must not hold both",
                where=self.out,
                hint="continue with that version, or give another --out DIR, or --force to build anew here",
            )
        raise OutputError(
            f"the folder holds a build with other settings: {OPTIONS.get(key, key)} {_in_words(content.get(key))},"
            f" now {_in_words(settings[key])}",
            where=self.out,
            hint="give another --out DIR, or --force to build anew here",
        )

    def drop_all_but(self, plans: Sequence[ShardPlan]) -> None:
        """Remove shards of an earlier plan, made when the datasets had other sequences."""
        planned = {plan.name for plan in plans}
        for record in self.state.glob("*.json"):
            if SHARD_FILE.fullmatch(f"{record.stem}.h5") and record.stem not in planned:
                (self.out / f"{record.stem}.h5").unlink(missing_ok=True)
                (self.out / flow_file(record.stem)).unlink(missing_ok=True)
                record.unlink()

    def parts(self) -> int:
        """Into how many parts the build was divided last."""
        file = self.state / "parts"
        try:
            return int(parse_json(content_of(file, error=OutputError), where=file, error=OutputError)["of"])
        except (FileNotFoundError, OutputError, ValueError, KeyError, TypeError):
            return 1

    def unwritten(self, plans: Sequence[ShardPlan]) -> list[ShardPlan]:
        """The plans whose shard does not exist yet."""
        return [plan for plan in plans if not (self.out / f"{plan.name}.h5").is_file()]

    def check_space(self, needed: int, spool: int) -> int:
        """Free bytes. Raises OutputError unless they cover `needed` and the temporary `spool`."""
        free = shutil.disk_usage(self.out).free
        if needed + spool > free:
            raise OutputError(
                f"the shards need about {size_in_words(needed)} and {size_in_words(spool)} while writing,"
                f" {size_in_words(free)} are free",
                where=self.out,
                hint="choose a larger disk with --out DIR, a smaller --height, or fewer sequences",
            )
        return free


def _in_words(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, dict):  # body models
        return ", ".join(f"{name} {str(digest)[:8]}…" for name, digest in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
