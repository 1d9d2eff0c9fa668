"""Citations and links: whatever the code, the tests and the pages point at exists, down to the heading."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from repository import ROOT

FOLDERS = ("trace_data", "trace_train", "cli", "tests", "tools", "benchmarks", "docs")
ENDINGS = {".py", ".md", ".yaml", ".yml", ".toml"}
THIS = Path(__file__).resolve()
CITATION = re.compile(r"(?<![\w/.])(docs/[\w./-]+\.md)(?:#([\w-]+))?")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)")
FILE = re.compile(r"(?<![\w/.])((?:trace_data|trace_train|cli|tests)/[\w/.-]+\.(?:py|yaml|npz|gz))")
FORMER = re.compile(
    r"fact sheet|\(sheet, [A-D]?\d"
    r"|\b(?:assets|joints|datasets|network|training|evaluation|inference|export|performance)\.md`?,?"
    r" (?:sections? )?[A-DP]?\d",
    re.IGNORECASE,
)
"""Citations of pages that are not in the repository, by number of section."""


def pages() -> list[Path]:
    """The pages whose links are followed."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def texts() -> list[Path]:
    """The files that may cite a page: code, tests, tools, presets and pages, but not this file's made-up examples."""
    inside = (file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*")))
    files = [file for file in (*ROOT.glob("*"), *inside) if file.suffix in ENDINGS and file.is_file()]
    return [file for file in files if file.resolve() != THIS]


def slugs(text: str) -> set[str]:
    """Anchors of a page's headings, by GitHub's rules.

    Lower case, punctuation dropped, spaces to hyphens, and a number appended to repeated headings.
    """
    times: Counter[str] = Counter()
    anchors = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#{1,6} +(.*?)(?: +#+)? *$", without_code(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        anchors.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return anchors


def without_code(text: str) -> str:
    """The text of a page without its fenced blocks, where `#` begins a comment and brackets are code."""
    return re.sub(r"^( *)(```|~~~).*?^\1\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Anchors of a page of the repository."""
    return frozenset(slugs(page.read_text(encoding="utf-8")))


def unresolved(target: Path, anchor: str | None) -> str | None:
    """What is missing of a target: the file, or the heading in it; None if it is all there."""
    if not target.exists():
        return "no such file"
    if anchor and (target.suffix != ".md" or anchor not in anchors_of(target)):
        return "no such heading"
    return None


def broken_citations(text: str) -> list[str]:
    """Citations of the form `docs/PAGE.md#heading`, or of a page alone, that lead nowhere."""
    citations = CITATION.findall(text)
    return [f"{page}#{slug}: {why}" for page, slug in citations if (why := unresolved(ROOT / page, slug or None))]


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links of a page in `folder` that lead nowhere."""
    broken = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", without_code(text))):
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        if not path:
            why = None if anchor in slugs(text) else "no such heading"
        else:
            why = unresolved((folder / path).resolve(), anchor or None)
        if why:
            broken.append(f"{link}: {why}")
    return broken


def test_every_citation_leads_to_a_heading() -> None:
    broken = {str(file.relative_to(ROOT)): broken_citations(file.read_text(encoding="utf-8")) for file in texts()}
    assert {file: citations for file, citations in broken.items() if citations} == {}


def test_every_link_leads_to_a_heading() -> None:
    broken = {
        str(page.relative_to(ROOT)): broken_links(page.read_text(encoding="utf-8"), page.parent) for page in pages()
    }
    assert {page: links for page, links in broken.items() if links} == {}


def test_every_file_of_the_code_that_a_page_names_exists() -> None:
    """The page on extending makes files up: its own test writes and runs them."""
    checked = [page for page in pages() if page.name != "extending.md"]
    named = {(page.name, file) for page in checked for file in FILE.findall(page.read_text(encoding="utf-8"))}
    assert {(page, file) for page, file in named if not (ROOT / file).exists()} == set()


def test_nothing_cites_a_section_by_its_number() -> None:
    former = {str(file.relative_to(ROOT)): FORMER.findall(file.read_text(encoding="utf-8")) for file in texts()}
    assert {file: citations for file, citations in former.items() if citations} == {}


def test_the_search_sees_the_whole_project() -> None:
    files = {file.relative_to(ROOT).as_posix() for file in texts()}
    assert {"README.md", "trace_train/presets/trace.yaml", "docs/reference/joints.md", "cli/main.py"} <= files
    cited = {match for file in texts() for match in CITATION.findall(file.read_text(encoding="utf-8"))}
    assert sum(bool(slug) for _, slug in cited) > 60


@pytest.mark.parametrize(
    "text, why",
    [
        ("(docs/reference/joints.md#no-such-joints)", "no such heading"),
        ('"""Source: docs/reference/hands.md#fingers."""', "no such file"),
        ("see docs/nowhere.md", "no such file"),
    ],
)
def test_a_broken_citation_is_found(text: str, why: str) -> None:
    (broken,) = broken_citations(f"docs/reference/joints.md#the-44-joints {text} docs/training.md")
    assert why in broken


@pytest.mark.parametrize(
    "text, why",
    [
        ("[joints](reference/joints.md#no-such-joints)", "no such heading"),
        ("[joints](reference/hands.md)", "no such file"),
        ("![a picture](nowhere.jpg)", "no such file"),
        ("[above](#the-bottom)", "no such heading"),
    ],
)
def test_a_broken_link_is_found(text: str, why: str) -> None:
    page = f"# Top\n[a](reference/joints.md#the-44-joints) [b](#top) [c](https://nowhere.example/x.md)\n{text}\n"
    (broken,) = broken_links(page, ROOT / "docs")
    assert why in broken


@pytest.mark.parametrize("text", ["fact sheet joints.md", "(training.md, 1.5)", "(sheet, D3)", "network.md section 6"])
def test_a_former_citation_is_found(text: str) -> None:
    assert FORMER.search(text)


def test_anchors_are_those_of_github() -> None:
    page = (
        "# `trace_data`: what, it's for?\n## Twice\n## Twice\n```bash\n# no heading\n```\n### [Link](x.md) – done ##\n"
    )
    assert slugs(page) == {"trace_data-what-its-for", "twice", "twice-1", "link--done"}
