"""Boxes of people who come, cross, hide and leave, and what a tracker might have found of them."""

from __future__ import annotations

import numpy as np

SCENES = 12


def scene(number: int) -> dict[str, np.ndarray]:
    """Rows (N, 6): frame, identity, left, top, width, height, of the `truth` and of what was `found`, by frame.

    Later scenes are harder: more people, noise, misses, false alarms, and identities that switch or come back as new.
    """
    draw = np.random.default_rng((52, number))
    frames, people, hardness = 40 + 5 * number, 1 + number // 2, number / SCENES
    truth, found = [], []
    place, step = draw.uniform(100, 900, (people, 2)), draw.normal(0, 8, (people, 2))
    size = draw.uniform([60, 150], [120, 300], (people, 2))
    identity = np.arange(1, people + 1)
    born = draw.integers(0, frames // 3, people)
    fresh = people + 1
    for frame in range(frames):
        place = place + step
        step = np.where((place < 0) | (place > 1000), -step, step)
        if people > 1 and draw.uniform() < 0.1 * hardness:
            pair = draw.choice(people, 2, replace=False)
            identity[pair] = identity[pair[::-1]]
        for k in range(people):
            if frame < born[k] or (frame // 10 + k) % 7 == 6:
                continue
            truth.append([frame, k + 10, *place[k], *size[k]])
            if draw.uniform() < 0.05 * hardness:
                identity[k], fresh = fresh, fresh + 1
            if draw.uniform() < 0.3 * hardness:
                continue
            noise = draw.normal(0, 1 + 30 * hardness, 4) * [1, 1, 0.5, 0.5]
            found.append([frame, identity[k], *(np.array([*place[k], *size[k]]) + noise).clip([-100, -100, 5, 5])])
        for _ in range(draw.poisson(hardness)):
            found.append([frame, fresh, *draw.uniform(0, 900, 2), *draw.uniform(40, 200, 2)])
            fresh += int(draw.uniform() < 0.5) or 10**3
    rows = {"truth": truth, "found": found}
    return {name: np.round(np.array(value), 1).reshape(-1, 6) for name, value in rows.items()}
