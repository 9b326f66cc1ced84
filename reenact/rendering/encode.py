"""Videos with exact frame times: H.264 and H.265 in mp4; with alpha, ProRes 4444 in mov and VP9 in webm."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from reenact.media.container import for_ffmpeg
from reenact.provenance.stamp import Stamp
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

TIME_BASE = Fraction(1, 90_000)
"""Tick of the frame times: 11 microseconds; 24, 25, 30 and 60 frames/s and their NTSC kin are whole numbers of it.
(webm counts milliseconds.)"""

SOFTWARE = ("libx264", "libx265")
NVENC_PRESETS = {"ultrafast": "p1", "veryfast": "p2", "fast": "p4", "medium": "p5", "slow": "p6"}
QSV_PRESETS = {"ultrafast": "veryfast", "veryfast": "veryfast", "fast": "fast", "medium": "medium", "slow": "slow"}

ALPHA = {
    "prores": ("prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}),
    "vp9": (
        "libvpx-vp9",
        "yuva420p",
        {
            "b": "0",
            "crf": "18",
            "deadline": "good",
            "cpu-used": "4",
            "row-mt": "1",
            "auto-alt-ref": "0",
            "lag-in-frames": "0",
        },
    ),
}
"""Kind of transparent video -> encoder, pixel format, options. VP9's alternate reference frames cannot carry alpha."""


class VideoWriter:
    """Adds frames to a video that is being written; made by `write_video`. Memory does not grow with its length."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        width: int,
        height: int,
        encoder: str,
        pix_fmt: str,
        options: dict[str, str],
        stamp: Stamp | None,
    ) -> None:
        self._mark = stamp.marker(width, height) if stamp else None
        stream = cast(VideoStream, container.add_stream(encoder, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, _named(encoder, pix_fmt)
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        if encoder.startswith("hevc") or encoder == "libx265":
            stream.codec_context.codec_tag = "hvc1"  # the one of two spellings that Apple's players know
        if encoder == "libvpx-vp9" and pix_fmt.startswith("yuva"):
            stream.metadata["alpha_mode"] = "1"  # browsers look for it
        # Without these tags players guess the colour matrix from the size of the picture.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        self._container, self._stream = container, stream
        self._durations: dict[int | None, int] = {}

    def add(self, image: np.ndarray, time: float, duration: float) -> None:
        """Show one image from `time` on for `duration`, both in s; times must increase.

        Args:
            image: H x W x 3 uint8, RGB; or H x W x 4 uint16, RGB and alpha, straight.
            time, duration: s.
        """
        image = self._mark(image, time) if self._mark else image
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="rgb24" if image.shape[2] == 3 else "rgba64le"
        )
        frame = frame.reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
        self._durations[frame.pts] = max(1, round((time + duration) / TIME_BASE) - frame.pts)
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._mux(self._stream.encode(None))

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)


def _named(encoder: str, pix_fmt: str) -> str:
    """What an encoder calls a pixel format: Intel's takes yuv420p as nv12, which stores the same in another order."""
    return "nv12" if encoder.endswith("qsv") and pix_fmt == "yuv420p" else pix_fmt


def encoder_options(encoder: str, crf: int, preset: str) -> dict[str, str]:
    """What an encoder calls the quality `crf` (0 best to 51) and the speed `preset`.

    No B-frames: decoding times then equal the frame times, so every duration is stored as it is, however irregular.
    """
    if encoder in SOFTWARE:
        quiet = {"x265-params": "log-level=error"} if encoder == "libx265" else {}
        return {"crf": str(crf), "preset": preset, "bf": "0", **quiet}
    if encoder.endswith("nvenc"):
        return {"rc": "vbr", "cq": str(max(1, crf)), "b": "0", "preset": NVENC_PRESETS[preset], "bf": "0"}
    if encoder.endswith("videotoolbox"):  # its scale runs from 1 to 100, best
        return {"flags": "+qscale", "global_quality": str(118 * max(1, 100 - 2 * crf)), "bf": "0"}
    if encoder.endswith("qsv"):
        return {"global_quality": str(max(1, crf)), "preset": QSV_PRESETS[preset], "bf": "0"}
    return {"rc": "cqp", "qp_i": str(crf), "qp_p": str(crf), "bf": "0"}  # amf


def check_encoder(encoder: str, pix_fmt: str, crf: int, preset: str) -> None:
    """Encode two small black frames, so that what this machine lacks is known before hours of rendering.

    Raises:
        UserError: the encoder is not there, does not run on this machine, or does not take `pix_fmt`.
    """
    hint = "set render.encoder to libx264, which runs everywhere"
    try:
        context = cast(VideoCodecContext, VideoCodecContext.create(encoder, "w"))
        formats = [pixels.name for pixels in context.codec.video_formats or []]
        if formats and _named(encoder, pix_fmt) not in formats:
            raise UserError(f"render.pix_fmt: {pix_fmt!r} is not among what {encoder} takes ({', '.join(formats)})")
        context.width, context.height = 256, 256
        context.pix_fmt, context.time_base = _named(encoder, pix_fmt), TIME_BASE
        context.options = encoder_options(encoder, crf, preset)
        for pts in (0, 3600):
            frame = av.VideoFrame.from_ndarray(np.zeros((256, 256, 3), np.uint8), format="rgb24").reformat(
                format=context.pix_fmt
            )
            frame.pts, frame.time_base = pts, TIME_BASE
            context.encode(frame)
        context.encode(None)
    except av.codec.codec.UnknownCodecError:
        raise UserError(
            f"render.encoder: {encoder!r} is not part of the ffmpeg of this machine's PyAV; {hint}"
        ) from None
    except av.FFmpegError as error:
        raise UserError(
            f"render.encoder: {encoder!r} does not run on this machine ({error.strerror}); {hint}"
        ) from None


@contextmanager
def write_video(
    path: Path,
    width: int,
    height: int,
    crf: int = 16,
    preset: str = "medium",
    encoder: str = "libx264",
    pix_fmt: str = "yuv420p",
    stamp: Stamp | None = None,
) -> Iterator[VideoWriter]:
    """Write an mp4 as a whole or not at all: BT.709, index in front so that it starts while loading.

    Args:
        path: of the mp4.
        width, height: px, even.
        crf: quality, 0 best to 51.
        preset: speed, as x264 calls it.
        encoder, pix_fmt: see `RenderSettings`.
        stamp: what its frames and metadata say; None = nothing.

    Raises:
        UserError: the file cannot be written.
    """
    with _written(path, "mp4", width, height, encoder, pix_fmt, encoder_options(encoder, crf, preset), stamp) as writer:
        yield writer


@contextmanager
def write_alpha_video(
    path: Path, width: int, height: int, kind: str, stamp: Stamp | None = None
) -> Iterator[VideoWriter]:
    """Write a transparent video as a whole or not at all: straight alpha, BT.709.

    Args:
        path: .mov for "prores", .webm for "vp9".
        width, height: px, even.
        kind: a key of ALPHA.
        stamp: what its frames and metadata say; None = nothing.

    Raises:
        UserError: the file cannot be written.
    """
    encoder, pix_fmt, options = ALPHA[kind]
    with _written(path, path.suffix[1:], width, height, encoder, pix_fmt, options, stamp) as writer:
        yield writer


@contextmanager
def _written(
    path: Path,
    kind: str,
    width: int,
    height: int,
    encoder: str,
    pix_fmt: str,
    options: dict[str, str],
    stamp: Stamp | None,
) -> Iterator[VideoWriter]:
    flags = {} if kind == "webm" else {"movflags": "+faststart"}
    with atomic_write(path) as temporary:
        with av.open(for_ffmpeg(temporary), "w", format=kind, options=flags) as container:
            container.metadata.update(stamp.tags() if stamp else {})
            writer = VideoWriter(container, width, height, encoder, pix_fmt, options, stamp)
            yield writer
            writer.finish()
