"""Reads a page of `trace view` as its script does, and opens it in Chromium."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")


class PageNumbers:
    """The description and the arrays inside a page."""

    def __init__(self, page: str) -> None:
        self.scene: dict[str, Any] = json.loads(_script(page, "scene"))
        self._block = base64.b64decode(_script(page, "data"))
        self._page = page

    def array(self, place: tuple[str, int, int]) -> npt.NDArray[Any]:
        kind, at, count = place
        return np.frombuffer(self._block, f"<{kind}", count, at)

    def pictures(self) -> list[npt.NDArray[np.uint8]]:
        """The pictures inside the page, grey, as `scene["stills"]` numbers them."""
        files = [base64.b64decode(line) for line in _script(self._page, "frames").split("\n")]
        return [np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_GRAYSCALE)) for file in files]

    def pose(self, person: int) -> npt.NDArray[np.float64]:
        """(R, 24, 3) axis-angle, radians."""
        steps = self.array(self.scene["people"][person]["pose"])
        return steps.reshape(-1, 24, 3) * (np.pi / 32767)


def _script(page: str, name: str) -> str:
    found = re.search(rf'<script type="[\w/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found, name
    return found[1]


def opened(page: Path, address: str = "", *, ask: str = "", screenshot: Path | None = None) -> str:
    """The title of a page that Chromium has opened at `address`; `ask`: a script expression that becomes the title."""
    shown = page
    if ask:
        shown = page.with_name(f"asked-{page.name}")
        asking = (
            f"<script>addEventListener('load', () => setTimeout(() => {{ document.title = {ask}; }}, 1500));</script>"
        )
        shown.write_text(page.read_text().replace("</body>", f"{asking}</body>"))
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
        "--virtual-time-budget=6000", f"--user-data-dir={page.parent / 'browser'}", "--window-size=1200,900",
        *([f"--screenshot={screenshot}"] if screenshot else []), "--dump-dom", shown.absolute().as_uri() + address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stdout[:500]
    return title[1]
