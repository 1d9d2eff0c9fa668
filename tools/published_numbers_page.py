"""Writes docs/published-numbers.md from the published scores: `python tools/published_numbers_page.py`."""

from __future__ import annotations

from pathlib import Path

from trace_train.evaluation.measures import MEASURES
from trace_train.protocols.published import TABLES, PublishedRow, published

PAGE = Path(__file__).parent.parent / "docs" / "published-numbers.md"
NAMES = {
    "mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pve": "PVE", "acceleration": "Accel", "wa_mpjpe": "WA-MPJPE",
    "w_mpjpe": "W-MPJPE", "rte": "RTE", "jitter": "jitter", "foot_sliding": "foot sliding", "mota": "MOTA",
    "idf1": "IDF1", "hota": "HOTA", "id_switches": "id switches",
}  # fmt: skip
HEAD = """# Published numbers

<!-- Made by tools/published_numbers_page.py from trace_train/protocols/published_numbers.yaml: change it there. -->

What other systems report: the [protocol](protocols.md) each number follows, its people (`given`: boxes or tracks of the
annotation; `detections`: the system's own), its camera, and where it was read. Errors in mm, Accel in m/s², RTE and
tracking measures in %, jitter in 10 m/s³.

`trace evaluate … --protocol NAME --beside wham,trace` prints the rows that follow the protocol. **Where it is –, no
source says which joints, roots or chunks were used**: compare such a number with none of ours. All rows are read in
other papers' or repositories' tables or in summaries, except TRACE's `trace-published` and those from a system's own
README, table or repository.

TRACE's first table is not repeated: arXiv 2306.02850 v3 corrects an evaluation error (Sec. 6). Not found here: ATE and
APE of TRACE on DynaCam, and TRACE on RICH.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_table(key, title) for key, title in TABLES.items())


def _table(key: str, title: str) -> str:
    rows = [row for row in published() if row.table == key]
    present = {name for row in rows for name in row.scores}
    shown = [measure for measure in MEASURES if measure.key in present]
    cameras = any(row.camera for row in rows)
    titles = ["system", "protocol", *(NAMES[m.key] for m in shown), "people", *(["camera"] * cameras), "source"]
    lines = [f"\n## {title}\n", _line(titles), "|" + "---|" * len(titles)]
    for row in rows:
        values = [_number(row, measure.key, measure.digits) for measure in shown]
        protocol = f"`{row.protocol}`" if row.protocol else "–"
        system = f"{row.system}, {row.version}" if row.version else row.system
        source = row.source + (f" ({row.note})" if row.note else "")
        camera = [row.camera or "–"] * cameras
        lines.append(_line([system, protocol, *values, row.people, *camera, source]))
    return "\n".join(lines) + "\n"


def _number(row: PublishedRow, key: str, digits: int) -> str:
    value = row.scores.get(key)
    return "–" if value is None else f"{value:.{digits}f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
