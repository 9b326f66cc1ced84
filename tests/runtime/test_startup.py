"""Imports that Python's search for garbage leaves alone."""

import ast
import gc
from pathlib import Path

import pytest

from reenact.runtime.startup import quick_imports

ROOT = Path(__file__).resolve().parents[2]
STAGES = sorted(path.stem for path in (ROOT / "reenact" / "stages").glob("[!_]*.py"))


@pytest.fixture(autouse=True)
def searching():
    """What is frozen here is the tests' own."""
    yield
    gc.enable()
    gc.unfreeze()


def test_what_is_made_meanwhile_is_never_searched():
    with quick_imports():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert not {id(item) for item in made} & {id(item) for item in gc.get_objects()}
    after = [[] for _ in range(1000)]
    assert {id(item) for item in after} <= {id(item) for item in gc.get_objects()}


def test_the_search_goes_on_after_an_import_that_fails():
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_search_that_was_off_stays_off():
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_imported_so(stage):
    tree = ast.parse((ROOT / "workflow_scripts" / f"{stage}.py").read_text(encoding="utf-8"))
    imports = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == f"reenact.stages.{stage}"
    ]
    quick = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr) == "quick_imports()"
        for inner in node.body
    ]
    assert imports
    assert all(node in quick for node in imports)
