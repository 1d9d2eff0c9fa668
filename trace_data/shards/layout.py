"""The shard format: names, types and shapes of the datasets of a shard file.

A shard is an HDF5 file without pickles, objects or variable-length types, every dataset contiguous and little-endian,
so that a range of rows is one range of bytes. With F frames, each in L sizes (levels, the smallest first; one unless
the build was asked for more), N person-frame rows and S sequences it holds

    frames/bytes     uint8 (total)     encoded images, back to back: all of the smallest level, then the next
    frames/offset    int64 (L, F + 1)  image f of level l is bytes[offset[l, f] : offset[l, f + 1]]
    frames/size      int32 (L, F, 2)   its width and height, px; 0 where the level below is the original size already
    people/offset    int64 (F + 1)     the people of frame f are the rows offset[f] : offset[f + 1]
    sequence/offset  int64 (S + 1)     the frames of sequence s are offset[s] : offset[s + 1]
    sequence/name    bytes (S)         `dataset/split/name`
    crc32/images     uint32 (L, F)     CRC-32 of each image
    crc32/annotations  uint32 (F)      CRC-32 of each frame's annotations, see `checksums.of_annotations`

and the columns below. Each of the `TABLES`, which locate and verify everything else, has an attribute `crc32` of its
own bytes. Units and frames of reference are those of `schema.clip.ClipAnnotations`.
"""

from __future__ import annotations

from dataclasses import dataclass

from trace_data.schema.clip import FRAME_MASKS, PERSON_MASKS

FORMAT = "trace-shard"
FORMAT_VERSION = 4
INDEX_FILE = "index.json"
SHARD_BYTES = 512 << 20
"""Default size at which a shard is closed."""
LIBVER = ("earliest", "v110")
"""Fixed bounds of the HDF5 file format, so that bytes do not depend on the installed HDF5."""

FRAME_BYTES = "frames/bytes"
FRAME_OFFSET = "frames/offset"
FRAME_SIZE = "frames/size"
PEOPLE_OFFSET = "people/offset"
SEQUENCE_OFFSET = "sequence/offset"
SEQUENCE_NAME = "sequence/name"
IMAGE_CHECKSUM = "crc32/images"
ANNOTATION_CHECKSUM = "crc32/annotations"
TABLES = (FRAME_OFFSET, FRAME_SIZE, PEOPLE_OFFSET, IMAGE_CHECKSUM, ANNOTATION_CHECKSUM)
TABLE_CHECKSUM = "crc32"
"""Attribute of each of the `TABLES`."""


@dataclass(frozen=True, slots=True)
class Column:
    """One dataset with a row per frame, person-frame or sequence."""

    dtype: str
    """NumPy type; masks are uint8, 0 or 1."""
    shape: tuple[int, ...] = ()
    """Shape of one row."""


FRAME_COLUMNS: dict[str, Column] = {
    "frame_id": Column("<i8"),
    "camera/intrinsics": Column("<f4", (3, 3)),  # of the original frame, px
    "camera/camera_from_world": Column("<f4", (4, 4)),
    **{f"frame_masks/{name}": Column("|u1") for name in FRAME_MASKS},
}
PEOPLE_COLUMNS: dict[str, Column] = {
    "people/person": Column("<i4"),  # number within its sequence
    "people/gender": Column("|u1"),  # index into schema.body.GENDERS
    "people/pose": Column("<f4", (24, 3)),
    "people/betas": Column("<f4", (10,)),
    "people/betas_neutral": Column("<f4", (10,)),
    "people/translation": Column("<f4", (3,)),
    "people/kp2d": Column("<f4", (44, 3)),
    "people/kp3d": Column("<f4", (44, 4)),
    "people/center": Column("<f4", (2,)),
    "people/box": Column("<f4", (4,)),
    **{f"masks/{name}": Column("|u1") for name in PERSON_MASKS},
}
SEQUENCE_COLUMNS: dict[str, Column] = {
    "sequence/fps": Column("<f8"),
    "sequence/width": Column("<i4"),
    "sequence/height": Column("<i4"),
    "sequence/moving": Column("|u1"),
    "sequence/world_valid": Column("|u1"),
}
