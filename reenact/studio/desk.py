"""What the server holds while it runs: the project's folder, and what is kept of it between requests."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from reenact.project.build import Build
from reenact.project.folder import Project
from reenact.runtime.errors import UserError
from reenact.runtime.files import write_text
from reenact.settings.workflow import ClipSettings, Config
from reenact.studio.uploads import Uploads

if TYPE_CHECKING:
    from reenact.studio.stills import Stills

REMOVED = Path(".reenact/removed.json")
"""Who was taken out of the configuration and can be put back: name -> section and entry."""


class Unknown(UserError):
    """What a request names does not exist."""


class Conflict(UserError):
    """It cannot be done now."""


@dataclass(frozen=True)
class Removed:
    """Somebody who was taken out: identities or drivers, and what config.yaml said."""

    section: str
    entry: dict[str, Any]


class Desk:
    """One project on the server's desk.

    Attributes:
        folder: of the project, absolute; it need not be one yet.
        uploads: files that wait.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.uploads = Uploads(self.folder)
        self._lock = Lock()

    @cached_property
    def stills(self) -> "Stills":
        """Avatars and drivers that are loaded; the first call takes the seconds that torch takes."""
        from reenact.studio.stills import Stills

        return Stills()

    def project(self) -> Project:
        """The project.

        Raises:
            Unknown: the folder is none yet.
        """
        if not (self.folder / "config.yaml").is_file():
            raise Unknown(f"{self.folder}: is no project yet; make one on the first page")
        return Project.open(self.folder)

    def config(self) -> Config:
        """The configuration; a project without people or drivers is good enough.

        Raises:
            Unknown: the folder is no project yet.
            UserError: every problem of the configuration.
        """
        return self.project().config(unfinished=True)

    def clip(self, name: str) -> ClipSettings:
        """A person or driver.

        Raises:
            Unknown: nobody is called so.
        """
        config = self.config()
        found = config.identities.get(name) or config.drivers.get(name)
        if found is None:
            raise Unknown(f"{name}: is neither a person nor a driver of this project")
        return found

    def media(self, name: str) -> Path:
        """Where the media of a person or driver lie."""
        return self.folder / self.clip(name).media

    def result(self, *parts: str) -> Path:
        """A path below the results folder; the parts are names that were checked."""
        return self.folder.joinpath("results", *parts)

    def build(self) -> Build | None:
        """The build that runs, or the last one."""
        return Build.current(self.project())

    # ---- taking out and putting back ------------------------------------------------------------------------

    def remove(self, name: str) -> None:
        """Take somebody out of the configuration; media and results stay, and it can be undone.

        Raises:
            Unknown: nobody is called so.
            UserError: something else names them.
        """
        with self._lock:
            clip, config = self.clip(name), self.config()
            section = "identities" if name in config.identities else "drivers"
            self.project().remove(name)
            kept = self.removed() | {name: Removed(section, clip.model_dump(mode="json", exclude_unset=True))}
            self._keep(kept)

    def restore(self, name: str) -> None:
        """Put somebody back who was taken out.

        Raises:
            Unknown: nobody called so was.
            UserError: somebody else has the name by now, or the media are gone.
        """
        with self._lock:
            kept = self.removed()
            if name not in kept:
                raise Unknown(f"{name}: was not taken out")
            config = self.config()
            if name in config.identities or name in config.drivers:
                raise Conflict(f"{name}: somebody is called so by now")
            self.project().set(f"{kept[name].section}.{name}", kept.pop(name).entry)
            self._keep(kept)

    def removed(self) -> dict[str, Removed]:
        """Who was taken out and can be put back."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            values = json.loads((self.folder / REMOVED).read_text(encoding="utf-8"))
            return {name: Removed(**value) for name, value in values.items()}
        return {}

    def _keep(self, removed: dict[str, Removed]) -> None:
        texts = {name: asdict(value) for name, value in removed.items()}
        write_text(self.folder / REMOVED, json.dumps(texts, indent=1) + "\n")
