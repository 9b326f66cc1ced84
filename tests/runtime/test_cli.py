"""The command lines of the stages."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tree import ROOT

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.errors import CONTINUE_STATUS, InterruptedRun, UserError
from reenact.runtime.interruption import SIGNALS
from reenact.settings.crop import CropSettings
from reenact.settings.drive import DriveSettings
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings

STAGES = [
    "fetch",
    "decode",
    "crop",
    "segment",
    "dataset",
    "shard",
    "pretrain",
    "meta",
    "finetune",
    "drive",
    "score",
    "select",
    "render",
    "report",
]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_help_rule_and_script(stage):
    done = subprocess.run(
        [sys.executable, "-m", f"workflow_scripts.{stage}", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("Usage: python -m")
    assert f"rule {stage}:" in (ROOT / "rules" / f"{stage}.smk").read_text()
    assert (ROOT / "reenact" / "stages" / f"{stage}.py").exists() and (
        ROOT / "tests" / "stages" / f"test_{stage}.py"
    ).exists()


HEAVY = {"torch", "ai_edge_litert", "cv2", "pandas"}
HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    print("loaded:", *({heavy} & sys.modules.keys()))
"""


@pytest.mark.parametrize("script", sorted(p.stem for p in (ROOT / "workflow_scripts").glob("[!_]*.py")))
def test_help_waits_for_no_large_package(script):
    command = [sys.executable, "-c", HELP.format(heavy=HEAVY), f"workflow_scripts.{script}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Usage:" in done.stdout and done.stdout.splitlines()[-1] == "loaded:", done.stderr


def test_what_starts_stages_waits_for_no_settings():
    command = [sys.executable, "-c", HELP.format(heavy={*HEAVY, "pydantic", "yaml"}), "workflow_scripts.launch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Usage:" in done.stdout and done.stdout.splitlines()[-1] == "loaded:", done.stderr


def parse(*sections, arguments, **options):
    """What a stage with these sections is called with: settings, and its own options."""
    called = []

    @command("", *sections, **options)
    @click.option("--crops", type=FILE, multiple=True)
    @click.option("--model", type=FILE)
    def main(*settings, **own):
        called.append((settings, own))

    main(arguments)
    return called[0]


def test_settings_resolve_default_then_text_then_flag():
    arguments = ["--settings", "{size: 128, scale: 2}", "--scale", "1.5"]
    (settings,), _ = parse(CropSettings, arguments=arguments)
    assert (settings.size, settings.scale, settings.smoothing) == (128, 1.5, CropSettings().smoothing)


def test_nested_settings_and_a_second_section():
    arguments = ["--losses.pixel", "3", "--sweep", "[5, 9]", "--model.preset", "small", "--model", "a file"]
    (finetune, model), own = parse(FinetuneSettings, ModelSettings, arguments=arguments)
    assert finetune.losses.pixel == 3 and finetune.sweep == [5, 9] and model.preset == "small"
    assert own == {"crops": (), "model": Path("a file")}


def test_several_files_follow_one_flag_and_none_may():
    for arguments in (["--crops", "a", "b", "--model", "m"], ["--crops", "a", "--crops", "b", "--model", "m"]):
        assert parse(arguments=arguments)[1] == {"crops": (Path("a"), Path("b")), "model": Path("m")}
    assert parse(arguments=["--crops", "--model", "m"])[1] == {"crops": (), "model": Path("m")}


def test_a_whole_configuration_file_can_be_given():
    (settings,), _ = parse(DriveSettings, arguments=["--settings", str(ROOT / "config.yaml")])
    assert settings.driver == "carphone"


def test_wrong_settings_are_named():
    for arguments, message in [
        (["--size", "1"], "settings of crop:\n  - size: 1 should be greater than or equal to 32"),
        (["--size", "[1"], r"--size: '\[1' is not YAML"),
        (["--settings", "gone.yaml"], "--settings: 'gone.yaml' is neither a file nor a YAML mapping"),
        (["--settings", "{size: 1"], "--settings: '{size: 1' is not YAML"),
    ]:
        with pytest.raises(UserError, match=message):
            parse(CropSettings, arguments=arguments)


def test_a_wrong_command_line_ends_with_status_2(capsys):
    @command("", CropSettings)
    @click.option("--crops", type=FILE, required=True)
    def main(settings, crops):
        pass

    for arguments, message in [([], "Missing option '--crops'"), (["--sise", "1"], "No such option")]:
        with pytest.raises(SystemExit) as stop:
            run(lambda arguments=arguments: main(arguments))
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_settings_are_printed_without_files_and_with_their_origin(capsys):
    @command("", CropSettings)
    @click.option("--crops", type=FILE, required=True)
    def main(settings, crops):
        raise AssertionError("nothing is run")

    main(["--print-settings", "--settings", "{size: 128}", "--no-face.drivers", "hold"])
    printed = capsys.readouterr().out.splitlines()
    assert "crop.size: 128  (settings file)" in printed
    assert 'crop.no_face.drivers: "hold"  (command line)' in printed
    assert "crop.scale: 1.8  (default)" in printed


def test_presets_are_below_a_checkpoint_and_above_the_default(capsys):
    @command("", MetaSettings, saved=lambda values: {"meta": {"ema": 0.5, "learning_rate": 0.5}})
    def main(settings):
        raise AssertionError("nothing is run")

    main(["--print-settings", "--preset", "mini", "--learning-rate", "2e-4", "--losses.form", "published"])
    printed = set(capsys.readouterr().out.splitlines())
    assert {
        "meta.learning_rate: 0.0002  (command line)",
        "meta.ema: 0.5  (checkpoint)",
        "meta.mirror: 0.5  (preset mini)",
        "meta.losses.pixel: 10.0  (preset mini)",
        "meta.losses.perceptual: 0.03  (form published)",
        "meta.losses.dice: 1.0  (default)",
    } <= printed


def test_ctrl_c_ends_with_the_status_of_shells():
    @command("")
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(lambda: main([]))
    assert stop.value.code == 130


def test_a_users_mistake_is_printed_without_traceback(capsys):
    def main():
        raise UserError("clip.mp4: no face")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: clip.mp4: no face\n"


def test_a_saved_interruption_has_a_status_of_its_own(capsys):
    def main():
        raise InterruptedRun("meta: SIGTERM: saved step 7 of 9")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == CONTINUE_STATUS == 75
    assert capsys.readouterr().err == "meta: SIGTERM: saved step 7 of 9\n"


def test_a_resumable_stage_can_be_told_to_stop_at_any_time(capsys):
    @command("", resumable=True)
    def main():
        os.kill(os.getpid(), signal.SIGTERM)

    former = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(SystemExit) as stop:
        run(lambda: main([]))
    assert [signal.getsignal(number) for number in SIGNALS] == former
    assert stop.value.code == CONTINUE_STATUS
    assert capsys.readouterr().err.startswith("SIGTERM: outside of training, nothing to save")
