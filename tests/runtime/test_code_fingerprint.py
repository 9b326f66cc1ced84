"""The code hash changes when what a stage runs does, and only then."""

import shutil
import subprocess
import sys

import pytest
from tree import ROOT

from reenact.runtime.code_fingerprint import _meaning, code


@pytest.fixture
def project(tmp_path):
    for folder in ("reenact", "workflow_scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(project, file, old, new):
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    _meaning.cache_clear()


def hashes(project):
    _meaning.cache_clear()
    stages = [path.stem for path in (project / "workflow_scripts").glob("*.py") if path.stem != "__init__"]
    return {stage: code(stage, project) for stage in stages}


def changed(project, file, old, new):
    before = hashes(project)
    edit(project, file, old, new)
    return {stage for stage, digest in hashes(project).items() if digest != before[stage]}


def test_an_edit_reaches_the_stages_that_run_it(project):
    assert changed(project, "reenact/settings/crop.py", "default=1.8", "default=1.9") == {
        "crop",
        "shard",
        "write_config",
    }
    assert changed(project, "reenact/training/losses.py", "1 + fake", "2 + fake") == {"meta", "finetune"}
    assert changed(project, "workflow_scripts/decode.py", "frame table to write", "table to write") == {"decode"}


def test_comments_docstrings_and_layout_do_not_count(project):
    assert changed(project, "reenact/stages/crop.py", "\ndef ", "\n# A comment.\n\n\ndef ") == set()
    assert changed(project, "reenact/training/losses.py", "Hinge loss of the generator", "The loss") == set()


def test_a_template_counts(project):
    assert changed(project, "reenact/stages/report.html.jinja", "<", "<!-- --><") == {"report"}


def test_nothing_that_the_snakefile_imports_is_heavy():
    imports = "import reenact.runtime.code_fingerprint, reenact.settings.files, reenact.settings.workflow"
    heavy = "import sys; print([m for m in ('torch', 'cv2', 'mediapipe', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {heavy}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
