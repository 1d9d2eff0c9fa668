"""Renders a planned view to pixels, through the reader on the CPU or decoded and cropped on a GPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trace_data.errors import AnnotationError, ShardError
from trace_data.schema.clip import ClipRef
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader
from trace_train.streaming.augment import ViewPlan
from trace_train.streaming.batch import LoadedClip
from trace_train.streaming.gpu_decoder import Decoder, decode_on_device, own_stream
from trace_train.streaming.occluders import Pictures, picture_of
from trace_train.streaming.pixels import crop_pictures
from trace_train.streaming.stored_flow import flow_in_crops


def read_view(
    reader: ShardReader,
    ref: ClipRef,
    view: ViewPlan,
    out: Tensor,
    *,
    decoder: Decoder | None = None,
    cutouts: Pictures | None = None,
    flow: FlowReader | None = None,
    continues: bool = False,
) -> LoadedClip:
    """Write the pixels of a view into `out` (T, S, S, 3) uint8, on the decoder's device if there is a decoder.

    Colour changes and occluders are applied later to the whole batch by `pixels.finish`. `cutouts`: the user's
    occluders. `flow`: where stored flow is read from, if it is; `continues`: the first frame has some too, from the
    frame before it in a video seen through the same window. Raises ShardError.
    """
    if decoder is None:
        crop_from_stored = _read(reader, ref, view, out)
    else:
        crop_from_stored = _read_on_device(reader, ref, view, out, decoder)
    width, height = view.annotations.width, view.annotations.height
    crop_from_frame = crop_from_stored @ mirror_map(width) if view.flip else crop_from_stored
    moved = None
    if flow is not None and (ref.length > 1 or continues):
        pairs = flow.pairs(ref, before=continues)
        moved = flow_in_crops(pairs, crop_from_stored, (width, height), out.shape[1], continues=continues)
    return LoadedClip(
        ref=ref,
        frames=out,
        crop_from_frame=crop_from_frame,
        annotations=view.annotations,
        color=view.color,
        camera_moves=view.camera_moves,
        flow=moved,
        occluder=None
        if view.occluder is None
        else (picture_of(view.occluder, cutouts), view.occluder.place(crop_from_frame)),
    )


def mirror_map(width: int) -> npt.NDArray[np.float64]:
    """(3, 3) map of pixel centres from a picture of this width to its mirror image; its own inverse."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _read(reader: ShardReader, ref: ClipRef, view: ViewPlan, out: Tensor) -> npt.NDArray[np.float64]:
    """Read the pixels through the reader; returns (T, 3, 3) maps from px of the stored frame to px of the crop."""
    size, pixels = out.shape[1], out.numpy()
    _, maps = reader.frames(ref, view.stored_windows(), size, pixels)
    if not view.flip:
        return maps
    pixels[:] = pixels[:, :, ::-1].copy()
    flipped: npt.NDArray[np.float64] = mirror_map(size) @ maps
    return flipped


def _read_on_device(
    reader: ShardReader, ref: ClipRef, view: ViewPlan, out: Tensor, decoder: Decoder
) -> npt.NDArray[np.float64]:
    """The same, decoded and cropped on the device, with windows exactly as planned."""
    size = out.shape[1]
    images, scales = reader.stored(ref, min(window.side for window in view.windows), size)
    crop_from_stored = np.stack([window.crop_from_frame(size) for window in view.stored_windows()])
    if view.flip:
        crop_from_stored = mirror_map(size) @ crop_from_stored
    frame_from_picture = np.tile(np.eye(3), (len(scales), 1, 1))
    frame_from_picture[:, (0, 1), (0, 1)] = 1 / scales
    frame_from_picture[:, :2, 2] = 0.5 / scales - 0.5
    with own_stream(out.device) as after_training:
        try:
            pictures = decode_on_device(images, out.device, decoder)
        except AnnotationError as error:
            raise ShardError(
                f"a frame of {reader.index.sequences[ref.sequence].key} does not decode: {error.message}",
                where=reader.store.where,
                hint=reader.store.repair_hint,
            ) from error
        crops = crop_pictures(pictures, crop_from_stored @ frame_from_picture, size)
        after_training()
        out.copy_(crops)
    return crop_from_stored
