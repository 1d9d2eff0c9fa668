"""`trace config`: the settings in force."""

from __future__ import annotations

from . import options


@options.command("config")
@options.json
def config(as_json: bool) -> None:
    """Show every setting, the folder it names and where that came from.

    An option wins over the environment (TRACE_PACKS, ...), that over trace.toml in the working folder, that over
    config.toml in TRACE_HOME (default ~/.trace).

    \b
    Examples:
      trace config
      TRACE_ROOT=/data/hmr trace config --json
    """
    from trace_data.settings import KEYS, load_settings

    from . import render

    settings = load_settings()
    if as_json:
        render.json_object(
            {
                "home": settings.home,
                "settings": {
                    key: {"folder": settings.values.get(key), "from": settings.origin.get(key)} for key in KEYS
                },
            }
        )
        return
    rows = []
    for key, meaning in KEYS.items():
        folder = settings.values.get(key)
        state = "not set" if folder is None else "exists" if folder.is_dir() else "not there yet"
        rows.append((key, str(folder or "–"), state, settings.origin.get(key, "–"), meaning))
    render.table(("setting", "folder", "state", "from", "meaning"), rows)
