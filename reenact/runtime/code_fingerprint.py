"""Which code a stage runs: a hash that changes when, and only when, what it executes does.

Snakemake sees neither edits of imported modules nor that an edit touched only a comment; every rule
therefore carries this hash as a parameter.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("reenact", "workflow_scripts")

WATCHING = (
    "reenact.training.validation",
    "reenact.evaluation.measure",
    "reenact.evaluation.watch",
    "reenact.faces.mediapipe_faces",
    "reenact.settings.score",
    "reenact.settings.select",
)
"""Modules by which stages meta and finetune look at what they train: other code in them must not train it anew."""


def code(stage: str, root: Path = ROOT, without: tuple[str, ...] = ()) -> str:
    """Hash of `workflow_scripts/<stage>.py` and of everything of ours that it imports, comments and docstrings aside.

    Args:
        stage: name of the stage.
        root: folder of the project.
        without: modules (as `reenact.evaluation.watch`) that do not count, nor what only they import.

    Returns:
        12 hex digits.
    """
    seen: dict[Path, str] = {}
    waiting = [root / "workflow_scripts" / f"{stage}.py"]
    left_out = {root.joinpath(*name.split(".")).with_suffix(".py") for name in without}
    while waiting:
        path = waiting.pop()
        if path not in seen and path not in left_out:
            seen[path], imported = _meaning(path, root)
            waiting += imported
    lines = [f"{path.relative_to(root)} {digest}" for path, digest in sorted(seen.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@cache
def _meaning(path: Path, root: Path) -> tuple[str, list[Path]]:
    """Hash of one module without comments, docstrings and layout, and the modules of ours that it imports."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest(), []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # What a package's face imports only when asked for (`reenact.Avatar`) is no part of who imports a module of it.
    nodes = tree.body if path.name == "__init__.py" else ast.walk(tree)
    imported = [found for node in nodes for found in _imports(node, root)]
    imported += path.parent.glob(f"{path.stem}.*.jinja")
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and _is_docstring(body)
        ):
            node.body = body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _is_docstring(body: list[ast.stmt]) -> bool:
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _imports(node: ast.AST, root: Path) -> list[Path]:
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    found = []
    for name in names:
        if name.split(".")[0] in PACKAGES:
            base = root.joinpath(*name.split("."))
            found += [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return found
