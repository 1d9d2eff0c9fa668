"""Peaks to people."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from trace_train.build import body_layers, build_network
from trace_train.config import load_config
from trace_train.geometry.camera import project, translation_from_triple
from trace_train.inference.detections import DUPLICATE_DISTANCE, _without_duplicates, centers, detect, highest_around


def test_peaks_are_local_maxima_above_the_threshold_best_first() -> None:
    heat = torch.full((2, 8, 16, 16), -10.0)
    heat[0, 3, 4, 5], heat[0, 3, 4, 6] = 2.0, 1.0  # a neighbour of a peak is none
    heat[0, 6, 12, 12] = 3.0
    heat[1, 0, 0, 0] = -3.0  # below the threshold
    frame, zyx, score = centers(heat, logits=True, threshold=0.2)
    assert frame.tolist() == [0, 0]
    assert zyx.tolist() == [[6, 12, 12], [3, 4, 5]]
    assert score.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item(), torch.tensor(2.0).sigmoid().item()])
    assert len(centers(heat, logits=False, threshold=2.5)[0]) == 1


def test_neighbours_of_a_saturated_peak_are_no_peaks() -> None:
    heat = torch.full((1, 8, 16, 16), -10.0)
    heat[0, 3, 4, 5:8] = torch.tensor([30.0, 25.0, 20.0])
    assert centers(heat, logits=True, threshold=0.2)[1].tolist() == [[3, 4, 5]]


def test_detections_are_posed_where_their_camera_says(packs: Path) -> None:
    torch.manual_seed(0)
    network = build_network(
        load_config("debug").network.model_copy(update={"input_size": 64, "depth_levels": 16})
    ).eval()
    layer = body_layers(packs)["neutral"]
    with torch.no_grad():
        maps = network(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8))
        maps.center_3d.fill_(-9.0)
        maps.center_3d[0, 4, 3, 3] = 4.0
        maps.center_3d[1, 9, 12, 3] = 4.0
        found = detect(network, maps, layer, vertices=True)
        people = network.regress(maps, torch.tensor([0, 1]), torch.tensor([[4, 3, 3], [9, 12, 3]]))
    assert found.frame.tolist() == [0, 1] and found.body.vertices is not None
    assert torch.allclose(found.translation, translation_from_triple(people.camera))
    assert torch.allclose(found.joints2d, project(found.body.joints + found.translation[:, None]))


def test_two_peaks_on_one_person_count_once(packs: Path) -> None:
    torch.manual_seed(0)
    network = build_network(
        load_config("debug").network.model_copy(update={"input_size": 64, "depth_levels": 16})
    ).eval()
    torch.nn.init.zeros_(network.temp_trans_regressor.out_layers[0].weight)  # type: ignore[arg-type]
    with torch.no_grad():
        maps = network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
        maps.center_3d.fill_(-9.0)
        maps.center_3d[0, 2, 3, 3], maps.center_3d[0, 13, 12, 12] = 4.0, 5.0
        found = detect(network, maps, body_layers(packs)["neutral"])
    assert found.score.tolist() == pytest.approx([torch.tensor(5.0).sigmoid().item()])


@pytest.mark.parametrize(("apart", "people"), [(0.045, 1), (0.055, 2), (0.095, 2)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_people_who_stand_close_are_told_apart_as_published(apart: float, people: int, axis: int) -> None:
    camera = torch.tensor([[0.5, 0.1, -0.2]]).repeat(2, 1)
    camera[1, axis] += apart
    assert int(_without_duplicates(torch.zeros(2, dtype=torch.long), camera).sum()) == people


def test_only_who_stays_sends_others_away() -> None:
    # a row of people, each near the next: the second goes because of the first, so the third may stay
    row = torch.arange(7)[:, None] * torch.tensor([0.0, 0.6 * DUPLICATE_DISTANCE, 0.0])
    frame = torch.zeros(7, dtype=torch.long)
    assert _without_duplicates(frame, row).tolist() == [True, False] * 3 + [True]
    assert _without_duplicates(frame[:0], row[:0]).tolist() == []
    g = torch.Generator().manual_seed(0)
    camera, frame = torch.rand(60, 3, generator=g) * 0.3, torch.randint(0, 2, (60,), generator=g).sort().values
    stays: list[int] = []
    for k in range(60):
        near = [i for i in stays if frame[i] == frame[k] and float((camera[i] - camera[k]).norm()) < DUPLICATE_DISTANCE]
        stays += [] if near else [k]
    assert _without_duplicates(frame, camera).nonzero()[:, 0].tolist() == stays


@pytest.mark.parametrize("shape", [(2, 16, 32, 32), (1, 3, 5, 4), (2, 1, 2, 2)])
def test_neighbourhoods_are_those_of_max_pooling(shape: tuple[int, ...]) -> None:
    volume = torch.randn(shape, generator=torch.Generator().manual_seed(0)).clamp(max=1)  # with plateaus
    pooled = F.max_pool3d(volume[:, None], 5, stride=1, padding=2)[:, 0]
    torch.testing.assert_close(highest_around(volume), pooled, rtol=0, atol=0)
