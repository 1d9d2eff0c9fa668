"""The manner of the command line: fast help, near misses named, one-paragraph errors, clean stdout."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from repository import ROOT

from trace_cli.main import COMMANDS, run, trace
from trace_data.errors import AssetError, ConfigError, TraceError, TrainingDiverged

HEAVY = ("torch", "numpy", "scipy", "h5py", "cv2", "PIL", "yaml", "rich", "pydantic")
WRITTEN = [name for name in COMMANDS if (ROOT / "cli" / f"{COMMANDS[name][0]}.py").exists()]
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRACE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    probe = (
        "import sys; from trace_cli.main import run; run(['--help']);"
        f" print('LOADED', [m for m in {(*HEAVY, 'trace_cli.options')!r} if m in sys.modules])"
    )
    before = _of_children()
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    assert all(name in done.stdout for name in COMMANDS)
    times = [_of_children() - before]
    while times[-1] > 0.4 and len(times) < 4:  # a busy machine may spoil one measurement, hardly four
        before = _of_children()
        subprocess.run([sys.executable, "-m", "trace_cli", "--help"], capture_output=True, check=True)
        times.append(_of_children() - before)
    assert min(times) < 0.4, times


def _of_children() -> float:
    """CPU seconds of the processes that have ended; a busy machine changes them less than the time on a clock."""
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_explains_itself_with_examples(name: str, capsys: Output) -> None:
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"trace {name}" in text.split("Examples:")[1]
    assert "--json" in text


def test_an_option_means_the_same_in_every_command() -> None:
    kinds: dict[str, dict[str, set[str]]] = {}
    for name in WRITTEN:
        command = trace.get_command(click.Context(trace), name)
        assert command is not None
        for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
            kinds.setdefault(option.opts[0], {}).setdefault(_kind(option), set()).add(name)
    # README names the exceptions: what a build compares, and a training that only looks
    assert kinds.pop("--check") == {"content or geometry": {"build-shards"}, "boolean": {"train"}}
    # and with what something is compared: a manifest, or shards, which may be a URL
    assert kinds.pop("--against") == {"file ": {"verify-datasets"}, "text": {"evaluate"}}
    # and the flow to compute, or the weights to compute it with
    assert kinds.pop("--flow") == {"raft or dis": {"build-shards", "add-flow"}, "file ": {"import-weights"}}
    # and levels, and layouts, of different things
    assert sorted(kinds.pop("--depth").values(), key=sorted) == [{"verify-datasets"}, {"verify-shards"}]
    assert sorted(kinds.pop("--layout").values(), key=sorted) == [{"export"}, {"verify-assets"}]
    assert {option: found for option, found in kinds.items() if len(found) > 1} == {}


def _kind(option: click.Option) -> str:
    if isinstance(option.type, click.Path):
        return f"{'file' if option.type.file_okay else ''} {'folder' if option.type.dir_okay else ''}"
    if isinstance(option.type, click.Choice):
        return " or ".join(map(str, option.type.choices))
    return option.type.name


@pytest.mark.parametrize(
    ("command", "former", "name"),
    [
        ("make-sample", "--sequences", "count"),
        ("quickstart", "--sequences", "count"),
        ("make-sample", "--frames", "clip_frames"),
        ("preview", "--frames", "clip_frames"),
        ("evaluate", "--every", "one_in"),
    ],
)
def test_a_former_name_is_understood_and_not_shown(command: str, former: str, name: str, capsys: Output) -> None:
    held = trace.get_command(click.Context(trace), command)
    assert held is not None
    words = [] if command in ("quickstart", "preview") else ["."]
    assert held.make_context(command, [*words, former, "12"]).params[name] == 12
    assert run([command, "--help"]) == 0
    assert not re.search(rf"^ +{former}\b", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "near"),
    [(["confg"], "'config'"), (["build-shard"], "'build-shards'"), (["config", "--jsn"], "'--json'")],
)
def test_a_slip_names_its_nearest_neighbour(words: list[str], near: str, capsys: Output) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"did you mean {near}" in shown.err


def test_a_word_like_nothing_is_refused_without_a_guess(capsys: Output) -> None:
    assert run(["qqqqqqqq"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("no such key", where="trace.toml", hint="remove it"), 2, ["trace.toml: no such key", "remove it"]),
        (AssetError("missing"), 3, ["missing"]),
        (TrainingDiverged("term pose is nan"), 4, ["term pose is nan"]),
        (TraceError("anything"), 1, ["anything"]),
        (KeyboardInterrupt(), 130, ["stopped"]),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x.h5"), 3, ["/data/x.h5: permission denied"]),
        (OSError(errno.EROFS, "Read-only file system", "/data"), 3, ["/data: read-only"]),
        (OSError(errno.ENOSPC, "No space left on device", "/data/y.h5"), 3, ["/data/y.h5", "disk is full"]),
        (OSError("Can't write data (No space left on device)"), 3, ["disk is full"]),
        (MemoryError(), 1, ["too little memory", "--workers"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 1, ["too little memory"]),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, ["too little memory"]),
        (RuntimeError("a bug"), 1, ["unexpected RuntimeError: a bug", "--debug"]),
    ],
)
def test_errors_become_one_paragraph_and_an_exit_code(
    error: BaseException, code: int, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr("trace_data.settings.load_settings", raising(error))
    assert run(["config"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    assert "\n\n" not in shown.err.strip()
    for word in words:
        assert word in shown.err


@pytest.mark.parametrize("words", [["--debug", "config"], ["config", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr("trace_data.settings.load_settings", raising(AssetError("missing")))
    assert run(words) == 3
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "error: missing" in shown


def test_json_is_one_object_on_stdout(tmp_path: Path, capsys: Output) -> None:
    assert run(["config", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["settings"]["packs"] == {"folder": str(tmp_path / "home" / "packs"), "from": "default"}
    assert found["settings"]["root"] == {"folder": None, "from": None}
    assert shown.err == ""


def test_a_pipe_sees_no_control_characters(capfd: Output) -> None:
    for words in (["config"], ["--help"], ["confg"]):
        run(words)
    shown = capfd.readouterr()
    assert not [c for c in shown.out + shown.err if ord(c) < 32 and c != "\n"]


def test_progress_in_a_pipe_is_plain_lines(capfd: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    from trace_cli import render

    monkeypatch.setattr(render, "PLAIN_INTERVAL", 0.0)
    with render.Display() as display:
        display.begin("build-shards", 2, "sequences")
        display.advance(1, "a/b")
        display.advance(1)
        display.end("2 shards")
        display.log("note")
    shown = capfd.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "  build-shards     1 / 2 sequences   a/b"
    assert [line for line in lines if "2 shards" in line and line.endswith(" s")]
    assert lines[-1] == "  note"
    assert not [c for c in shown.err if ord(c) < 32 and c != "\n"]


def test_speed_counts_only_what_this_run_did(monkeypatch: pytest.MonkeyPatch, capfd: Output) -> None:
    from trace_cli import render

    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with render.Display() as display:
        display.begin("build shards", 3000, "frames")
        display.skip(1000)
        now += 19
        display.advance(399)
        display.wrote(3_100_000_000)
        now += 1
        display.advance()
        now += 60
    line = capfd.readouterr().err.splitlines()[0]
    assert line == "  build shards     1,400 / 3,000 frames   20 frames/s   3.1 GB   left 80 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.44, "0.4 s"), (9.96, "10 s"), (119.4, "119 s"), (245, "4 min 05 s"), (11520, "3 h 12 min")],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    from trace_cli.render import duration

    assert duration(seconds) == words


@pytest.mark.parametrize("extra", [["--config", "debug"], ["--out", "elsewhere"]])
def test_resuming_refuses_what_it_would_ignore(extra: list[str], tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "run").mkdir()
    assert run(["train", "--resume", "run", *extra]) == 2
    assert f"{extra[0]} and --resume exclude each other" in capsys.readouterr().err
    assert run(["train", "--resume", "run"]) == 3
    assert "holds no run" in capsys.readouterr().err


def test_version(capsys: Output) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("trace 0.")
