"""The whole configuration: every section, the clips, and what follows from them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from reenact.settings.base import Section
from reenact.settings.crop import CropSettings, FaceChoice
from reenact.settings.dataset import DatasetSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.drive import DriveSettings
from reenact.settings.fetch import KNOWN_FILES, FetchSettings
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.fit import FitSettings
from reenact.settings.mark import Consent, MarkSettings
from reenact.settings.meta import BUNDLED_MODELS, MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.pretrain import PretrainSettings
from reenact.settings.render import RenderSettings
from reenact.settings.report import ReportSettings
from reenact.settings.score import ScoreSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.select import SelectSettings
from reenact.settings.shard import ShardSettings

FETCHED = Path("resources")


class ClipSettings(Section):
    """Where the frames of a clip come from."""

    media: str = Field(
        min_length=1,
        description="A video, an image, a folder of images, or a folder of crops (images-cropped/<identity>, with "
        "masks beside it).",
    )
    start: float | str | None = Field(
        default=None,
        description='Begin here: seconds from the first frame, "1:30", or "60%" of the duration; null = the beginning.',
    )
    end: float | str | None = Field(default=None, description="End here, likewise; null = the end.")
    face: FaceChoice | None = Field(
        default=None, description="Who is followed where several people are seen, as crop.face; null = crop.face."
    )


class IdentitySettings(ClipSettings):
    """A person who becomes an avatar."""

    holdout: float = Field(
        default=0.2,
        ge=0,
        le=0.8,
        description="Last fraction of a video that training never sees; the iteration is chosen on it.",
    )
    choose: Literal["auto"] | int | None = Field(
        default=None, description="finetune.choose for this person alone; null = as it says."
    )
    consent: Consent | None = Field(
        default=None,
        description="Why this face may be used: own (you), written (the person agreed in writing), public-domain, or "
        "fictional (nobody's face); null is said in the log, the report and the credentials of the videos.",
    )
    consent_note: str = Field(
        default="", max_length=500, description="A note about it, which everybody can read in the credentials."
    )


class DriverSettings(ClipSettings):
    """A video that avatars follow."""


class Config(Section):
    """Everything that `config.yaml` may say."""

    identities: dict[str, IdentitySettings] = Field(
        description="People who become avatars: name -> media, start, end, holdout."
    )
    drivers: dict[str, DriverSettings] = Field(description="Videos that avatars follow: name -> media, start, end.")
    pairs: Literal["all"] | list[tuple[str, str]] = Field(
        default="all", description="Videos to render: all, or a list of [identity, driver]."
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N or mps."
    )
    fetch: FetchSettings = Field(default=FetchSettings())
    decode: DecodeSettings = Field(default=DecodeSettings())
    crop: CropSettings = Field(default=CropSettings())
    segment: SegmentSettings = Field(default=SegmentSettings())
    dataset: DatasetSettings = Field(default=DatasetSettings())
    shard: ShardSettings = Field(default=ShardSettings())
    model: ModelSettings = Field(default=ModelSettings())
    pretrain: PretrainSettings = Field(default=PretrainSettings())
    fit: FitSettings = Field(default=FitSettings())
    meta: MetaSettings = Field(default=MetaSettings())
    finetune: FinetuneSettings = Field(default=FinetuneSettings())
    drive: DriveSettings = Field(default=DriveSettings())
    score: ScoreSettings = Field(default=ScoreSettings())
    select: SelectSettings = Field(default=SelectSettings())
    render: RenderSettings = Field(default=RenderSettings())
    mark: MarkSettings = Field(default=MarkSettings())
    report: ReportSettings = Field(default=ReportSettings())

    def clip(self, name: str) -> ClipSettings:
        """Identity or driver by name."""
        return self.identities.get(name) or self.drivers[name]

    def meta_clips(self) -> list[str]:
        """Names of the clips to meta-learn from; with a set, none."""
        return [] if self.meta.set else self.meta.clips or list(self.identities)

    def meta_start(self, fitted: str) -> list[str]:
        """The model file that stage meta begins with, if any: what `meta.start` names; for the warping family else
        `fitted`, by stage fit."""
        from_nothing = self.model.preset == "warping" and not (self.meta.start or self.meta.resume)
        return [fitted] if from_nothing else self.meta.start_files()

    def meta_model(self, trained: str, imported: str) -> str:
        """The meta-model's file: `trained` by stage meta, `imported` by stage import_published, or a finished one."""
        if self.meta.source == "train":
            return trained
        if self.meta.source == "bundled":
            return str(BUNDLED_MODELS[self.model.preset])
        return imported if self.imported_checkpoint() else self.meta.source

    def imported_checkpoint(self) -> str | None:
        """The checkpoint of the published code that `meta.source` names, if it names one."""
        return self.meta.source if Path(self.meta.source).suffix in (".pth", ".pt", ".ckpt") else None

    def rendered_pairs(self) -> list[tuple[str, str]]:
        """Identity and driver of every video."""
        if self.pairs == "all":
            return [(identity, driver) for identity in self.identities for driver in self.drivers]
        return [(identity, driver) for identity, driver in self.pairs]

    def chosen_iteration(self, identity: str) -> int | str:
        """The iteration that becomes a person's avatar, or auto."""
        own = self.identities[identity].choose
        return self.finetune.choose if own is None else own

    def cross_driver(self, identity: str) -> str:
        """The driver for an identity's cross-driving scores: another video, if possible one it is rendered with."""
        rendered = [driver for name, driver in self.rendered_pairs() if name == identity]
        others = [n for n in [*rendered, *self.drivers] if self.drivers[n].media != self.identities[identity].media]
        return self.drive.driver or (others or list(self.drivers))[0]

    def available(self, path: str | Path, folder: Path = Path()) -> bool:
        """Whether a file or folder of a project is there, or stage fetch will make it."""
        return (folder / path).exists() or Path(path) in {FETCHED / file for file in self.fetch.files}

    def needed_files(self) -> list[str]:
        """Paths under resources/ of what stage fetch gets for this configuration."""
        named = {self.score.descriptor_weights, *(clip.media for clip in (self.identities | self.drivers).values())}
        return [file for file in self.fetch.files if file not in KNOWN_FILES or str(FETCHED / file) in named]
