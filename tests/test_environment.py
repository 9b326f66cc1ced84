"""The places that name package versions agree."""

import re
import tomllib

import yaml
from conftest import ROOT


def plain(name):
    return name.lower().replace("_", "-")


def pins(lines):
    return {plain(name): version for name, version in (line.split("==") for line in lines if "==" in line)}


def test_every_requirement_is_pinned_and_envs_agree_with_the_constraints():
    constraints = pins((ROOT / "constraints.txt").read_text().split())
    environment = yaml.safe_load((ROOT / "envs" / "reenact.yaml").read_text())["dependencies"]
    installed = pins(next(part["pip"] for part in environment if isinstance(part, dict)))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {plain(re.match(r"[A-Za-z0-9_.-]+", requirement)[0]) for requirement in project}
    assert installed.keys() == wanted
    assert {name: constraints[name] for name in installed} == installed
