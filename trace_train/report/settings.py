"""Report section with a run's configuration and trained parameters."""

from __future__ import annotations

from typing import Any

import yaml

from trace_data.pages.html import element, folded, joined, table
from trace_train.config import load_config, presets
from trace_train.report.folder import RunFolder
from trace_train.report.page import Section


def settings_section(run: RunFolder) -> Section:
    """Trained parameters, differences from the preset, and the whole configuration."""
    differs = _differences(run.settings)
    parts = [folded("what is trained (parameters.txt)", element("pre", run.parameters))] if run.parameters else []
    if differs:
        rows = [(key, before, now) for key, before, now in differs]
        parts.append(table(("key", f"preset {run.settings.get('preset')}", "this run"), rows))
    text = yaml.safe_dump(dict(run.settings), sort_keys=False)
    parts.append(folded("all settings (config.yaml)", element("pre", text)))
    return Section(title="Settings", body=joined(parts))


def _differences(settings: Any) -> list[tuple[str, str, str]]:
    name = settings.get("preset")
    if name not in presets():
        return []
    before = _flat(load_config(name).model_dump(mode="json"))
    now = _flat(settings)
    return [(key, str(before[key]), str(now[key])) for key in now if key in before and before[key] != now[key]]


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out
