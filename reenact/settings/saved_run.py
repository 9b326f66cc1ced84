"""Settings of an earlier training run, which a new one takes over."""

import json
from pathlib import Path
from typing import Any

from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaSettings
from reenact.settings.reading import read


def saved_settings(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings of the run that a command line resumes or starts from, by section; {} where it names none.

    Args:
        values: what is set in the file and on the command line, not yet checked.

    Raises:
        UserError: the run has settings of before, which were renamed or removed since; names each. Or its record is
            damaged, or of another program.
    """
    about = Path(str(values.get("resume") or values.get("start") or "")) / "about.json"
    if not about.is_file():
        return {}
    try:
        saved = json.loads(about.read_text(encoding="utf-8"))
        settings, preset = dict(saved["settings"]), str(saved["model.preset"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{about}: cannot be read as the record of a training run ({error!r}); "
            "name another run, or delete the file to take its checkpoint alone, with the settings given here"
        ) from None
    read(MetaSettings, settings, f"{about}, settings of an older run; change them there to go on with it")
    # Names and places are this run's own, and so is what goes with a start.
    own = ("name", "source", "start", "start_warmup", "resume", "clips", "validate_clips", "set", "shards", "loaders")
    return {"meta": {key: value for key, value in settings.items() if key not in own}, "model": {"preset": preset}}
