"""What pyproject.toml cannot say: the workflow stays where it is in the tree, and is `reenact/workflow/` in a wheel."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["reenact*", "workflow_scripts*"]), "reenact.workflow"],
    package_dir={"reenact.workflow": "."},
)
