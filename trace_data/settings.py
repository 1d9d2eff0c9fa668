"""Where things lie when nobody says otherwise. Only `cli` reads settings; libraries take arguments.

Order: command-line option > environment `TRACE_*` > `./trace.toml` > `$TRACE_HOME/config.toml` > default.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_data.errors import ConfigError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = {
    "sources": "folder of body-model files as downloaded",
    "packs": "folder of prepared body models (.pth)",
    "root": "folder that holds the datasets",
    "shards": "folder of built shards",
    "runs": "folder of training runs",
    "cache": "folder for caches that may be deleted at any time",
}
"""Every setting and what it names; `root` has no default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Resolved folders, and where each came from."""

    home: Path
    """`$TRACE_HOME`, default `~/.trace`."""
    values: Mapping[str, Path]
    """Setting name to folder."""
    origin: Mapping[str, str]
    """Setting name to the file, variable or word `default` that set it."""

    def folder(self, key: str, given: Path | None = None) -> Path:
        """The folder for `key`: the command-line option when given, else the setting.

        Raises ConfigError when neither exists (only `root` has no default).
        """
        if given is not None:
            return given
        if key in self.values:
            return self.values[key]
        raise ConfigError(
            f"nothing says where the {KEYS[key]} is",
            hint=f'give --{key} DIR, set TRACE_{key.upper()}, or write {key} = "DIR" into {self.home}/config.toml',
        )


def load_settings(environment: Mapping[str, str] | None = None, working_folder: Path | None = None) -> Settings:
    """Read the configuration files and environment. Raises ConfigError on an unknown key or a file that is no TOML."""
    env = os.environ if environment is None else environment
    home = Path(env.get("TRACE_HOME", "~/.trace")).expanduser()
    values: dict[str, Path] = {key: home / key for key in KEYS if key != "root"}
    origin = dict.fromkeys(values, "default")
    for file in (home / "config.toml", (working_folder or Path.cwd()) / "trace.toml"):
        for key, value in _read(file).items():
            values[key] = (file.parent / Path(value).expanduser()).resolve()
            origin[key] = str(file)
    for key in KEYS:
        if text := env.get(f"TRACE_{key.upper()}"):
            values[key] = Path(text).expanduser()
            origin[key] = f"TRACE_{key.upper()}"
    return Settings(home=home, values=values, origin=origin)


def _read(file: Path) -> dict[str, str]:
    try:
        found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot be read as TOML: {error}", where=file) from error
    for key, value in found.items():
        if key not in KEYS:
            near = nearest(key, KEYS)
            raise ConfigError(
                f"unknown setting {key!r}" + (f", did you mean {near!r}?" if near else ""),
                where=file,
                hint=f"settings are {', '.join(KEYS)}",
            )
        if not isinstance(value, str):
            raise ConfigError(f"{key} is {value!r}, expected the name of a folder in quotes", where=file)
    return found
