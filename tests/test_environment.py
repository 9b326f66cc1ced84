"""The places that name package versions agree."""

import re
import tomllib

import yaml
from conftest import ROOT


def plain(name):
    return name.lower().replace("_", "-")


def pins(lines):
    return {plain(name): version for name, version in (line.split("==") for line in lines if "==" in line)}


def names(requirements):
    return {plain(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for requirement in requirements}


def test_every_requirement_is_pinned_and_envs_agree_with_the_constraints():
    constraints = pins((ROOT / "constraints.txt").read_text().split())
    environment = yaml.safe_load((ROOT / "envs" / "reenact.yaml").read_text())["dependencies"]
    installed = pins(next(part["pip"] for part in environment if isinstance(part, dict)))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert installed.keys() == names(project["dependencies"])
    assert {name: constraints[name] for name in installed} == installed
    optional = names(requirement for extra in project["optional-dependencies"].values() for requirement in extra)
    assert optional - {"reenact", "pytest", "ruff"} <= constraints.keys()
