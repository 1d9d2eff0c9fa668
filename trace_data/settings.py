"""Default locations. Only `cli` reads settings; libraries take arguments.

Order: command-line option > environment `TRACE_*` > `./trace.toml` > `$TRACE_HOME/config.toml` > default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from trace_data.errors import ConfigError, nearest
from trace_data.files import path_of
from trace_data.text_files import content_of, parse_toml

FOLDERS = {
    "sources": "folder of body-model files as downloaded",
    "packs": "folder of prepared body models (.pth)",
    "root": "folder that holds the datasets",
    "root_3dpw": "folder of 3DPW, where it is not below `root`",
    "root_bedlam": "folder of BEDLAM, likewise",
    "root_bedlam2": "folder of BEDLAM2, likewise",
    "root_dynacam": "folder of DynaCam, likewise",
    "root_emdb": "folder of EMDB, likewise",
    "root_h36m": "folder of Human3.6M, likewise",
    "root_mpi_inf_3dhp": "folder of MPI-INF-3DHP, likewise",
    "root_mupots": "folder of MuPoTS-3D, likewise",
    "root_penn_action": "folder of Penn Action, likewise",
    "root_rich": "folder of RICH, likewise",
    "shards": "folder or URL of built shards",
    "weights": "folder of imported weights",
    "runs": "folder of training runs",
    "cache": "folder for caches that may be deleted at any time",
}
"""Settings that name a folder; `root` and those of single datasets have no default."""
KEYS = {**FOLDERS, "cache_size": "bytes of a URL's shards that the cache may hold, as in 200GB"}
"""Every setting and its meaning."""
OWN_ROOT = re.compile(r"root_[a-z0-9_]+")
"""Settings of the datasets of one's own: `root_my_dance`, `TRACE_ROOT_MY_DANCE`."""
SLIP = 0.9
"""Likeness to the name of a setting from which on such a name is taken for a slip of the pen."""
CACHE_SIZE = "200GB"
"""Default of `cache_size`."""
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Resolved settings and their origins."""

    home: Path | None
    """`$TRACE_HOME`, default `~/.trace`; None where there is neither that nor a home folder."""
    values: Mapping[str, Path | str]
    """Setting to folder; to text for `cache_size` and for shards at a URL."""
    origin: Mapping[str, str]
    """Setting to the file or variable that set it, or `default`."""

    def folder(self, key: str, given: Path | None = None) -> Path:
        """The folder for `key`: the command-line option when given, else the setting.

        Raises ConfigError when neither exists (`root` has no default), or it is a URL.
        """
        location = self.place(key, given)
        if isinstance(location, str):
            raise ConfigError(
                f"the setting {key} is a URL, but a local folder is needed here",
                where=self.origin[key],
                hint="name one on the command line",
            )
        return location

    def place(self, key: str, given: Path | str | None = None) -> Path | str:
        """The folder or URL for `key`, resolved as by `folder`."""
        if given is not None:
            return given
        if key in self.values:
            return self.values[key]
        where = "give" if self.home else "this user has no home folder: set TRACE_HOME to one for all of them, or give"
        file = f"{self.home or Path.cwd()}/{'config.toml' if self.home else 'trace.toml'}"
        raise ConfigError(
            f"nothing says where the {KEYS[key]} is",
            hint=f'{where} --{key} DIR, set TRACE_{key.upper()}, or write {key} = "DIR" into {file}',
        )

    @property
    def meanings(self) -> dict[str, str]:
        """Every setting and what it names, those of one's own datasets too where somebody has set them."""
        own = {key: f"folder of the dataset {key.removeprefix('root_')}" for key in self.values if key not in KEYS}
        return {**KEYS, **own}

    def dataset_folders(self, names: Iterable[str]) -> dict[str, Path]:
        """Canonical name to folder, for those of the named datasets that have a folder setting of their own."""
        keys = {name: f"root_{re.sub('[^a-z0-9]+', '_', name.lower())}" for name in names}
        return {name: self.folder(key) for name, key in keys.items() if key in self.values}

    def cache_bytes(self, given: str | None = None) -> int:
        """The cache limit: the command-line option when given, else the setting. Raises ConfigError."""
        where = "--cache-size" if given is not None else f"cache_size from {self.origin['cache_size']}"
        return parse_bytes(given if given is not None else str(self.values["cache_size"]), where=where)


def load_settings(environment: Mapping[str, str] | None = None, working_folder: Path | None = None) -> Settings:
    """Read the configuration files and environment. Raises ConfigError on an unknown key or a file that is no TOML."""
    env = os.environ if environment is None else environment
    home = _home(env.get("TRACE_HOME"))
    values: dict[str, Path | str] = {key: home / key for key in FOLDERS if home and not key.startswith("root")}
    values["cache_size"] = CACHE_SIZE
    origin = dict.fromkeys(values, "default")
    own = [home / "config.toml"] if home else []
    for file in (*own, (working_folder or Path.cwd()) / "trace.toml"):
        for key, value in _read(file).items():
            values[key] = _value(key, value, str(file), file.parent)
            origin[key] = str(file)
    own_roots = [name.removeprefix("TRACE_").lower() for name in env if name.startswith("TRACE_ROOT_")]
    for key in (*KEYS, *(key for key in own_roots if is_setting(key) and key not in KEYS)):
        if text := env.get(f"TRACE_{key.upper()}"):
            values[key] = _value(key, text, f"TRACE_{key.upper()}")
            origin[key] = f"TRACE_{key.upper()}"
    return Settings(home=home, values=values, origin=origin)


def is_setting(key: str) -> bool:
    """Whether there is such a setting, or it may name the folder of a dataset of one's own."""
    return key in KEYS or (OWN_ROOT.fullmatch(key) is not None and not get_close_matches(key, KEYS, cutoff=SLIP))


def _home(given: str | None) -> Path | None:
    if given is not None:
        return path_of(given, where="TRACE_HOME")
    try:
        return Path("~/.trace").expanduser()
    except RuntimeError:  # neither HOME nor an entry for this user, as in a container: missed only by who needs it
        return None


def _read(file: Path) -> dict[str, str]:
    try:
        content = parse_toml(content_of(file, error=ConfigError), where=file, error=ConfigError)
    except FileNotFoundError:
        return {}
    for key, value in content.items():
        if not is_setting(key):
            near = nearest(key, KEYS)
            raise ConfigError(
                f"unknown setting {key!r}" + (f", did you mean {near!r}?" if near else ""),
                where=file,
                hint=f"settings are {', '.join(KEYS)}",
            )
        if not isinstance(value, str):
            expected = "the name of a folder" if key != "cache_size" else "a size as in 200GB"
            raise ConfigError(f"{key} is {value!r}, expected {expected} in quotes", where=file)
    return content


def _value(key: str, text: str, where: str, beside: Path | None = None) -> Path | str:
    """A setting from its text; a file's folders are relative to the file."""
    if key == "cache_size" or (key == "shards" and "://" in text):
        return text
    folder = path_of(text, where=where)
    return folder if beside is None else (beside / folder).resolve()


def parse_bytes(text: str, *, where: str) -> int:
    """`200GB`, `1.5 TiB` or `5000000` as a number of bytes. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip(), re.IGNORECASE)
    unit = UNITS.get(match[2].upper() or "B") if match else None
    size = float(match[1]) * unit if match and unit else 0
    if not 1 <= size < 1 << 63:
        raise ConfigError(f"{text!r} is no size", where=where, hint="write it as in 200GB, 1.5TB or 500MiB")
    return int(size)
