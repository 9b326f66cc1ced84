"""Sound for a finished video: cut out of other media to the exact stretch, encoded again only where it must be."""

from pathlib import Path
from typing import Any

import av
import ffmpeg
import imageio_ffmpeg

from reenact.media.container import for_ffmpeg
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

COPIED = {".mp4": ("aac", "mp3", "opus"), ".mov": ("aac", "mp3", "alac"), ".webm": ("opus", "vorbis")}
"""Codecs that a container takes and its players play; any other sound is encoded again."""

ENCODED: dict[str, dict[str, Any]] = {
    ".mp4": {"acodec": "aac", "audio_bitrate": "160k"},
    ".mov": {"acodec": "aac", "audio_bitrate": "160k"},
    ".webm": {"acodec": "libopus", "audio_bitrate": "128k", "ar": 48000},
}
"""How sound is encoded for a container."""


TAGS: dict[str, Any] = {"map_metadata": 0, "map_metadata:s": -1, "map_chapters": -1}
"""What the silent video says of itself stays; what the other media say does not come along."""


def add_audio(*, silent: Path, media: Path, start: float, duration: float, video: Path) -> None:
    """Copy the pictures of `silent` and the sound of `media` into `video`, written as a whole or not at all.

    The sound is that of `start` to `start + duration`: copied as it is where the container takes its codec (COPIED;
    cut between its packets, which keep their times), otherwise encoded (ENCODED).

    Args:
        silent: .mp4, .mov or .webm without sound.
        media: file with sound.
        start: presentation time in `media`, s, that belongs to time 0 of `silent`.
        duration: s.
        video: to write, of the same kind as `silent`.

    Raises:
        UserError: `media` is missing, cannot be read, or has no sound.
    """
    codec, origin = _audio_stream(media)
    pictures = ffmpeg.input(for_ffmpeg(silent))
    # ffmpeg counts -ss from the file's own start, which need not be 0.
    sound = ffmpeg.input(for_ffmpeg(media), ss=f"{max(0.0, start - origin):.6f}", t=f"{duration:.6f}")
    # webm has no edit list, which hides in the others what a copied packet holds before the first picture.
    whole = codec in COPIED[video.suffix] and (video.suffix != ".webm" or start <= origin)
    kind = {"acodec": "copy"} if whole else ENCODED[video.suffix]
    # Our webm files are the transparent ones; browsers look for this mark.
    flags = {"metadata:s:v:0": "alpha_mode=1"} if video.suffix == ".webm" else {"movflags": "+faststart"}
    with atomic_write(video) as temporary:
        command = ffmpeg.output(
            pictures["v:0"], sound["a:0"], for_ffmpeg(temporary), vcodec="copy", **TAGS, **flags, **kind
        )
        try:
            command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True, overwrite_output=True)
        except ffmpeg.Error as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"{media}: its sound cannot be used ({' '.join(last)}); set render.audio to none") from None


def check_sound(media: Path) -> None:
    """Make sure that there is sound to add, before hours of rendering.

    Raises:
        UserError: `media` is missing, cannot be read, or has no sound.
    """
    _audio_stream(media)


def _audio_stream(media: Path) -> tuple[str, float]:
    """Codec of the first audio stream, and the file's start time, s."""
    try:
        with av.open(for_ffmpeg(media), metadata_errors="replace") as container:
            if not container.streams.audio:
                raise UserError(
                    f"{media}: has no sound; set render.audio to none (if the driver had some before, run decode again)"
                )
            return container.streams.audio[0].codec.canonical_name, (container.start_time or 0) / av.time_base
    except FileNotFoundError:
        raise UserError(f"{media}: does not exist; the sound is read from it (or set render.audio to none)") from None
    except av.FFmpegError as error:
        raise UserError(f"{media}: cannot be read ({error})") from None
