"""Tell of each file whether reenact made it, with what, whether it was changed since, and who signed it.

Exit status: 0 all are intact; 3 the credentials of one are lost, and the watermark is there; 4 nothing shows that
reenact made one; 5 one was changed; 6 one cannot be read. Of several files the greatest counts.
"""

import json
from pathlib import Path

import click

from reenact.runtime.cli import FILE, command, run


@command(__doc__)
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--root", type=FILE, help="Certificates that you trust, beside your own key's (PEM).")
@click.option("--watermark-key", type=FILE, help="File with a key of watermarks to look for, beside the public one.")
@click.option("--among", type=FILE, help="Folder of finished renderings to search for those that files were made of.")
@click.option("--json", "as_json", is_flag=True, help="JSON: a list with one object a file.")
def main(
    *, files: tuple[Path, ...], root: Path | None, watermark_key: Path | None, among: Path | None, as_json: bool
) -> None:
    from reenact.provenance.stamp import watermark_key as key_of
    from reenact.provenance.verify import STATUS, in_words, verify, with_originals
    from reenact.provenance.watermark import Watermark
    from reenact.runtime.errors import UserError
    from reenact.settings.mark import MarkSettings

    chosen = [MarkSettings(), *([MarkSettings(watermark_key=str(watermark_key))] if watermark_key else [])]
    watermarks = [Watermark(key_of(settings)) for settings in chosen]
    try:
        trusted = root.read_text(encoding="utf-8") if root else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--root: cannot be read ({error})") from None
    if among and not among.is_dir():
        raise UserError(f"--among: {among} is no folder")
    verdicts = []
    for path in files:
        verdict = verify(path, watermarks, trusted)
        verdicts.append(with_originals(verdict, among) if among else verdict)
        if not as_json:
            print("\n".join(in_words(verdicts[-1])), flush=True)
    if as_json:
        print(json.dumps([verdict.as_json() for verdict in verdicts], indent=2))
    raise SystemExit(max(STATUS[verdict.verdict] for verdict in verdicts))


if __name__ == "__main__":
    run(main)
