"""What runs again when something changes: dry runs on a project whose results are all there, as empty files."""

import re
import shutil
import subprocess

import pytest
import yaml
from tree import ROOT

PEOPLE = {"anna": {"media": "media/anna.mp4"}, "ben": {"media": "media/ben.png"}}
DRIVERS = {"speech": {"media": "media/speech.mp4"}, "song": {"media": "media/song.mp4"}}
CONFIG = {
    "identities": PEOPLE,
    "drivers": DRIVERS,
    "device": "cpu",
    "meta": {"source": "media/meta.safetensors"},
    "finetune": {"sweep": [1, 2]},
    "score": {"descriptor_weights": "media/face.dat"},
}
CLIP = ("decode", "crop", "segment")
AVATAR = ("finetune", "drive", "score", "select", "mark_model")


class Project:
    """A project with a configuration of its own, whose results are made up."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("reenact", "rules", "workflow_scripts", "envs", "profiles"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", folder)
        (folder / "media").mkdir()
        for name in ("anna.mp4", "ben.png", "speech.mp4", "song.mp4", "meta.safetensors", "face.dat", "cleo.mp4"):
            (folder / "media" / name).write_text(name)

    def configure(self, **sections):
        (self.folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | sections, sort_keys=False))

    def snakemake(self, *arguments):
        command = ["snakemake", "--cores", "1", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self):
        """Jobs that a run would make, but the last: {"crop anna", "render anna speech", "report", ...}."""
        jobs = re.findall(r"^rule (\w+):\n((?:    .*\n)*)", self.snakemake("--dry-run"), re.M)
        wildcards = [re.search(r"^    wildcards: (.*)$", details, re.M) for _, details in jobs]
        names = [re.findall(r"=([^,]+)", found[1]) if found else [] for found in wildcards]
        return {" ".join([rule, *of]) for (rule, _), of in zip(jobs, names, strict=True)} - {"all"}

    def build(self):
        """Make up everything that is missing, and have Snakemake believe that it made it."""
        for outputs in re.findall(r"^    output: (.*)$", self.snakemake("--dry-run"), re.M):
            for output in outputs.split(", "):
                path = self.folder / output
                (path if path.suffix else path.parent).parent.mkdir(parents=True, exist_ok=True)
                if path.suffix:
                    path.write_text(output)
                else:
                    path.mkdir(parents=True, exist_ok=True)
        self.snakemake("--touch", "--forceall")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.configure()
    project.build()
    return project


@pytest.fixture
def project(built):
    """The built project; its configuration and media may be changed for one test."""
    kept = {path: path.read_text() for path in (built.folder / "media").iterdir()}
    yield built
    built.configure()
    for path, text in kept.items():
        if path.read_text() != text:
            path.write_text(text)


def chain(*stages, of):
    return {f"{stage} {name}" for stage in stages for name in of}


def renders(people=PEOPLE, drivers=DRIVERS):
    return {f"render {person} {driver}" for person in people for driver in drivers} | marks(people, drivers)


def marks(people=PEOPLE, drivers=DRIVERS):
    return {f"mark {person} {driver}" for person in people for driver in drivers}


def test_built_means_nothing_to_do(project):
    assert project.planned() == set()


def test_another_person_is_that_persons_chain_alone(project):
    project.configure(identities=PEOPLE | {"cleo": {"media": "media/cleo.mp4"}})
    assert project.planned() == chain(*CLIP, *AVATAR, of=["cleo"]) | renders(["cleo"]) | {"report"}


def test_another_person_does_not_change_a_model_that_others_train(project):
    meta = {"clips": list(PEOPLE)}
    project.configure(meta=meta)
    before = project.planned()
    assert "meta" in before
    project.configure(meta=meta, identities=PEOPLE | {"cleo": {"media": "media/cleo.mp4"}})
    assert project.planned() - before == chain(*CLIP, *AVATAR, of=["cleo"]) | renders(["cleo"])


def test_a_person_less_is_another_report(project):
    project.configure(identities={"anna": PEOPLE["anna"]})
    assert project.planned() == {"report"}


@pytest.mark.parametrize("media", ["media/cleo.mp4", "media/anna.mp4"], ids=["somebody", "a-person-who-also-drives"])
def test_another_driver_is_its_own_chain_and_its_videos(project, media):
    project.configure(drivers=DRIVERS | {"cleo": {"media": media}})
    assert project.planned() == chain(*CLIP, of=["cleo"]) | renders(drivers=["cleo"]) | {"report"}


def test_a_driver_less_is_another_report(project):
    project.configure(drivers={"speech": DRIVERS["speech"]})
    assert project.planned() == {"report"}


def test_pairs_are_videos(project):
    pairs = [[person, driver] for person in PEOPLE for driver in DRIVERS]
    project.configure(pairs=pairs[:-1])
    assert project.planned() == {"report"}
    (project.folder / "results" / "renders" / "ben" / "song.mp4").unlink()
    assert project.planned() == {"report"}
    project.configure(pairs=pairs)
    assert project.planned() == {"mark ben song", "report"}, "what was rendered is kept, unsigned"
    (project.folder / "results" / "renders" / "ben" / "song.mp4").write_text("results/renders/ben/song.mp4")


def test_another_photo_is_that_persons_chain_alone(project):
    (project.folder / "media" / "ben.png").write_text("another photo")
    assert project.planned() == chain(*CLIP, *AVATAR, of=["ben"]) | renders(["ben"]) | {"report"}


def test_another_meta_model_trains_every_avatar_and_prepares_no_clip(project):
    (project.folder / "media" / "meta.safetensors").write_text("another model")
    assert project.planned() == chain(*AVATAR, of=PEOPLE) | renders() | {"report"}


@pytest.mark.parametrize(
    ("section", "jobs"),
    [
        ({"render": {"crf": 20}}, renders() | {"report"}),
        ({"report": {"title": "Heads"}}, {"report"}),
        ({"select": {"identity_weight": 0.6}}, chain(*AVATAR[-2:], of=PEOPLE) | renders() | {"report"}),
        ({"drive": {"frames": 90}}, chain(*AVATAR[-4:], of=PEOPLE) | renders() | {"report"}),
        ({"finetune": CONFIG["finetune"] | {"choose": 2}}, chain(*AVATAR[-2:], of=PEOPLE) | renders() | {"report"}),
        ({"meta": CONFIG["meta"] | {"steps": 7, "clips": ["anna"]}}, {"report"}),
        ({"mark": {"names": True}}, marks() | chain("mark_model", of=PEOPLE) | {"report"}),
        ({"mark": {"time_stamp": "http://time.example"}}, marks() | {"report"}),
        ({"mark": {"label": "synthetic"}}, renders() | {"report"}),
        ({"mark": {"enabled": False}}, renders() | chain("mark_model", of=PEOPLE) | {"report"}),
    ],
)
def test_settings_run_their_stage_and_what_follows(project, section, jobs):
    project.configure(**section)
    assert project.planned() == jobs


def test_three_hundred_people_fit_into_every_command_line(project):
    """Linux lets one argument, here a whole shell command, be 128 KiB."""
    project.configure(identities={f"person_{number:03d}": {"media": "media/cleo.mp4"} for number in range(300)})
    printed = project.snakemake("--dry-run", "--printshellcmds", "report")
    commands = [line for line in printed.splitlines() if "python -m workflow_scripts" in line]
    assert sum(" finetune --" in command for command in commands) == 300
    assert sum(" report --" in command for command in commands) == 1
    assert max(map(len, commands)) < 2**15


def test_losses_are_told_the_scale_of_the_crops(project):
    project.configure(crop={"scale": 2.5})
    printed = project.snakemake("--dry-run", "--printshellcmds", "results/avatars/anna/sweep")
    assert "--crop-scale 2.5" in printed
    project.configure(crop={"scale": 2.5}, finetune={"sweep": [1, 2], "crop_scale": 1.5})
    assert "--crop-scale 1.5" in project.snakemake("--dry-run", "--printshellcmds", "results/avatars/anna/sweep")


def test_consent_signs_again_and_renders_nothing(project):
    project.configure(identities=PEOPLE | {"ben": PEOPLE["ben"] | {"consent": "written", "consent_note": "Of May."}})
    assert project.planned() == marks(["ben"]) | {"mark_model ben", "report"}


def test_another_key_signs_again_and_renders_nothing(project):
    for name in ("certificate.pem", "key.pem"):
        (project.folder / name).write_text(name)
    project.configure(mark={"certificate": "certificate.pem", "key": "key.pem"})
    assert project.planned() == marks() | chain("mark_model", of=PEOPLE) | {"report"}


def test_another_key_of_the_watermark_renders(project):
    (project.folder / "secret.txt").write_text("0123456789abcdef")
    project.configure(mark={"watermark_key": "secret.txt"})
    assert project.planned() == renders() | {"report"}


def test_a_pose_encoder_is_pretrained_where_somebody_asks_for_it(project):
    """It is no part of the demo's plan; its own settings repeat it and nothing before it."""
    encoder = "results/pretrain/face/encoder.safetensors"

    def planned(**settings):
        project.configure(pretrain=settings)
        jobs = project.snakemake("--dry-run", encoder)
        return set(re.findall(r"^rule (\w+):", jobs, re.M))

    assert planned() == {"fetch", "pretrain"}
    for path in (encoder, "results/pretrain/face/curves.csv", "results/pretrain/face/metrics.json"):
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / path).write_text(path)
    weights = project.folder / "resources/weights/face_landmarker_v2.task"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text("networks")
    project.snakemake("--touch", "--forceall", encoder)
    assert planned() == set()
    assert planned(steps=7) == {"pretrain"}


def test_the_warping_family_is_trained_from_clips_by_one_command(project):
    """Pose encoder, face model, refiner: each repeats what is made of it, and nothing before it."""
    model = "results/meta/warping/model.safetensors"
    stages = {"pretrain", "fit", "meta"}
    meta = {"source": "train", "name": "warping", "preset": "warping", "clips": list(PEOPLE)}

    def planned(**sections):
        settings = {"meta": meta} | sections
        settings["pretrain"] = {"name": "faces"} | settings.get("pretrain", {})
        project.configure(model={"preset": "warping"}, finetune={}, **settings)
        return set(re.findall(r"^rule (\w+):", project.snakemake("--dry-run", model), re.M)) & stages

    assert planned() == stages
    printed = project.snakemake("--dry-run", "--printshellcmds", model)
    assert "--start=results/pretrain/faces/start.safetensors" in printed
    for output in re.findall(r"^    output: (.*)$", printed, re.M):
        for path in (project.folder / name for name in output.split(", ")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(path.name)
    project.snakemake("--touch", "--forceall", model)
    assert planned() == set()
    assert planned(pretrain={"steps": 7}) == stages
    assert planned(fit={"shapes": 7}) == {"fit", "meta"}
    assert planned(meta=meta | {"learning_rate": 1e-4}) == {"meta"}
    assert planned(meta=meta | {"start": "media/meta.safetensors"}) == {"meta"}, "begins with another model"
    assert planned(meta=meta | {"resume": "results/runs/meta/other"}) == {"meta"}
