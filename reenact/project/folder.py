"""A project: a folder with `config.yaml`, in which media lie, and results and logs come to lie."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

from reenact.project.edit_yaml import remove_key, set_value
from reenact.runtime.errors import UserError
from reenact.runtime.files import write_text
from reenact.settings.files import examine, repeated_keys
from reenact.settings.reading import report
from reenact.settings.workflow import Config

CONFIG = "config.yaml"
NEW = """\
# Who becomes an avatar, and what drives it. `reenact add` writes it, or you do; `reenact build` builds what is new.
# `reenact settings` lists every setting; each has a default.

# People: name -> media (a photo, a folder of photos, or a video), and why their face may be used.
identities: {}

# Videos that avatars follow: name -> media, and if need be start and end.
drivers: {}

# The model that comes with the package: it moves the person's own photos, and nothing is trained.
model: {preset: warping}
meta: {name: warping, source: bundled}

# Any of avatar, side_by_side, alpha, frames, on_background and pasted; height in px.
render: {outputs: [avatar, side_by_side], height: 256}
"""
FOLDERS = ("photos", "videos")
_EDITS = Lock()


@dataclass(frozen=True)
class Project:
    """A project.

    Attributes:
        folder: absolute path.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Project":
        """A new project, with nobody in it yet.

        Raises:
            UserError: one is there already, or the folder cannot be written.
        """
        project = cls(folder.resolve())
        if project.file.exists():
            raise UserError(f"{folder}: is a project already; `reenact add` puts people and drivers into it")
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; name a folder, which need not exist")
        write_text(project.file, NEW)
        for name in FOLDERS:
            (project.folder / name).mkdir(exist_ok=True)
        return project

    @classmethod
    def open(cls, folder: Path) -> "Project":
        """A project that is there.

        Raises:
            UserError: there is none in this folder.
        """
        project = cls(folder.resolve())
        if not project.file.is_file():
            raise UserError(f"{project.folder}: is no project, it has no {CONFIG}; `reenact new DIR` makes one")
        return project

    @property
    def file(self) -> Path:
        """The configuration."""
        return self.folder / CONFIG

    def config(self, unfinished: bool = False) -> Config:
        """The configuration, validated as the workflow does.

        Args:
            unfinished: nobody to build, or nobody to follow, is no problem yet.

        Raises:
            UserError: one message with every problem.
        """
        config, problems = examine(self._values(self._text()), self.folder, unfinished)
        problems = [*repeated_keys([self.file]), *problems]
        if config is None or problems:
            raise UserError(report(str(self.file), problems))
        return config

    def add_identity(
        self,
        name: str,
        media: str | Path,
        *,
        consent: str | None = None,
        consent_note: str | None = None,
        holdout: float | None = None,
    ) -> None:
        """Add a person to the configuration.

        Args:
            name: letters, digits, '-' and '_'; no other clip's.
            media: video, photo or folder of photos; relative to the project, or absolute.
            consent, consent_note, holdout: see `IdentitySettings`; None = not said.

        Raises:
            UserError: what is given is not valid; nothing is written.
        """
        self._add("identities", name, media, consent=consent, consent_note=consent_note, holdout=holdout)

    def add_driver(
        self, name: str, media: str | Path, *, start: float | str | None = None, end: float | str | None = None
    ) -> None:
        """Add a driver to the configuration, as `add_identity`.

        Args:
            name, media: as there.
            start, end: seconds, "1:30" or "60%"; None = the whole video.
        """
        self._add("drivers", name, media, start=start, end=end)

    def remove(self, name: str) -> None:
        """Take a person or a driver out of the configuration; media and results stay.

        Raises:
            UserError: nobody is called so, or something else names them.
        """
        clips = self._clips()
        if name not in clips:
            raise UserError(f"{name}: is neither a person nor a driver; there are: {', '.join(clips) or 'none yet'}")
        self._edit(lambda text: remove_key(text, (clips[name], name)))

    def set(self, key: str, value: Any) -> None:
        """Change one setting.

        Args:
            key: its keys with dots, such as `render.pose.intensity`.
            value: plain, as in YAML.

        Raises:
            UserError: the setting or the value is not allowed; nothing is written.
        """
        self._edit(lambda text: set_value(text, tuple(key.split(".")), value))

    def _add(self, section: str, name: str, media: str | Path, **more: Any) -> None:
        if name in self._clips():
            raise UserError(f"{name}: somebody is called so already; choose another name, or take it out first")
        path = Path(media)
        if path.is_absolute() and (path.parent.resolve() / path.name).is_relative_to(self.folder):
            path = (path.parent.resolve() / path.name).relative_to(self.folder)
        clip = {"media": path.as_posix()} | {key: value for key, value in more.items() if value is not None}
        self._edit(lambda text: set_value(text, (section, name), clip))

    def _edit(self, change: Callable[[str], str]) -> None:
        """Write the configuration with a change in it, unless the change makes a new mistake."""
        with _EDITS:
            before = self._text()
            try:
                after = change(before)
            except ValueError as error:
                raise UserError(f"{self.file}: {error}") from None
            known = examine(self._values(before), self.folder, unfinished=True)[1]
            found = examine(self._values(after), self.folder, unfinished=True)[1]
            if problems := [problem for problem in found if problem not in known]:
                raise UserError(report(str(self.file), problems))
            write_text(self.file, after)

    def _clips(self) -> dict[str, str]:
        """Name of every person and driver -> its section."""
        values = self._values(self._text())
        return {name: section for section in ("identities", "drivers") for name in values.get(section) or {}}

    def _text(self) -> str:
        try:
            return self.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.file}: cannot be read ({error})") from None

    def _values(self, text: str) -> dict[str, Any]:
        try:
            values = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise UserError(f"{self.file}: is not YAML ({' '.join(str(error).split())})") from None
        if not isinstance(values, dict):
            raise UserError(f"{self.file}: must be a mapping such as `identities: {{}}`")
        return values
