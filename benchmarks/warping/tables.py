"""The table of people that the warping family learns from (`meta.set`), of two folders with manifests.

    python benchmarks/warping/tables.py --clips CLIPS --people PEOPLE --table runs/warping/people.csv

CLIPS/manifest.csv has a row for each CLIPS/<id>.mp4 (columns id, person, grade), PEOPLE/manifest.csv one for each
folder PEOPLE/<source>/<person> of pictures and videos (source, person, grade, note). The table has a row for each of
these: clip, identity, path, split. People are split as a whole, however many names they have: a `note` says "probably
same person as SOURCE/PERSON" (or clips:PERSON). Grades other than A and B are left out.
"""

import argparse
import csv
import os
import re
from pathlib import Path

VALIDATION = {
    *(
        "clips/clm_author",
        "clips/latentsync_3",
        "clips/lp_d9",
        "clips/liax_7",
        "clips/aoc",
        "clips/hm_xzy",
        "clips/vr_4",
    ),
    *("talkinghead/fer_woman2", "talkinghead/skyreels_2", "talkinghead/skyreels_5"),
}
"""Whom trainings are validated on: benchmarks/warping/people.yaml."""

LAST = {
    *("clips/grid_id2", "clips/lp_d0"),
    *("talkinghead/hdtf_klobuchar", "talkinghead/lp_d8", "talkinghead/skyreels_3"),
}
"""Kept for one last look, on 2026-11-30; they train nothing since either."""

GRADES = ("A", "B")
PICTURES = (".jpg", ".jpeg", ".png")


def same_people(people: list[tuple[str, str]]) -> dict[str, str]:
    """Who is who: names of people, and what is noted of each -> for each name the first name of the same person."""
    first = {name: name for name, _ in people}

    def root(name: str) -> str:
        """The first name of whoever this is, as far as is known by now."""
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for name, note in people:
        others = re.findall(r"[\w.-]+[/:][\w.-]+", note.partition("probably same person as")[2])
        for other in others:
            ends = sorted((root(name), root(other.replace(":", "/"))))
            first[ends[1]] = ends[0]
    return {name: root(name) for name in first}


def rows_of(manifest: Path) -> list[dict[str, str]]:
    """Rows of a manifest."""
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def entries(clips: Path, people: Path) -> list[tuple[str, str, str, Path]]:
    """Every video and picture of both folders: whose it is, what is noted of the person, its grade, and its path."""
    found = [
        (f"clips/{row['person']}", "", row["grade"], clips / f"{row['id']}.mp4")
        for row in rows_of(clips / "manifest.csv")
    ]
    for row in rows_of(people / "manifest.csv"):
        name, note = f"{row['source']}/{row['person']}", row["note"]
        # Names of one person are the same in these two.
        if row["source"] in ("congress", "civilservice"):
            note += f" probably same person as us/{row['person']}"
        files = sorted((people / row["source"] / row["person"]).iterdir())
        found += [(name, note, row["grade"], path) for path in files if path.suffix.lower() in (".mp4", *PICTURES)]
    return found


def table(clips: Path, people: Path, folder: Path) -> list[dict[str, str]]:
    """The rows; paths are relative to `folder`."""
    known = entries(clips, people)
    who = same_people([(name, note) for name, note, _, _ in known])
    split = {
        who.get(name, name): kind for kind, names in (("validation", VALIDATION), ("unused", LAST)) for name in names
    }
    rows = []
    for name, _, grade, path in known:
        kind = split.get(who[name], "train")
        # Whoever validates does so in the clips of benchmarks/warping/people.yaml; stills of them are not needed.
        if grade in GRADES and not (kind != "train" and path.suffix.lower() in PICTURES):
            source = "clips" if path.parent == clips else f"{path.parent.parent.name}/{path.parent.name}"
            row = {"clip": f"{source}/{path.stem}", "identity": who[name].replace("/", "_")}
            rows.append(row | {"path": os.path.relpath(path, folder), "split": kind})
    return rows


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips, with manifest.csv")
    parser.add_argument("--people", type=Path, required=True, help="folder <source>/<person>, with manifest.csv")
    parser.add_argument("--table", type=Path, required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    arguments.table.parent.mkdir(parents=True, exist_ok=True)
    rows = table(arguments.clips, arguments.people, arguments.table.parent)
    with arguments.table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for kind in ("train", "validation", "unused"):
        chosen = [row for row in rows if row["split"] == kind]
        videos = [row for row in chosen if row["path"].endswith(".mp4")]
        names = [len({row["identity"] for row in part}) for part in (videos, chosen)]
        counts = f"{len(videos)} videos of {names[0]} people, {len(chosen) - len(videos)} pictures"
        print(f"{kind}: {counts}; {names[1]} people")


if __name__ == "__main__":
    main()
