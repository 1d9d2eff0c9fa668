"""The chain of the quickstart: what is done is skipped, what changed is done anew, nothing foreign is touched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trace_cli.chain import Outcome, Step, open_folder, run_steps
from trace_cli.main import run
from trace_data.adapters import ADAPTERS
from trace_data.errors import OutputError


class Workshop:
    """Steps that count how often they work, and can be told to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[str, int]] = []
        """Names of the steps that worked, and how often they had worked on what they then found."""
        self.failing: set[str] = set()

    def step(self, name: str, **settings: int) -> Step:
        output = self.folder / name

        def work() -> Outcome:
            before = len(output.read_text()) if output.exists() else 0
            self.calls.append((name, before))
            output.write_text("x" * (before + 1))
            if name in self.failing:
                raise OutputError("stopped in the middle")
            return Outcome(text=f"{name} done", facts=dict(settings))

        return Step(name=name, settings=settings, output=output, work=work)

    def go(self, *steps: Step) -> list[bool]:
        """Runs the steps; which of them were skipped."""
        self.calls.clear()
        return [done.skipped for done in run_steps(steps, self.folder)]


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    open_folder(tmp_path / "q", force=False)
    return Workshop(tmp_path / "q")


def test_a_second_run_skips_everything_and_remembers_the_facts(shop: Workshop) -> None:
    steps = shop.step("a", size=1), shop.step("b", steps=5)
    assert shop.go(*steps) == [False, False]
    done = list(run_steps(steps, shop.folder))
    assert [d.skipped for d in done] == [True, True]
    assert done[1].outcome == Outcome(text="b done", facts={"steps": 5})


def test_a_changed_setting_redoes_that_step_and_all_after_it_anew(shop: Workshop) -> None:
    shop.go(shop.step("a"), shop.step("b", steps=5), shop.step("c"))
    assert shop.go(shop.step("a"), shop.step("b", steps=6), shop.step("c")) == [True, False, False]
    assert shop.calls == [("b", 0), ("c", 0)]


def test_an_interrupted_step_goes_on_without_replacing_its_work(shop: Workshop) -> None:
    steps = shop.step("a"), shop.step("b", steps=5)
    shop.failing = {"b"}
    with pytest.raises(OutputError):
        shop.go(*steps)
    shop.failing = set()
    assert shop.go(*steps) == [True, False]
    assert shop.calls == [("b", 1)]


def test_interrupted_work_with_other_settings_is_replaced(shop: Workshop) -> None:
    shop.failing = {"a"}
    with pytest.raises(OutputError):
        shop.go(shop.step("a", steps=5))
    shop.failing = set()
    shop.go(shop.step("a", steps=6))
    assert shop.calls == [("a", 0)]


def test_a_kill_while_old_work_is_removed_leaves_nothing_to_go_on_with(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.go(shop.step("a", size=1), shop.step("b"))

    def killed(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        raise KeyboardInterrupt

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        shop.go(shop.step("a", size=2), shop.step("b"))
    monkeypatch.undo()
    assert (shop.folder / "a").exists(), "the kill came between the record and the work"
    shop.go(shop.step("a", size=2), shop.step("b"))
    assert shop.calls == [("a", 0), ("b", 0)]


def test_a_step_whose_output_is_gone_is_done_again(shop: Workshop) -> None:
    shop.go(shop.step("a"), shop.step("b"))
    (shop.folder / "a").unlink()
    assert shop.go(shop.step("a"), shop.step("b")) == [False, True]


def test_a_record_cut_short_counts_as_none(shop: Workshop) -> None:
    shop.go(shop.step("a"))
    record = shop.folder / ".steps" / "a.json"
    record.write_text(record.read_text()[:-5])
    assert shop.go(shop.step("a")) == [False]


def test_force_does_everything_anew(shop: Workshop) -> None:
    shop.go(shop.step("a"))
    open_folder(shop.folder, force=True)
    assert [done.skipped for done in run_steps([shop.step("a")], shop.folder, force=True)] == [False]
    assert shop.calls[-1] == ("a", 0)


def test_a_folder_that_holds_something_else_is_refused_and_untouched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert run(["quickstart", "--out", str(tmp_path)]) == 3
    shown = capsys.readouterr()
    assert "--force" in shown.err
    assert shown.out == ""
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_the_whole_way_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quickstart", "--out", str(tmp_path / "q"), "--steps", "2", "--count", "8", "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["synthetic"] is True
    assert found["steps"]["sample world"]["sequences"] == 8
    assert set(found["steps"]["sample world"]["sequences_of"]) == set(ADAPTERS)
    index = json.loads((tmp_path / "q/shards/index.json").read_text())
    assert set(index["datasets"]) == set(ADAPTERS)
    assert found["steps"]["train"]["steps"] == 2
    rows = found["steps"]["evaluate"]["test"]["rows"]
    assert set(rows) == {"model", "mean pose", "mean pose in the camera", "stands still"}
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") >= 3
    assert "synthetic data" in page
    linked = re.findall(r'href="(videos/[^"]+)"', page)
    assert {"videos/synthetic-01-moving.html", "videos/synthetic-02-static.glb"} <= set(linked)
    assert all((tmp_path / "q" / file).stat().st_size > 1000 for file in linked)
    assert run(words) == 0
    again = json.loads(capsys.readouterr().out)
    assert all(step["skipped"] for step in again["steps"].values())
    assert again["steps"]["evaluate"]["test"] == found["steps"]["evaluate"]["test"]
