"""Report section with a run's configuration and trained parameters."""

from __future__ import annotations

from collections.abc import Mapping
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
    before = flat(load_config(name).model_dump(mode="json"))
    now = flat(settings)
    return [(key, str(before[key]), str(now[key])) for key in now if key in before and before[key] != now[key]]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a configuration as `--set` takes them, `stages.0.clips` for example, and their values."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        parts = value
        if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            parts = {str(number): part for number, part in enumerate(value)}
        if isinstance(parts, dict) and parts:
            out |= {f"{key}.{name}": inner for name, inner in flat(parts).items()}
        else:
            out[str(key)] = value
    return out
