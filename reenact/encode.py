"""Writing videos: H.264 in mp4 with exact frame times, and a driver's sound beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from reenact.errors import UserError
from reenact.files import written_whole

TIME_BASE = Fraction(1, 90_000)
"""Tick of the frame times: 11 microseconds; 24, 25, 30 and 60 frames/s and their NTSC kin are whole numbers of it."""

COPIED_AUDIO = ("aac", "mp3", "opus")
"""Codecs that mp4 takes and browsers play from it; any other sound is encoded again, as AAC."""

AAC_BITRATE = "160k"


class VideoWriter:
    """Adds frames to a video that is being written; made by `write_video`. Memory does not grow with its length."""

    def __init__(self, container: av.container.OutputContainer, width: int, height: int, crf: int, preset: str) -> None:
        # No B-frames: decoding times then equal the frame times, so that every duration, the last frame's too, is
        # stored as it is, however irregular.
        stream = container.add_stream("libx264", options={"crf": str(crf), "preset": preset, "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        # Without these tags players guess the colour matrix from the size of the picture.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        self._container, self._stream = container, stream
        self._durations: dict[int, int] = {}

    def add(self, image: np.ndarray, time: float, duration: float) -> None:
        """Show one uint8 H x W x 3 RGB image from `time` on for `duration`, both in s; times must increase."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG
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


@contextmanager
def write_video(path: Path, width: int, height: int, crf: int = 16, preset: str = "medium") -> Iterator[VideoWriter]:
    """Write an mp4 as a whole or not at all: H.264, yuv420p, BT.709, index in front so that it starts while loading.

    Args:
        path: of the mp4.
        width, height: px, even.
        crf: quality of x264, 0 best to 51.
        preset: speed of x264.

    Raises:
        UserError: the file cannot be written.
    """
    with written_whole(path) as temporary:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            writer = VideoWriter(container, width, height, crf, preset)
            yield writer
            writer.finish()


def add_audio(*, silent: Path, media: Path, start: float, duration: float, video: Path) -> None:
    """Copy the pictures of `silent` and the sound of `media` into `video`, written as a whole or not at all.

    The sound is that of `start` to `start + duration`: copied as it is where mp4 and browsers take its codec
    (COPIED_AUDIO; then cut between its packets, which keep their times), otherwise encoded as AAC.

    Args:
        silent: mp4 without sound.
        media: file with sound.
        start: presentation time in `media`, s, that belongs to time 0 of `silent`.
        duration: s.
        video: mp4 to write.

    Raises:
        UserError: `media` is missing, cannot be read, or has no sound.
    """
    codec, origin = _audio_facts(media)
    pictures = ffmpeg.input(str(silent))
    # ffmpeg counts -ss from the file's own start, which need not be 0.
    sound = ffmpeg.input(str(media), ss=f"{max(0.0, start - origin):.6f}", t=f"{duration:.6f}")
    kind = {"acodec": "copy"} if codec in COPIED_AUDIO else {"acodec": "aac", "audio_bitrate": AAC_BITRATE}
    with written_whole(video) as temporary:
        command = ffmpeg.output(
            pictures["v:0"], sound["a:0"], str(temporary), vcodec="copy", movflags="+faststart", map_metadata=-1, **kind
        )
        try:
            command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True, overwrite_output=True)
        except ffmpeg.Error as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"{media}: its sound cannot be used ({' '.join(last)}); set render.audio to none") from None


def _audio_facts(media: Path) -> tuple[str, float]:
    """Codec of the first audio stream, and the file's start time, s."""
    try:
        with av.open(str(media)) as container:
            if not container.streams.audio:
                raise UserError(f"{media}: has no sound any more; run stage decode again, or set render.audio to none")
            return container.streams.audio[0].codec.canonical_name, (container.start_time or 0) / av.time_base
    except FileNotFoundError:
        raise UserError(f"{media}: does not exist; the driver's sound is read from it (or set render.audio to none)") from None
    except av.FFmpegError as error:
        raise UserError(f"{media}: cannot be read ({error})") from None
