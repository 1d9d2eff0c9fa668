"""What reaches terminals, pipes and programs: any encoding, no commands of others, errors as objects, completion."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_3dpw
import tiny_penn_action

from trace_cli.main import run
from trace_data.adapters.listing import lacking
from trace_data.errors import AssetError, DatasetLayoutError, TrainingDiverged, quoted

NOT_UTF8 = os.fsdecode(b"walk_\xff")
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def trace(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a process of its own, with pipes for its output."""
    return subprocess.run(
        [sys.executable, "-m", "trace_cli", *words], capture_output=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_choices(shell: str) -> None:
    assert b"_TRACE_COMPLETE" in trace(_TRACE_COMPLETE=f"{shell}_source").stdout

    def completions(line: str, word: str) -> bytes:
        at = word if shell == "fish" else str(len(line.split(" ")) - 1)
        return trace(_TRACE_COMPLETE=f"{shell}_complete", COMP_WORDS=line, COMP_CWORD=at).stdout

    assert b"verify-shards" in completions("trace ver", "ver") and b"train" not in completions("trace ver", "ver")
    assert b"--split" in completions("trace evaluate --sp", "--sp")
    assert b"test" in completions("trace evaluate --split t", "t")


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "latin-1", "C"],
)
def test_no_encoding_ends_a_command(environment: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "größe_体"
    place.mkdir()
    shown = trace("doctor", TRACE_SHARDS=str(place), **environment)
    assert b"UnicodeEncodeError" not in shown.stderr and b"->" in shown.stdout
    found = trace("config", "--json", TRACE_SHARDS=str(place), **environment)
    encoding = "latin-1" if environment.get("PYTHONIOENCODING") == "latin-1" else "ascii"
    named = json.loads(found.stdout.decode(encoding))["settings"]["shards"]["folder"]
    assert os.fsencode(named) == os.fsencode(place)  # in the locale C Python takes names for bytes
    refused = trace("verify-shards", "体", **environment)
    assert refused.returncode == 3 and refused.stderr.startswith(b"error: ") and b"no such folder" in refused.stderr


def test_names_that_are_no_utf8_reach_output_shards_and_pages(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 2}, frames=4)
    old, _ = sorted((folder / "sequenceFiles" / "train").iterdir())
    try:
        (folder / "imageFiles" / old.stem).rename(folder / "imageFiles" / NOT_UTF8)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    content = tiny_3dpw.load(folder, "train", old.stem) | {"sequence": "another"}
    tiny_3dpw.rewrite(folder, "train", NOT_UTF8, content)
    old.unlink()
    page = tmp_path / "page.html"
    where = ("--root", str(tmp_path), "--jobs", "1")
    verified = trace("verify-datasets", "3dpw", *where, "--depth", "content", "--list", "--report", str(page))
    assert verified.returncode == 3 and rb"walk_\udcff" in verified.stdout  # the name inside is another
    assert rb"walk_\udcff" in page.read_bytes()
    tiny_3dpw.rewrite(folder, "train", NOT_UTF8, content | {"sequence": NOT_UTF8})
    found = trace("verify-datasets", "3dpw", *where, "--depth", "content", "--json")
    assert b"Unicode" not in found.stderr and json.loads(found.stdout)
    built = trace("build-shards", "--debug", "3dpw", *where, "--split", "train", "--out", str(tmp_path / "shards"))
    assert built.returncode == 3 and rb"walk_\udcff" in built.stdout, built.stderr.decode()
    checked = trace("verify-shards", str(tmp_path / "shards"), "--json")
    assert checked.returncode == 0 and b"Unicode" not in checked.stderr, checked.stderr
    [left_out] = json.loads((tmp_path / "shards" / "index.json").read_bytes())["bad"]
    assert left_out["key"] == r"3dpw/train/walk_\udcff"


@pytest.mark.slow
def test_commands_of_others_do_not_reach_the_terminal(tmp_path: Path) -> None:
    evil = "a\x1b]0;owned\x07\x1b[2Jb"
    (tmp_path / "3DPW" / "imageFiles" / evil).mkdir(parents=True)
    (tmp_path / "3DPW" / "sequenceFiles" / "train").mkdir(parents=True)
    for words in (
        ("verify-datasets", "3dpw", "--root", str(tmp_path)),
        ("verify-datasets", "3dpw", "--root", str(tmp_path), "--json"),
        ("train", "--set", f"steps={evil}"),
        ("report", evil),
    ):
        shown = trace(*words)
        assert not [byte for byte in shown.stdout + shown.stderr if byte < 32 and byte not in b"\n\t"], words


def test_hints_take_a_path_for_one_word(tmp_path: Path) -> None:
    root = tmp_path / "my data; $(touch x)"
    (root / "imagesFile").mkdir(parents=True)
    hint = lacking(root, "imageFiles", hint="unpack it").hint
    assert hint is not None
    assert shlex.split(hint)[:3] == ["mv", str(root / "imagesFile"), str(root / "imageFiles")]
    assert shlex.split(f"trace evaluate {quoted(root)}") == ["trace", "evaluate", str(root)]


def test_a_hint_renames_neither_the_other_folders_nor_a_file(tmp_path: Path, capsys: Output) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1}, frames=4)
    (folder / "imageFiles").rename(tmp_path / "elsewhere")
    command = ["build-shards", "3dpw", "--root", str(tmp_path), "--out", str(tmp_path / "shards")]
    assert run(command) == 3 and "mv " not in capsys.readouterr().err
    (folder / "imageFiles").touch()
    assert run(command) == 3
    shown = capsys.readouterr().err
    assert f"{folder / 'imageFiles'}: is a file" in shown and "mv " not in shown
    penn, out = tiny_penn_action.write(tmp_path), str(tmp_path / "shards")
    (penn / "frames").rename(tmp_path / "elsewhere too")
    assert run(["build-shards", "penn-action", "--root", str(tmp_path), "--out", out]) == 3
    assert "mv " not in capsys.readouterr().err
    (tmp_path / "h36m").touch()
    assert run(["build-shards", "h36m", "--root", str(tmp_path), "--out", str(tmp_path / "shards")]) == 3
    assert f"{tmp_path / 'h36m'}: is a file" in capsys.readouterr().err
    assert isinstance(lacking(tmp_path, "h36m", hint="unpack it"), DatasetLayoutError)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (AssetError("missing", where="a.pkl", hint="get it"), "AssetError", 3),
        (TrainingDiverged("pose is nan"), "TrainingDiverged", 4),
        (KeyboardInterrupt(), "InterruptedRun", 130),
        (RuntimeError("a bug"), "TraceError", 1),
    ],
)
def test_with_json_an_error_is_an_object_too(
    error: BaseException, kind: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("trace_data.settings.load_settings", fail)
    assert run(["config", "--json"]) == code
    shown = capsys.readouterr()
    found = json.loads(shown.out)["error"]
    assert set(found) == {"kind", "message", "where", "hint", "exit_code"}
    assert (found["kind"], found["exit_code"]) == (kind, code) and shown.err.startswith("error: ")
    if isinstance(error, AssetError):
        assert (found["message"], found["where"], found["hint"]) == ("missing", "a.pkl", "get it")


def test_a_slip_on_the_command_line_is_an_object_too(capsys: Output) -> None:
    assert run(["config", "--json", "--jsn"]) == 2
    found = json.loads(capsys.readouterr().out)["error"]
    assert found["kind"] == "ConfigError" and "--jsn" in found["message"] and "trace config --help" in found["hint"]


def on_terminal(*words: str, **environment: str) -> bytes:
    """What the command shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trace_cli", *words],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**{key: value for key, value in os.environ.items() if key != "NO_COLOR"}, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # how Linux says that nobody writes any more
        pass
    process.wait()
    os.close(ours)
    return shown


def test_errors_have_colour_unless_nobody_wants_it() -> None:
    assert b"\x1b[31m" in on_terminal("confg")
    assert b"\x1b" not in on_terminal("confg", NO_COLOR="1")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["config"], False),
        (["verify-shards", "."], False),
        (["build-shards", "3dpw", "--root", "."], True),
        (["build-shards", "3dpw", "--root", ".", "--force"], False),
        (["make-sample", "world"], True),
    ],
)
def test_what_is_kept_is_said_only_where_something_is(
    words: list[str], kept: bool, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def stop(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    for place in ("settings.load_settings", "shards.checks.shards.verify_shards", "sample_world.make.make_sample"):
        monkeypatch.setattr(f"trace_data.{place}", stop)
    assert run(words) == 130
    assert ("goes on from there" in capsys.readouterr().err) == kept


@pytest.mark.parametrize("module", ["click", "trace_cli.options", "trace_data.errors"])
def test_ctrl_c_during_imports_shows_no_traceback(module: str) -> None:
    """Whatever is being imported when it comes."""
    probe = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background of a shell
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from trace_cli.__main__ import main\n"
        "sys.argv = ['trace', 'config']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "Traceback" not in done.stderr and "stopped" in done.stderr


def test_impatience_does_not_change_how_a_stopped_command_ends() -> None:
    """Ctrl-C and SIGTERM again and again, also while Python waits for processes at its very end."""
    probe = (
        "import atexit, os, signal, sys\n"
        "def again():\n"
        "    for one in (signal.SIGINT, signal.SIGTERM) * 3: os.kill(os.getpid(), one)\n"
        "atexit.register(again)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import trace_cli.main\n"
        "def stopped(): raise KeyboardInterrupt\n"
        "trace_cli.main.main = stopped\n"
        "from trace_cli.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert "Traceback" not in done.stderr
