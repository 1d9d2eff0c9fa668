"""Everything that only a GPU can tell, in one call of under ten minutes. Writes one JSON and one markdown table.

    python benchmarks/gpu.py --out gpu                     # gpu.json, gpu.md; needs no files but this repository
    python benchmarks/gpu.py --device cpu --tiny --out x   # the same code on a CPU in a minute: tells that it works
    python benchmarks/gpu.py --only agreement steps --out gpu

Sections are in `gpu_sections.py`, in the order of their worth; `--help` names them. Each runs in a process of its own,
so that one that fails, hangs or breaks the GPU's context leaves the others alone: its reason is kept instead of
results. What does not fit the time left is not begun. Data are drawn here; weights are random, and change no time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import gpu_sections
import torch
from gpu_sections import SECTIONS, Setting

LEAST = 5.0
"""Seconds that must be left for a section to be begun."""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the two files, without their suffixes")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks and few repeats")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--budget", type=float, default=570.0, help="seconds for everything")
    options = parser.parse_args(words)
    began = time.monotonic()
    found: dict[str, Any] = {"bench": "gpu", "device": options.device, "tiny": options.tiny, **about(), "sections": {}}
    with tempfile.TemporaryDirectory(prefix="trace-gpu-") as temporary:
        setting = Setting(device=options.device, tiny=options.tiny, folder=Path(temporary))
        # not measured: what the sections read
        found["files"] = apart("prepare", setting, options.budget / 3)
        for name in options.only:
            left = options.budget - (time.monotonic() - began)
            print(f"{name} ({left:.0f} s left)", flush=True)
            if left < LEAST:
                found["sections"][name] = {"ok": False, "reason": "no time was left", "seconds": 0.0}
            else:
                # one that hangs must leave time for the others
                found["sections"][name] = apart(name, setting, min(left, options.budget / 3))
            found["seconds"] = round(time.monotonic() - began, 1)
            write(found, options.out)
    failed = [name for name, section in found["sections"].items() if not section["ok"]]
    print(f"{options.out}.json, {options.out}.md; {len(failed)} sections failed: {', '.join(failed) or 'none'}")
    return 0


def about() -> dict[str, Any]:
    """Where the numbers come from."""
    git = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "git": git.stdout.strip(),
    }


def apart(name: str, setting: Setting, seconds: float) -> dict[str, Any]:
    """Run a section in a process of its own; its rows, or the reason why there are none."""
    began = time.monotonic()
    # forked before anything touches the GPU: torch need not be imported anew
    fork = multiprocessing.get_context("fork")
    file = setting.folder / f"{name}.json"
    process = fork.Process(target=inside, args=(name, setting, file))
    process.start()
    process.join(seconds)
    result: dict[str, Any] = {"ok": False, "reason": f"ended with code {process.exitcode}"}
    if process.is_alive():
        process.kill()
        process.join()
        result["reason"] = f"took longer than {seconds:.0f} s"
    elif file.is_file():
        result = json.loads(file.read_text(encoding="utf-8"))
    return {**result, "seconds": round(time.monotonic() - began, 1)}


def inside(name: str, setting: Setting, file: Path) -> None:
    """The section, in its process."""
    try:
        section = gpu_sections.prepare if name == "prepare" else SECTIONS[name]
        result: dict[str, Any] = {"ok": True, "rows": [row.line() for row in section(setting)]}
    except Exception as error:  # noqa: BLE001  whatever it is, the other sections go on
        result = {"ok": False, "reason": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    file.write_text(json.dumps(result), encoding="utf-8")


def write(found: dict[str, Any], out: Path) -> None:
    """Both files, after each section: what is measured is kept, whatever happens next."""
    out.with_name(f"{out.name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    out.with_name(f"{out.name}.md").write_text(table(found), encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """All rows as one markdown table."""
    lines = [
        f"`python benchmarks/gpu.py`, {found['date']}, {found['device']}, {found['machine']}, torch {found['torch']},"
        f" commit {found['git']}, {found['seconds']:.0f} s in all:",
        "",
        "| section | what | value | more |",
        "|---|---|---|---|",
    ]
    for name, section in found["sections"].items():
        for row in section.get("rows", ()):
            more = ", ".join(f"{key} {shown(value)}" for key, value in row["more"].items())
            lines.append(f"| {name} | {row['what']} | {shown(row['value'])} {row['unit']} | {more} |")
        if not section["ok"]:
            reason = section["reason"].splitlines()[0].replace("|", "/")
            lines.append(f"| {name} | failed | | {reason} |")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A number with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
