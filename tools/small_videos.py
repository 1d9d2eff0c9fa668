"""Write the small videos of tests/files/videos, which OpenCV cannot write: needs PyAV (`pip install av`).

    python tools/small_videos.py tests/files/videos

Made with PyAV 18.1. Every frame shows its number in six stripes, white for ones, under a red bar. `damaged` videos have
two packets overwritten in the middle; `cut.mp4` ends within its pictures, behind its index.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)
EVEN = [number / 25 for number in range(12)]
UNEVEN = [0, 0.033, 0.066, 0.166, 0.266, 0.299, 0.332, 0.432, 0.532, 0.565]
HLG, BT2020 = 18, 9
DAMAGED_PACKETS = (15, 16)


def picture(number: int) -> np.ndarray:
    """(64, 96, 3) RGB."""
    stripes = np.repeat(np.array([number >> bit & 1 for bit in range(6)], np.uint8) * 200 + 20, SIZE[0] // 6)
    pixels = np.tile(stripes[None, :, None], (SIZE[1], 1, 3))
    pixels[: SIZE[1] // 3] = (200, 40, 40)
    return pixels


def write(
    file: Path,
    times: Sequence[float],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    transfer: int | None = None,
    size: tuple[int, int] = SIZE,
    index_first: bool = False,
) -> None:
    """A video whose frames are shown at `times`, seconds."""
    base = Fraction(1, 25) if codec in ("mjpeg", "mpeg2video") else Fraction(1, 1000)
    with av.open(str(file), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt, stream.options = pixel_format, options or {}
        stream.codec_context.time_base = stream.time_base = base
        if transfer:
            stream.codec_context.color_trc = transfer
            stream.codec_context.color_primaries = stream.codec_context.colorspace = BT2020
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame = frame.reformat(*size, format=pixel_format)
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(file: Path) -> None:
    """A quarter of a second of silence."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def packets(file: Path) -> list[tuple[int, int]]:
    """(place, length) in bytes of each packet of pictures."""
    with av.open(str(file)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def damage(file: Path) -> None:
    """Overwrite two packets with other bytes."""
    data, places = bytearray(file.read_bytes()), packets(file)
    for place, length in (places[number] for number in DAMAGED_PACKETS):
        for byte in range(5, length):
            data[place + byte] = (data[place + byte] * 7 + byte * 13 + 5) & 255
    file.write_bytes(data)


def cut(file: Path, packet: int) -> None:
    """End in the middle of a packet."""
    place, length = packets(file)[packet]
    file.write_bytes(file.read_bytes()[: place + length // 2])


def main(folder: Path) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    quiet = "log-level=error"
    write(folder / "plain.mp4", EVEN)
    write(folder / "variable.mp4", UNEVEN)
    write(folder / "variable.webm", UNEVEN, "libvpx-vp9")
    for name in ("late.mp4", "late.mkv"):
        write(folder / name, [0.5 + time for time in EVEN])
    hlg = {"x265-params": f"{quiet}:colorprim=9:transfer=18:colormatrix=9"}
    write(folder / "hlg.mp4", EVEN[:6], "libx265", "yuv420p10le", hlg, HLG)
    write(folder / "grey16.mkv", EVEN[:6], "ffv1", "gray16le")
    write(folder / "alpha.mkv", EVEN[:6], "ffv1", "bgra")
    write(folder / "odd.mkv", EVEN[:6], "ffv1", "bgr0", size=(97, 63))
    write(folder / "camcorder.ts", EVEN, "mpeg2video")
    write_sound(folder / "sound.mp4")
    longer = [number / 25 for number in range(30)]
    write(folder / "damaged.mp4", longer, options={"g": "10"})
    write(folder / "damaged.avi", longer, "mjpeg", "yuvj420p")
    write(folder / "damaged.webm", longer, "libvpx-vp9", options={"g": "10"})
    for name in ("damaged.mp4", "damaged.avi", "damaged.webm"):
        damage(folder / name)
    write(folder / "cut.mp4", longer, options={"g": "10"}, index_first=True)
    cut(folder / "cut.mp4", 20)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
