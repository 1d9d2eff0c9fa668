"""FBX through the user's Blender, from our GLB: Blender turns axes and units itself; rate of the video.

Source: docs/reference/export.md#fbx-and-alembic. FBX is a closed format, so Blender writes it, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from trace_data.errors import OutputError

SCRIPT = Path(__file__).with_name("blender_fbx.py")
TIME_LIMIT = 1800
"""Seconds."""


def blender() -> list[str] | None:
    """The command that runs a script in Blender: the program, else its Python module; None where there is neither."""
    if program := shutil.which("blender"):
        return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python"]
    if importlib.util.find_spec("bpy") is not None:
        return [sys.executable]
    return None


def conversion(glb: str, fbx: str, *, fps: float, width: int, height: int) -> str:
    """The command that makes an FBX of a GLB, to copy."""
    command = blender() or ["blender", "--background", "--factory-startup", "--python"]
    return shlex.join([*command, str(SCRIPT), "--", glb, fbx, f"{fps:.9g}", str(width), str(height)])


def fbx_bytes(glb: bytes, *, fps: float, width: int, height: int) -> bytes:
    """The FBX of a GLB. Raises OutputError when Blender is missing or does not write it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "scene.glb"), Path(folder, "scene.fbx")
        source.write_bytes(glb)
        command = shlex.split(conversion(str(source), str(target), fps=fps, width=width, height=height))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, errors="replace")
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"Blender does not run: {error}", where=command[0]) from error
        if done.returncode or not target.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise OutputError(f"Blender wrote no FBX: {last}", where=command[0], hint="export glb and import it there")
        return target.read_bytes()
