"""Which code decides a stage's results: a hash that changes when, and only when, that code does.

Snakemake sees neither edits of imported modules nor that an edit touched only a comment; every rule
therefore carries this hash as a parameter, and stages that resume name their run folders by it.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SILENT_ROOMS = ("runtime", "monitoring")
"""Rooms that decide no result, by definition (see their `__init__`); imports of them are not followed."""

SPEAKERS = ("print", "LOG", "warnings")
"""A statement that begins with one of these names only tells somebody something."""

PROGRESS = "reenact.runtime.progress"
"""Module whose `progress(items, ...)` gives the items as they are."""


def code(stage: str, root: Path = ROOT) -> str:
    """Hash of what decides a stage's results: `reenact/stages/<stage>.py` and all modules of ours that it imports.

    What people are told decides nothing, and is left out: comments and docstrings; arguments of raised errors; printed
    and logged lines; progress (`progress(items, ...)` counts as `items`); descriptions of settings (`description=`) and
    what is said of former ones (`Section.former`). So is whatever lies in SILENT_ROOMS. A template beside a module
    (`<module>.*.jinja`) counts with it.

    Args:
        stage: name of the stage.
        root: folder of the project.

    Returns:
        12 hex digits.
    """
    seen: dict[Path, str] = {}
    waiting = [root / "reenact" / "stages" / f"{stage}.py"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path], imported = _read(path, root)
            waiting += imported
    lines = [f"{path.relative_to(root)} {digest}" for path, digest in sorted(seen.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@cache
def _read(path: Path, root: Path) -> tuple[str, list[Path]]:
    """Hash of what counts in one file, and the files of ours that count with it."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest(), []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # What a package imports only when asked for (`reenact.Avatar`) is no part of who imports a module of it.
    nodes = tree.body if path.name == "__init__.py" else ast.walk(tree)
    imported = [found for node in nodes for found in _imports(node, root)]
    imported += path.parent.glob(f"{path.stem}.*.jinja")
    return hashlib.sha256(ast.dump(_WithoutWords().visit(tree)).encode()).hexdigest(), imported


class _WithoutWords(ast.NodeTransformer):
    """Removes what a module says to people."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Docstrings, and statements that only speak."""
        if isinstance(node.value, ast.Constant):
            return None
        speaker = node.value
        while isinstance(speaker, ast.Call | ast.Attribute):
            speaker = speaker.func if isinstance(speaker, ast.Call) else speaker.value
        return None if isinstance(speaker, ast.Name) and speaker.id in SPEAKERS else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Of an error, which it is counts, not what it says."""
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """What is said of settings that are no more."""
        return None if isinstance(node.target, ast.Name) and node.target.id == "former" else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """The import of what shows progress."""
        return None if node.module == PROGRESS else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Descriptions of settings, and progress."""
        if isinstance(node.func, ast.Name) and node.func.id == "progress":
            return self.visit(node.args[0])
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        return self.generic_visit(node)


def _imports(node: ast.AST, root: Path) -> list[Path]:
    """Files of ours that an import statement names, those in SILENT_ROOMS aside."""
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    found = []
    for name in names:
        package, *inner = name.split(".")
        if package == "reenact" and not (inner and inner[0] in SILENT_ROOMS):
            base = root.joinpath(package, *inner)
            found += [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return found
