"""A mixture of Gaussians with full covariances, fitted by expectation and maximisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from trace_data.errors import ConfigError
from trace_data.progress import SILENT, Progress

Array = npt.NDArray[np.float64]

ROUNDS, ENOUGH = 100, 1e-3
"""The fit ends after so many rounds, or when one gains less than this in mean log likelihood."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """K Gaussians in D dimensions."""

    means: Array
    """(K, D)."""
    covariances: Array
    """(K, D, D)."""
    weights: Array
    """(K,) positive, of sum 1."""

    def log_densities(self, values: Array) -> Array:
        """Logarithm (N, K) of each Gaussian's weight times its density at values (N, D)."""
        columns = []
        for mean, covariance, weight in zip(self.means, self.covariances, self.weights):
            root = np.linalg.cholesky(covariance)
            off = solve_triangular(root, (values - mean).T, lower=True)
            norm = np.log(np.diag(root)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
            columns.append(np.log(weight) - norm - 0.5 * np.square(off).sum(axis=0))
        return np.stack(columns, axis=1)


def fit_mixture(
    values: Array, count: int, *, floor: float, seed: int = 0, progress: Progress = SILENT
) -> tuple[Mixture, list[float]]:
    """A mixture of `count` Gaussians of values (N, D), and the mean log likelihood before each round; deterministic.

    `floor`: variance added in every direction, so that what never changes has a density. Raises ConfigError when a
    Gaussian keeps fewer than D values.
    """
    share, gained = _beginning(values, count, seed), list[float]()
    progress.begin("fitting", ROUNDS, "rounds")
    while True:
        held = share.sum(axis=0)
        if (fewest := int(held.min())) < values.shape[1]:
            raise ConfigError(
                f"one of {count} Gaussians keeps {fewest:,} of {len(values):,} poses, fewer than their"
                f" {values.shape[1]} dimensions",
                hint="take fewer with --gaussians, or more motions that differ",
            )
        mixture = _maximised(values, share, held, floor)
        densities = mixture.log_densities(values)
        whole = logsumexp(densities, axis=1)
        share = np.exp(densities - whole[:, None])
        gained.append(float(whole.mean()))
        progress.advance(detail=f"log likelihood {gained[-1]:.2f}")
        if len(gained) == ROUNDS or (len(gained) > 1 and gained[-1] - gained[-2] < ENOUGH):
            progress.end(f"{count} Gaussians in {len(gained)} rounds")
            return mixture, gained


def _beginning(values: Array, count: int, seed: int) -> Array:
    """Shares (N, K): each value belongs to the nearest of K that lie apart, as k-means++ draws them."""
    rng = np.random.default_rng(seed)
    distance = np.full((len(values), count), np.inf)
    chosen = int(rng.integers(len(values)))
    for number in range(count):
        distance[:, number] = np.square(values - values[chosen]).sum(axis=1)
        nearest = distance[:, : number + 1].min(axis=1)
        if nearest.sum() > 0:
            chosen = int(rng.choice(len(values), p=nearest / nearest.sum()))
    share: Array = np.eye(count)[distance.argmin(axis=1)]
    return share


def _maximised(values: Array, share: Array, held: Array, floor: float) -> Mixture:
    means = share.T @ values / held[:, None]
    covariances = np.empty((len(means), values.shape[1], values.shape[1]))
    for number, mean in enumerate(means):
        off = values - mean
        covariances[number] = (share[:, number, None] * off).T @ off / held[number]
    return Mixture(means=means, covariances=covariances + floor * np.eye(values.shape[1]), weights=held / len(values))
