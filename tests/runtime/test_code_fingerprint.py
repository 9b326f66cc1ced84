"""The fingerprint changes when what decides a stage's results does, and only then."""

import shutil
import subprocess
import sys

import pytest
from tree import ROOT

from reenact.runtime.code_fingerprint import SILENT_ROOMS, _read, code

STAGE = '''
"""Stage toy."""

import logging
from typing import ClassVar

from pydantic import Field

from reenact.data.samples import draw
from reenact.runtime.files import write
from reenact.runtime.progress import progress

LOG = logging.getLogger(__name__)
LIMIT = 3
"""Most samples."""


class Settings:
    former: ClassVar[dict[str, str]] = {"speed": "is now rate"}
    rate: float = Field(default=0.1, ge=0, description="Learning rate.")


def stage(count: int) -> int:
    """Draw samples.

    Args:
        count: how many.
    """
    if count > LIMIT:
        raise ValueError(f"count: {count} is more than {LIMIT}")
    print(f"drawing {count}", flush=True)
    LOG.warning("%s drawn", count)
    write("count: {count}")
    for number in progress(range(count), count, "toy"):
        write(number)
    return draw(count)  # as they come
'''


@pytest.fixture
def toy(tmp_path):
    """A project of one stage that imports a room that decides results, and one that does not."""
    for file, text in {
        "stages/toy.py": STAGE,
        "data/samples.py": "def draw(count):\n    return count\n",
        "runtime/files.py": "def write(text):\n    pass\n",
    }.items():
        (tmp_path / "reenact" / file).parent.mkdir(parents=True)
        (tmp_path / "reenact" / file).write_text(text)
    return tmp_path


@pytest.fixture
def project(tmp_path):
    """A copy of this project."""
    shutil.copytree(ROOT / "reenact", tmp_path / "reenact", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(project, file, old, new):
    path = project / "reenact" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def changes(project, file, old, new):
    """Whether an edit changes the fingerprint of the stage `toy`."""
    before = code("toy", project)
    edit(project, file, old, new)
    _read.cache_clear()
    return code("toy", project) != before


def changed(project, file, old, new):
    """Stages of this project whose fingerprint an edit changes."""
    stages = [path.stem for path in (project / "reenact" / "stages").glob("*.py") if path.stem != "__init__"]
    before = {stage: code(stage, project) for stage in stages}
    edit(project, file, old, new)
    _read.cache_clear()
    return {stage for stage in stages if code(stage, project) != before[stage]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Stage toy."""', '"""Another word."""'),
        ('"""Most samples."""', ""),
        ("Draw samples.", "Draws."),
        ("  # as they come", ""),
        ('f"count: {count} is more than {LIMIT}"', '"too many"'),
        ('print(f"drawing {count}", flush=True)', 'print("drawing", count, LIMIT)'),
        ('    print(f"drawing {count}", flush=True)\n', ""),
        ('LOG.warning("%s drawn", count)', 'LOG.info("drawn")'),
        (', description="Learning rate."', ', description="How fast."'),
        (', description="Learning rate."', ""),
        ('progress(range(count), count, "toy")', 'progress(range(count), LIMIT, "a toy", unit="toy")'),
        ('progress(range(count), count, "toy")', "range(count)"),
        ("from reenact.runtime.progress import progress\n", ""),
        ('"is now rate"', '"is called rate now"'),
    ],
)
def test_what_is_said_to_people_does_not_count(toy, old, new):
    assert not changes(toy, "stages/toy.py", old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("default=0.1", "default=0.2"),
        ("ge=0", "ge=1"),
        ("ValueError", "KeyError"),
        ("draw(count)", "draw(count + 1)"),
        ('write("count: {count}")', 'write("{count}")'),
        ('progress(range(count), count, "toy")', 'progress(range(LIMIT), count, "toy")'),
    ],
)
def test_what_is_computed_or_written_counts(toy, old, new):
    assert changes(toy, "stages/toy.py", old, new)


def test_imported_code_counts_unless_its_room_decides_nothing(toy):
    assert not changes(toy, "runtime/files.py", "pass", "print(text)")
    assert changes(toy, "data/samples.py", "return count", "return -count")


def test_rooms_that_decide_nothing_say_so(project):
    rooms = [room for room in SILENT_ROOMS if (project / "reenact" / room).is_dir()]
    assert "runtime" in rooms
    for room in rooms:
        assert "decides no result" in " ".join((project / "reenact" / room / "__init__.py").read_text().split())


def test_an_edit_reaches_the_stages_whose_results_it_decides(project):
    # An avatar crops videos itself, and so do the stages that have one; they follow crop anyway.
    assert changed(project, "settings/crop.py", "default=1.8", "default=1.9") == {"crop", "shard", "drive", "render"}
    assert changed(project, "training/losses.py", "1 + fake", "2 + fake") == {"meta", "finetune"}
    assert changed(project, "settings/meta.py", "default=100_000", "default=200_000") == {"meta", "import_published"}
    assert changed(project, "data/augment.py", "\nimport torch", "\nAUGMENTED = 1\nimport torch") == {
        "meta",
        "finetune",
    }
    assert changed(project, "data/samples.py", "\nimport torch", "\nSAMPLED = 1\nimport torch") == {"meta", "finetune"}
    assert changed(project, "models/generator.py", "\nimport torch", "\nWIDER = 1\nimport torch") >= {
        "meta",
        "finetune",
        "drive",
    }


def test_edited_messages_reach_no_stage(project):
    assert changed(project, "settings/reading.py", "unknown key", "no such key") == set()
    assert changed(project, "settings/training.py", 'description="Momentum', 'description="The momentum') == set()


def test_a_template_counts(project):
    assert changed(project, "stages/report.html.jinja", "<", "<!-- --><") == {"report"}


def test_nothing_that_the_snakefile_imports_is_heavy():
    imports = "import reenact.runtime.code_fingerprint, reenact.settings.files, reenact.settings.workflow"
    heavy = "import sys; print([m for m in ('torch', 'cv2', 'ai_edge_litert', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {heavy}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
