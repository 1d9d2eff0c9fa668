"""The two parts of EMDB on which methods are compared, as lists of sequences.

EMDB-1 is evaluated in the camera's frame, EMDB-2 in the world. Annotation files say themselves which part a sequence
belongs to, and that is what records hold; these lists are for protocols, which have to know what is missing
(docs/reference/further-datasets.md#emdb-sequences).
"""

from __future__ import annotations

from collections.abc import Mapping

EMDB1 = (
    "P1_14_outdoor_climb", "P2_23_outdoor_hug_tree", "P3_31_outdoor_workout", "P3_32_outdoor_soccer_warmup_a",
    "P3_33_outdoor_soccer_warmup_b", "P5_42_indoor_dancing", "P5_44_indoor_rom", "P6_49_outdoor_big_stairs_down",
    "P6_50_outdoor_workout", "P6_51_outdoor_dancing", "P7_57_outdoor_rock_chair", "P7_59_outdoor_rom",
    "P7_60_outdoor_workout", "P8_64_outdoor_skateboard", "P8_68_outdoor_handstand", "P8_69_outdoor_cartwheel",
    "P9_76_outdoor_sitting",
)  # fmt: skip
EMDB2 = (
    "P0_09_outdoor_walk", "P2_19_indoor_walk_off_mvs", "P2_20_outdoor_walk", "P2_24_outdoor_long_walk",
    "P3_27_indoor_walk_off_mvs", "P3_28_outdoor_walk_lunges", "P3_29_outdoor_stairs_up", "P3_30_outdoor_stairs_down",
    "P4_35_indoor_walk", "P4_36_outdoor_long_walk", "P4_37_outdoor_run_circle", "P5_40_indoor_walk_big_circle",
    "P6_48_outdoor_walk_downhill", "P6_49_outdoor_big_stairs_down", "P7_55_outdoor_walk",
    "P7_56_outdoor_stairs_up_down", "P7_57_outdoor_rock_chair", "P7_58_outdoor_parcours",
    "P7_61_outdoor_sit_lie_walk", "P8_64_outdoor_skateboard", "P8_65_outdoor_walk_straight", "P9_77_outdoor_stairs_up",
    "P9_78_outdoor_stairs_up_down", "P9_79_outdoor_walk_rectangle", "P9_80_outdoor_walk_big_circle",
)  # fmt: skip
PARTS: Mapping[str, tuple[str, ...]] = {"emdb1": EMDB1, "emdb2": EMDB2}
"""Key of the annotation files, and of a record's provenance, to the sequences for which it is true."""
