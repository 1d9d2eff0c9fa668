"""USD: the validators of usd-core have nothing to say, and UsdSkel poses the joints."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turned_results import example, nobody, one_frame

from trace_data.export.check import CHECKS
from trace_data.export.mesh import FreeMeshes
from trace_data.export.rate import clock
from trace_data.export.usd import usda_text
from trace_data.results.result import Result

free = cache(FreeMeshes)
needs_usd = pytest.mark.skipif(not CHECKS["usd"].found(), reason="no usd-core: pip install usd-core")


def written(result: Result, folder: Path) -> Path:
    file = folder / "größe.usda"
    file.write_text(usda_text(result, free(), clock(result)), encoding="utf-8")
    return file


@needs_usd
@pytest.mark.parametrize("case", ["three people", "uneven times", "one frame", "nobody"])
def test_the_validators_have_nothing_to_say(case: str, tmp_path: Path) -> None:
    cases = {
        "three people": example,
        "uneven times": lambda: example(irregular=True),
        "one frame": lambda: one_frame(example()),
        "nobody": lambda: nobody(example()),
    }
    assert CHECKS["usd"].problems(written(cases[case](), tmp_path)) == []


@needs_usd
def test_usdskel_poses_the_joints_and_hides_who_is_absent(tmp_path: Path) -> None:
    from pxr import Usd, UsdGeom, UsdSkel

    result = example()
    stage = Usd.Stage.Open(str(written(result, tmp_path)))
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Y", 1)
    for person in range(len(result.person)):
        root = UsdSkel.Root.Get(stage, f"/trace/person_{result.person[person]}")
        skeletons = UsdSkel.Cache()
        skeletons.Populate(root, Usd.PrimDefaultPredicate)
        query = skeletons.GetSkelQuery(UsdSkel.Skeleton.Get(stage, f"{root.GetPath()}/skeleton"))
        for frame in (5, 50, 80):
            rows = [row for row in result.rows_of(person) if result.row_frame[row] == frame]
            seen = UsdGeom.Imageable(root.GetPrim()).ComputeVisibility(float(frame))
            assert seen == ("inherited" if rows else "invisible")
            if rows:
                found = np.array(query.ComputeJointSkelTransforms(float(frame)))[0, 3, :3]
                assert np.abs(found - result.joints[rows[0], 0]).max() < 1e-4


@pytest.mark.parametrize("irregular", [False, True])
def test_time_codes_are_the_true_times(irregular: bool) -> None:
    result = example(irregular=irregular)
    text = usda_text(result, free(), clock(result))
    rate = float(re.findall(r"timeCodesPerSecond = (\S+)", text)[0])
    end = float(re.findall(r"endTimeCode = (\S+)", text)[0])
    assert abs(end / rate - (result.time[-1] - result.time[0])) < 1e-3
    block: Any = re.search(r"xformOp:transform.timeSamples = \{(.*?)\n        \}", text, re.DOTALL)
    codes = np.array(re.findall(r"^ +([\d.]+):", block[1], re.MULTILINE), float)
    assert np.abs(codes / rate - (result.time - result.time[0])).max() < 1e-5
