"""`trace config`: the settings in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import options

if TYPE_CHECKING:
    from trace_data.settings import Settings


@options.command("config")
@options.json
def config(as_json: bool) -> None:
    """Show every setting, its value and its origin.

    Precedence: command-line option, environment (TRACE_PACKS, ...), trace.toml in the working folder, config.toml in
    TRACE_HOME (default ~/.trace).

    \b
    Examples:
      trace config
      TRACE_ROOT=/data/hmr trace config --json
    """
    from trace_data.settings import load_settings

    from . import render

    settings = load_settings()
    if as_json:
        render.json_object(
            {
                "home": settings.home,
                "settings": {
                    key: {
                        "value" if key == "cache_size" else "folder": _value(settings, key),
                        "from": settings.origin.get(key),
                    }
                    for key in settings.meanings
                },
            }
        )
        return
    rows = []
    for key, meaning in settings.meanings.items():
        value = _value(settings, key)
        if isinstance(value, Path):
            state = "exists" if value.is_dir() else "not there yet"
        else:
            state = "not set" if value is None else ""
        rows.append((key, str(value or "–"), state, settings.origin.get(key, "–"), meaning))
    render.table(("setting", "value", "state", "from", "meaning"), rows)


def _value(settings: Settings, key: str) -> Path | str | None:
    """The value of a setting; a URL without its secrets."""
    from trace_data.shards.storage.url import shown

    value = settings.values.get(key)
    return shown(value) if isinstance(value, str) else value
