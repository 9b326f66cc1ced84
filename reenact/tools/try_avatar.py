"""A first avatar at once: the bundled warping model, one person's photo, and a driver; nothing is trained or kept."""

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reenact.data.training_clips import load_training_clip
from reenact.media.frame_table import Stretch
from reenact.media.probe import probe
from reenact.models.model_file import load_model, save_model
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.runtime.files import atomic_write
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.mark import Consent, MarkSettings
from reenact.settings.meta import BUNDLED_MODELS
from reenact.settings.render import RenderSettings
from reenact.settings.segment import SegmentSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip
from reenact.stages.mark import Driver, Person, mark_renders
from reenact.stages.render import DriverFiles, render_pair
from reenact.stages.segment import segment_clip

HEIGHT = 256
"""Of the picture, px."""


def try_pair(
    *,
    photo: Path,
    driver: Path,
    output: Path,
    seconds: float,
    beside: bool = False,
    consent: Consent | None = None,
    device: str = "auto",
    threads: int = 0,
) -> None:
    """Render a person doing what a driver does: the stages of the workflow, one behind the other in this process.

    Args:
        photo: of the person; a folder of photos or a video too.
        driver: video.
        output: mp4 to write, with a watermark and credentials as every rendering.
        seconds: how much of the driver's beginning is followed, s; 0 = all of it.
        beside: show the photo and the driver beside the avatar.
        consent: why the person's face may be used.
        device, threads: see `pick_device`.

    Raises:
        UserError: media that cannot be read, or without a face; `output` cannot be written.
    """
    length = probe(driver).duration
    stretch = Stretch(end=seconds if seconds and (length is None or length > seconds) else None)
    render = RenderSettings(outputs=["side_by_side" if beside else "avatar"], height=HEIGHT)
    with tempfile.TemporaryDirectory(prefix="reenact-") as name:
        folder = Path(name)
        with _step(f"{photo}: the face, and what belongs to the person"):
            _clip(photo, folder / "person", "identity", Stretch(), device, threads)
            segment_clip(
                crops=folder / "person" / "crops.zip",
                mattes=folder / "person" / "mattes.zip",
                settings=SegmentSettings(),
                device=device,
                threads=threads,
            )
        with _step(f"{driver}: the face in every frame" + (f" of the first {seconds:g} s" if stretch.end else "")):
            _clip(driver, folder / "driver", "driver", stretch, device, threads)
        with _step("the avatar"):
            model = _avatar(folder)
        with _step("rendering"):
            render_pair(
                model=model,
                driver=DriverFiles(folder / "driver" / "crops.zip", driver, folder / "driver" / "source.json"),
                stem=folder / "pair",
                device=device,
                threads=threads,
                settings=render,
                identity_crops=folder / "person" / "crops.zip",
            )
            _sign(folder / "pair.json", output, Person(photo, consent), Driver(driver), render)


def _clip(media: Path, folder: Path, role: str, stretch: Stretch, device: str, threads: int) -> None:
    """Frame table, source.json and crops of one clip."""
    folder.mkdir()
    decode_clip(
        media=media,
        frames=folder / "frames.csv",
        source=folder / "source.json",
        role="identity" if role == "identity" else "driver",
        stretch=stretch,
        settings=DecodeSettings(),
    )
    crop_clip(
        media=media,
        frames=folder / "frames.csv",
        crops=folder / "crops.zip",
        settings=CropSettings(),
        device=device,
        threads=threads,
    )


def _avatar(folder: Path) -> Path:
    """The person's model, made of the photos as stage finetune does it, whose trainers take seconds to import."""
    clip = load_training_clip(folder / "person" / "crops.zip", folder / "person" / "mattes.zip", None)
    model = load_model(BUNDLED_MODELS["warping"]).reenactor
    assert isinstance(model, WarpingReenactor)
    avatar = model.eval().personalised(clip.frames, clip.mattes, FinetuneSettings().references)
    save_model(folder / "avatar.safetensors", avatar, {"stage": "try"})
    return folder / "avatar.safetensors"


def _sign(record: Path, output: Path, person: Person, driver: Driver, render: RenderSettings) -> None:
    """Put the rendering where it belongs, with its credentials."""
    made = Path(render.targets(str(record.parent / "signed"))[render.outputs[0]])
    mark_renders(
        record=record,
        stem=record.parent / "signed",
        identity=person,
        driver=driver,
        render=render,
        settings=MarkSettings(),
    )
    with atomic_write(output) as temporary:
        shutil.copyfile(made, temporary)


@contextlib.contextmanager
def _step(title: str) -> Iterator[None]:
    """Say what is done and how long it took, in place of what stages print for their logs."""
    started = time.monotonic()
    print(f"{title} ...", flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
    print(f"  {time.monotonic() - started:.1f} s", flush=True)
