"""What was made: the result files that a page may show."""

from collections.abc import Sequence
from pathlib import Path

BESIDE = ".side_by_side.mp4"
PLAYED = (BESIDE, ".on_background.mp4", ".pasted.mp4", ".alpha.webm", ".mp4")
"""Endings of renders that browsers play, in the order in which they are shown."""


class Results:
    """The result files that the page may show, by their path under the results folder."""

    def __init__(self, root: Path, inputs: Sequence[Path]) -> None:
        found = [
            file for path in inputs for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.exists()
        ]
        self._files = {file.resolve().relative_to(root.resolve()).as_posix(): file for file in found}

    def get(self, name: str) -> Path | None:
        """The file `name`, None where it was not given or does not exist."""
        return self._files.get(name)

    def names(self, folder: str) -> list[str]:
        """What lies directly under `folder`, in the order given."""
        return list(dict.fromkeys(name.split("/")[1] for name in self._files if name.startswith(f"{folder}/")))

    def renders(self, identity: str) -> tuple[list[tuple[str, Path]], list[str]]:
        """What was rendered of an identity: (driver, file) of what browsers play, and the names of the rest.

        The avatar alone is left out where it stands in a video side by side.
        """
        prefix = f"renders/{identity}/"
        files = {name.removeprefix(prefix): path for name, path in self._files.items() if name.startswith(prefix)}
        played: list[tuple[str, Path]] = []
        others: list[str] = []
        for driver in dict.fromkeys(name.split(".")[0] for name in files):
            own = [name for name in files if name.split(".")[0] == driver and not name.endswith(".c2pa")]
            shown = [driver + suffix for suffix in PLAYED if driver + suffix in own]
            played += [
                (driver, files[name])
                for name in (shown[:-1] if len(shown) > 1 and shown[0].endswith(BESIDE) else shown)
            ]
            others += dict.fromkeys(name.split("/")[0] for name in own if name not in shown)
        return played, others
