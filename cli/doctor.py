"""`trace doctor`: capabilities of this machine, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import options

if TYPE_CHECKING:
    from trace_train.doctor.findings import DoctorFinding

SIGNS = {"ok": "✓", "absent": "–", "problem": "✗"}
TITLES = {
    "machine": "machine",
    "library": "libraries",
    "setting": "settings",
    "data": "data",
    "command": "commands",
}
"""Groups of findings, in the order shown."""


@options.command("doctor")
@options.json
def doctor(as_json: bool) -> None:
    """Show what this machine can do: hardware, libraries, settings, data, and which commands can run.

    Nothing is changed and no data is verified. The exit code is always 0.

    \b
    Examples:
      trace doctor
      trace doctor --json
    """
    from trace_train.doctor.commands import commands
    from trace_train.doctor.files import data
    from trace_train.doctor.machine import libraries, machine

    from . import render

    home, places, settings = _settings()
    findings = [*machine(home), *libraries(), *_programs(), *settings, *data(places)]
    findings += commands(findings)
    if as_json:
        render.json_object({group: [item for item in findings if item.group == group] for group in TITLES})
        return
    for group, title in TITLES.items():
        rows = [
            (item.name, SIGNS[item.state], item.found, f"→ {item.hint}" if item.hint else item.meaning)
            for item in findings
            if item.group == group
        ]
        render.table((title, "", "found", ""), rows)
        render.line()
    waiting = [item.name for item in findings if item.group == "command" and item.state != "ok"]
    render.line(f"not ready: {', '.join(waiting)}" if waiting else "yes, everything is there")


def _programs() -> list[DoctorFinding]:
    """What exports and pages are made or checked with, besides our own code. Nothing needs it."""
    import importlib.util

    from trace_data.export.check import CHECKS
    from trace_data.export.fbx import blender
    from trace_train.doctor.findings import DoctorFinding

    known = blender()
    there = {
        "viser": (importlib.util.find_spec("viser") is not None, "trace view --live", "pip install viser"),
        "Blender": (known is not None, "trace export --to fbx", "install Blender, or  pip install bpy"),
    }
    for checker in {one.name: one for one in CHECKS.values()}.values():
        forms = ",".join(form for form, one in CHECKS.items() if one.name == checker.name)
        there[checker.name] = (checker.found(), f"trace export --to {forms} --validate", checker.hint)
    return [
        DoctorFinding(
            group="library",
            name=name,
            state="ok" if found else "absent",
            found=(known[0] if name == "Blender" and known else "installed") if found else "not installed",
            meaning=use,
            hint="" if found else how,
        )
        for name, (found, use, how) in there.items()
    ]


def _settings() -> tuple[Path, dict[str, Path | str | None], list[DoctorFinding]]:
    """The home folder, the values of the settings, and findings about them."""
    from trace_data.errors import ConfigError, in_one_line
    from trace_data.settings import KEYS, load_settings
    from trace_data.shards.storage.url import shown
    from trace_train.doctor.findings import DoctorFinding

    try:
        settings = load_settings()
    except ConfigError as error:
        broken = DoctorFinding(
            group="setting",
            name="settings",
            state="problem",
            found=in_one_line(error),
            meaning="without them no folder is known",
        )
        return Path.cwd(), dict.fromkeys(KEYS), [broken]
    findings = []
    for key, meaning in settings.meanings.items():
        value = settings.values.get(key)
        text = "not set" if value is None else shown(value) if isinstance(value, str) else str(value)
        findings.append(
            DoctorFinding(
                group="setting",
                name=key,
                state="absent" if value is None or (isinstance(value, Path) and not value.is_dir()) else "ok",
                found=f"{text}  ({settings.origin.get(key, 'by nobody')})",
                meaning=meaning,
            )
        )
    return settings.home or Path.cwd(), {key: settings.values.get(key) for key in KEYS}, findings
