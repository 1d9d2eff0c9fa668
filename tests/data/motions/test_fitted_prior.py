"""The fit of the pose prior: a mixture of known Gaussians is found again, and what it makes of motions."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tiny_amass
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from trace_cli.main import run as command
from trace_data.errors import AnnotationError, AssetError, ConfigError, OutputError, TraceError
from trace_data.motions.mixture import fit_mixture
from trace_data.motions.pose_prior import FLOOR, FULL, LEAST, USED, fit_pose_prior, mirrored
from trace_data.schema.keypoints import SMPL_24

Array = npt.NDArray[np.float64]
HEAD, L_ELBOW, L_HAND = 15, 18, 20
"""Joints of the body; the root is 0."""


# --- the mixture ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> tuple[Array, Array, Array, Array]:
    """Values (N, 3) of three Gaussians, and their weights, means and covariances."""
    rng = np.random.default_rng(0)
    weights, means = np.array([0.2, 0.3, 0.5]), np.array([[4.0, 0, 0], [0, 3.0, -2.0], [-3.0, -3.0, 1.0]])
    roots = rng.normal(0, 0.4, (3, 3, 3)) + 0.5 * np.eye(3)
    covariances = roots @ roots.transpose(0, 2, 1)
    whose = rng.choice(3, size=20_000, p=weights)
    return means[whose] + (roots[whose] @ rng.normal(size=(20_000, 3, 1)))[..., 0], weights, means, covariances


def test_known_gaussians_are_found_again(drawn: tuple[Array, Array, Array, Array]) -> None:
    values, weights, means, covariances = drawn
    found, gained = fit_mixture(values, 3, floor=0.0)
    order = np.argsort(found.weights)
    np.testing.assert_allclose(found.weights[order], weights, atol=0.015)
    np.testing.assert_allclose(found.means[order], means, atol=0.05)
    np.testing.assert_allclose(found.covariances[order], covariances, atol=0.05)
    assert all(after >= before - 1e-12 for before, after in pairwise(gained)), "no round makes it worse"


def test_densities_are_those_of_scipy(drawn: tuple[Array, Array, Array, Array]) -> None:
    found, gained = fit_mixture(drawn[0], 4, floor=0.01, seed=1)
    expected = np.stack(
        [
            np.log(weight) + multivariate_normal(mean, covariance).logpdf(drawn[0])
            for mean, covariance, weight in zip(found.means, found.covariances, found.weights)
        ],
        axis=1,
    )
    np.testing.assert_allclose(found.log_densities(drawn[0]), expected, rtol=1e-9)
    assert gained[-1] == pytest.approx(logsumexp(expected, axis=1).mean())
    assert found.weights.sum() == pytest.approx(1)


def test_one_gaussian_has_mean_and_covariance_of_all(drawn: tuple[Array, Array, Array, Array]) -> None:
    found, _ = fit_mixture(drawn[0], 1, floor=0.25)
    np.testing.assert_allclose(found.means[0], drawn[0].mean(axis=0))
    np.testing.assert_allclose(found.covariances[0], np.cov(drawn[0].T, bias=True) + 0.25 * np.eye(3))


def test_more_gaussians_than_there_are_values_for() -> None:
    with pytest.raises(ConfigError, match="Gaussians keeps"):
        fit_mixture(np.random.default_rng(0).normal(size=(20, 6)), 5, floor=1e-3)
    with pytest.raises(ConfigError, match="Gaussians keeps"):
        fit_mixture(np.zeros((50, 3)), 2, floor=1e-3)  # all the same: nothing to part


# --- the prior -----------------------------------------------------------------------------------------------------


def write_noisy(folder: Path, *, seconds: float = 40.0, bend: float = 0.0) -> Path:
    """Somebody who walks with noise on every joint; the left elbow is bent throughout."""
    pose, trans = tiny_amass.walking(seconds, 30.0)
    joints = pose.reshape(len(pose), 22, 3) + np.random.default_rng(1).normal(0, 0.1, (len(pose), 22, 3))
    joints[:, L_ELBOW, 1] += bend
    return tiny_amass.write(folder, "CMU/01/walk", tiny_amass.content(joints.reshape(len(pose), 66), trans, 30.0))


@pytest.fixture(scope="module")
def amass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("amass")
    write_noisy(folder, bend=-0.6)
    return folder


def test_what_is_written_is_what_the_poses_say(amass: Path, tmp_path: Path) -> None:
    """One Gaussian: mean and covariance of poses and mirrored poses, the hands apart from all."""
    report = fit_pose_prior([amass], tmp_path / "new" / "prior.pkl", gaussians=1, every=0.1)
    assert report.poses == 380 and report.motions == 1, "38 s of 40, without a second at either end"
    content = pickle.loads((tmp_path / "new" / "prior.pkl").read_bytes())
    with np.load(next(amass.rglob("*_poses.npz"))) as held:
        taken = held["poses"][30 : 30 + 3 * 380 : 3, 3:66]
    by_side = taken.reshape(-1, 21, 3).copy()
    for left in (number for number, name in enumerate(SMPL_24[:22]) if name.startswith("L_")):
        right = SMPL_24.index("R" + SMPL_24[left][1:])
        by_side[:, [left - 1, right - 1]] = by_side[:, [right - 1, left - 1]]
    by_side[..., 1:] *= -1
    both = np.concatenate([taken, by_side.reshape(-1, USED)])
    np.testing.assert_allclose(content["means"][0, :USED], both.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        content["covars"][0, :USED, :USED], np.cov(both.T, bias=True) + FLOOR * np.eye(USED), atol=1e-6
    )
    np.testing.assert_array_equal(content["covars"][0, USED:, USED:], np.eye(6))
    assert not content["covars"][0, :USED, USED:].any() and not content["means"][0, USED:].any()
    assert content["covars"].shape == (1, FULL, FULL) and content["weights"] == pytest.approx(1)


def test_a_mirrored_pose_turns_the_other_side() -> None:
    """Rotations reflected in x = 0, with the sides exchanged."""
    pose = np.random.default_rng(2).normal(0, 0.5, (4, USED))
    other, mirror = mirrored(pose).reshape(4, 21, 3), np.diag([-1.0, 1.0, 1.0])
    left, right = SMPL_24.index("L_Elbow") - 1, SMPL_24.index("R_Elbow") - 1
    for this, that in ((left, right), (right, left), (HEAD - 1,) * 2):
        turned = mirror @ Rotation.from_rotvec(pose.reshape(4, 21, 3)[:, this]).as_matrix() @ mirror
        np.testing.assert_allclose(Rotation.from_rotvec(other[:, that]).as_matrix(), turned, atol=1e-12)
    np.testing.assert_array_equal(mirrored(mirrored(pose)), pose)


def test_the_same_motions_give_the_same_file(amass: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit_pose_prior([amass], tmp_path / name, gaussians=2, every=0.1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        fit_pose_prior([amass], tmp_path / "a", gaussians=2, every=0.1)
    fit_pose_prior([amass, amass], tmp_path / "a", gaussians=2, every=0.1, force=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes(), "a folder given twice counts once"


def test_turns_of_more_than_half_a_circle_are_the_shorter_ones(tmp_path: Path) -> None:
    """A joint may be written as a turn of 350 degrees; the network's poses never are."""
    file = write_noisy(tmp_path)
    arrays = dict(np.load(file))
    hand = arrays["poses"][:, 3 * L_HAND : 3 * L_HAND + 3]
    angle = np.linalg.norm(hand, axis=1, keepdims=True)
    fit_pose_prior([tmp_path], tmp_path / "short.pkl", gaussians=1, every=0.1)
    arrays["poses"][:, 3 * L_HAND : 3 * L_HAND + 3] = hand * (angle - 2 * np.pi) / angle
    np.savez(file, **arrays)
    fit_pose_prior([tmp_path], tmp_path / "long.pkl", gaussians=1, every=0.1)
    short, long = (pickle.loads((tmp_path / f"{name}.pkl").read_bytes()) for name in ("short", "long"))
    np.testing.assert_allclose(long["covars"], short["covars"], atol=1e-9)


def test_what_cannot_be_fitted_is_said(amass: Path, tmp_path: Path) -> None:
    out, empty = tmp_path / "prior.pkl", tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "nan").mkdir()
    (tmp_path / "body").mkdir()
    pose, trans = tiny_amass.walking(5.0, 30.0)
    broken = tiny_amass.content(pose, trans, 30.0)
    broken["poses"][7, 20] = np.nan
    other = tiny_amass.content(pose, trans, 30.0)
    other["poses"] = other["poses"][:, :72]
    cases: list[tuple[Path, type[TraceError], str, Path]] = [
        (empty, ConfigError, "no motion", empty),
        (tmp_path / "nan", AnnotationError, "poses", tiny_amass.write(tmp_path / "nan", "walk", broken)),
        (tmp_path / "body", AnnotationError, "72 columns", tiny_amass.write(tmp_path / "body", "walk", other)),
        (amass, ConfigError, f"38 poses, expected {8 * LEAST:,}", amass),
    ]
    for folder, kind, word, where in cases:
        with pytest.raises(kind, match=word) as caught:
            fit_pose_prior([folder], out)
        assert str(caught.value.where) == str(where) and not out.exists()
    write_noisy(tmp_path / "few", seconds=30.0)
    with pytest.raises(ConfigError) as caught:
        fit_pose_prior([tmp_path / "few"], out, every=0.1)
    assert "--gaussians 2" in str(caught.value.hint)
    fit_pose_prior([tmp_path / "few"], out, every=0.1, gaussians=2)


def test_the_command_fits_and_says_what_is_next(
    amass: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    words = [
        "fit-pose-prior",
        str(amass),
        "--out",
        str(tmp_path / "my prior"),
        "--gaussians",
        "2",
        "--seconds",
        "0.1",
    ]
    assert command(words) == 0
    said = capsys.readouterr().out
    assert "2 Gaussians" in said and "380 poses" in said and "licence" in said and "'" in said.splitlines()[-1]
    assert command([*words, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["poses"] == 380
    assert command(words) != 0 and "--force" in capsys.readouterr().err


def test_damage_is_no_prior(tmp_path: Path) -> None:
    """A broken archive among the motions is named like everywhere."""
    file = write_noisy(tmp_path)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises((AnnotationError, AssetError)) as caught:
        fit_pose_prior([tmp_path], tmp_path / "prior.pkl")
    assert str(caught.value.where) == str(file)
