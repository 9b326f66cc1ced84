"""The places that name package versions agree, and Snakemake and the container definitions can read them."""

import hashlib
import os
import re
import subprocess
import tomllib

import yaml
from tree import ROOT


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


def test_the_drivers_versions_are_those_of_the_constraints():
    constraints = pins((ROOT / "constraints.txt").read_text().split())
    driver = pins((ROOT / "envs" / "driver.txt").read_text().split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"snakemake", "snakemake-executor-plugin-slurm", "pydantic", "pyyaml"} <= driver.keys()
    assert driver.items() <= constraints.items()
    assert "torch" not in driver and "torch" in names(project["dependencies"])
    environment = yaml.safe_load((ROOT / "envs" / "driver.yaml").read_text())["dependencies"]
    assert environment[-1] == {"pip": ["--requirement driver.txt"]}


CONDA = """#!/bin/sh
case "$1" in
info) echo '{"conda_version": "24.9.2", "conda_prefix": "FOLDER", "root_prefix": "FOLDER", "platform": "linux-64"}' ;;
config) echo '{"get": {"channel_priority": "strict"}}' ;;
--version) echo conda 24.9.2 ;;
env) cp "$6" FOLDER/asked.yaml ;;
esac
"""


def test_snakemake_would_build_the_stages_environment_with_conda(tmp_path):
    """A stand-in for conda keeps the environment file that it is given; a dry run gets as far as that."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    tool = tmp_path / "conda"
    tool.write_text(CONDA.replace("FOLDER", str(tmp_path)))
    tool.chmod(0o755)
    command = [
        "snakemake",
        "--cores",
        "1",
        "--sdm",
        "conda",
        "--conda-create-envs-only",
        "--dry-run",
        "--conda-prefix",
        str(tmp_path / "envs"),
    ]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "asked.yaml").read_text() == (ROOT / "envs" / "reenact.yaml").read_text()


def test_container_definitions_agree_and_copy_what_is_there():
    docker, apptainer = ((ROOT / "containers" / name).read_text() for name in ("Dockerfile", "reenact.def"))
    (image,) = re.findall(r"^FROM (\S+)", docker, re.M)
    assert re.findall(r"^From: (\S+)", apptainer, re.M) == [image] and image.startswith("python:3.11.")
    for copied in re.findall(r"^COPY (\S+)", docker, re.M) + re.findall(r"^    (\S+) /build/", apptainer, re.M):
        assert (ROOT / copied).exists(), copied
    steps = re.findall(r"^RUN (.*(?:\\\n.*)*)", docker, re.M)
    flat = [re.sub(r"\s*\\\n\s*", " ", step) for step in steps]
    post = re.search(r"%post\n(.*?)\n\n", apptainer, re.S)[1]
    assert [line.strip() for line in re.sub(r"\s*\\\n\s*", " ", post).splitlines()] == flat


APPTAINER = """#!/bin/sh
[ "$1" = --version ] && { echo apptainer version 1.4.0; exit; }
echo "$@" >> FOLDER/asked
while [ "$1" != reenact.sif ]; do shift; done
shift
exec "$@"
"""


def test_stages_run_in_the_container_with_weights_from_a_mounted_folder(tmp_path):
    """A stand-in for apptainer runs what it is given, outside of any container."""
    for name in ("reenact", "rules", "workflow_scripts", "envs", "profiles", "Snakefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "reenact.sif").touch()
    (tmp_path / "source.bin").write_bytes(b"weights")
    tool = tmp_path / "apptainer"
    tool.write_text(APPTAINER.replace("FOLDER", str(tmp_path)))
    tool.chmod(0o755)
    file = {"url": (tmp_path / "source.bin").as_uri(), "sha256": hashlib.sha256(b"weights").hexdigest()}
    clips = {"identities": {"anna": {"media": "source.bin"}}, "drivers": {"speech": {"media": "source.bin"}}}
    config = {**clips, "fetch": {"files": {"weights/vgg.pth": file}}, "score": {"descriptor_weights": "source.bin"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        "snakemake",
        "--cores",
        "1",
        "--sdm",
        "apptainer",
        "--apptainer-args=--nv --bind /lab/weights:resources/weights",
        "fetch_all",
    ]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "resources" / "weights" / "vgg.pth").read_bytes() == b"weights"
    assert "--nv --bind /lab/weights:resources/weights" in (tmp_path / "asked").read_text()
