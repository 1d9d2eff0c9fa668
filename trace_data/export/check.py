"""Checks exported files with programs of others, as far as this machine has them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trace_data.errors import OutputError
from trace_data.text_files import parse_json

CHECKERS = Path("~/.cache/trace-5d/checkers")
"""Where gltf-validator is looked for, besides node's own places (NODE_PATH). A user may have no home folder, so that
`~` is replaced only where the folder is used."""
TIME_LIMIT = 300
"""Seconds for one file."""
_GLTF_SCRIPT = """
const [file] = process.argv.slice(1), data = new Uint8Array(require('fs').readFileSync(file));
require('gltf-validator').validateBytes(data, {maxIssues: 20}).then(
  report => console.log(JSON.stringify(report.issues)), error => {console.error(String(error)); process.exit(2)});
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a checker says of a file."""

    path: str
    checker: str
    """Its name, or what would have checked the file."""
    done: bool
    """Whether the checker is there."""
    problems: tuple[str, ...] = ()
    hint: str = ""
    """How to get a checker that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A program of others that reads some format."""

    name: str
    found: Callable[[], bool]
    problems: Callable[[Path], list[str]]
    hint: str


def check_files(files: list[tuple[str, str]]) -> list[Verdict]:
    """Verdicts on files given as (format, path); files of formats that nothing checks are left out."""
    verdicts = []
    for form, path in files:
        checker = CHECKS.get(form)
        if checker is None:
            continue
        there = checker.found()
        verdicts.append(
            Verdict(
                path=path,
                checker=checker.name,
                done=there,
                problems=tuple(checker.problems(Path(path))) if there else (),
                hint="" if there else checker.hint,
            )
        )
    return verdicts


def has_gltf_validator() -> bool:
    """Whether node finds the package gltf-validator."""
    node = shutil.which("node")
    return node is not None and _node(["-e", "require.resolve('gltf-validator')"]).returncode == 0


def gltf_problems(file: Path) -> list[str]:
    """Errors, warnings and infos of gltf-validator about a GLB file. Raises OutputError if it does not run."""
    done = _node(["-e", _GLTF_SCRIPT, str(file.absolute())])
    if done.returncode:
        # what is no glTF at all is refused without a report
        return [done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "gltf-validator refuses the file"]
    report = parse_json(done.stdout.encode(), where="gltf-validator", error=OutputError)
    assert isinstance(report, dict)
    return [f"{issue['code']} {issue.get('pointer', '')}: {issue['message']}" for issue in report["messages"]]


def _node(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    ours = os.path.expanduser(CHECKERS / "node_modules")  # noqa: PTH111  Path's raises without a home folder
    places = [ours, *filter(None, [os.environ.get("NODE_PATH")])]
    environment = {**os.environ, "NODE_PATH": os.pathsep.join(places)}
    try:
        return subprocess.run(
            [shutil.which("node") or "node", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OutputError(f"node does not answer: {error}", where="gltf-validator") from error


def _has(package: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(package) is not None


def _bvhio_problems(file: Path) -> list[str]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own imports
        import bvhio
    return _problems_of(lambda: bvhio.readAsHierarchy(str(file)))


def _smplcodec_amass(file: Path) -> list[str]:
    from smplcodec import SMPLCodec

    return _problems_of(lambda: SMPLCodec.from_amass_npz(str(file)))


def _smplcodec(file: Path) -> list[str]:
    from smplcodec import SMPLCodec

    return _problems_of(lambda: SMPLCodec.from_file(str(file)))


def _usd_problems(file: Path) -> list[str]:
    from pxr import Usd, UsdValidation

    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    stage = Usd.Stage.Open(str(file))
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    return [f"{error.GetName()}: {error.GetMessage()}" for error in errors]


def _problems_of(read: Callable[[], object]) -> list[str]:
    """Whatever a foreign reader raises, in words."""
    try:
        read()
    except Exception as error:  # noqa: BLE001  any refusal counts
        return [f"{type(error).__name__}: {error}"]
    return []


_PIP = "pip install {}"
CHECKS: dict[str, Checker] = {
    "glb": Checker(
        name="gltf-validator",
        found=has_gltf_validator,
        problems=gltf_problems,
        hint=f"npm install --ignore-scripts --prefix {CHECKERS} gltf-validator",
    ),
    "bvh": Checker(name="bvhio", found=_has("bvhio"), problems=_bvhio_problems, hint=_PIP.format("bvhio")),
    "usd": Checker(name="usd-core", found=_has("pxr"), problems=_usd_problems, hint=_PIP.format("usd-core")),
    "amass": Checker(
        name="smplcodec", found=_has("smplcodec"), problems=_smplcodec_amass, hint=_PIP.format("smplcodec")
    ),
    "smpl": Checker(name="smplcodec", found=_has("smplcodec"), problems=_smplcodec, hint=_PIP.format("smplcodec")),
}
"""By format."""
