"""List the frames of one clip with their exact times, and choose which are used for what."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.decode import DecodeSettings


def main() -> None:
    parser = StageParser(__doc__, DecodeSettings)
    parser.add_argument("--media", type=Path, required=True, help="video, image, folder of images, or folder of crops")
    parser.add_argument("--frames", type=Path, required=True, help="frame table to write (.csv)")
    parser.add_argument("--source", type=Path, required=True, help="facts about the media to write (.json)")
    parser.add_argument("--role", choices=["identity", "driver"], required=True, help="what the clip is for")
    parser.add_argument("--start", help="begin here: seconds from the first frame, 1:30, or 60%% of the duration")
    parser.add_argument("--end", help="stop before this: seconds from the first frame, 1:30, or 60%% of the duration")
    parser.add_argument(
        "--holdout", type=float, default=0.0, help="last share of an identity's video kept for scoring, 0 to 1"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of the decoder (default: 2)")
    arguments, (settings,) = parser.parse()

    from reenact.media.frame_table import Stretch
    from reenact.stages.decode import decode_clip

    decode_clip(
        media=arguments.media,
        frames=arguments.frames,
        source=arguments.source,
        role=arguments.role,
        stretch=Stretch(start=arguments.start, end=arguments.end, holdout=arguments.holdout),
        settings=settings,
        threads=arguments.threads,
    )


if __name__ == "__main__":
    run(main)
