"""Show what a change of the template changes in the rendered services.

    uv run -m lab.changes                    every variant, since the last commit
    uv run -m lab.changes --since v0.1.0     since another revision
    uv run -m lab.changes neon-queuepool-psycopg-migrate --keep ../rendered

Each distinct difference of a file is printed once, after the variants that have it.
`--keep` leaves the rendered variants in a folder. Versions are the defaults.
"""

import argparse
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from cookiecutter.main import cookiecutter

from lab.projects import tree_of
from lab.variants import ROOT, VARIANTS, Variant

ANSWERS = ("database", "pool", "driver", "migrate_service")

Differences = dict[tuple[str, str], list[Variant]]


def export(revision: str, folder: Path) -> Path:
    """Write the template of a git revision into a folder, and return the folder."""
    command = ["git", "archive", "--format=tar", revision]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def render(template: Path, variant: Variant, folder: Path) -> Path:
    """Render a variant with its template's versions; return the project's folder.

    The person's own settings and saved answers are neither read nor written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        project = cookiecutter(
            str(template),
            no_input=True,
            extra_context={name: getattr(variant, name) for name in ANSWERS},
            default_config={"cookiecutters_dir": scratch, "replay_dir": scratch},
            output_dir=str(folder),
            overwrite_if_exists=True,
            accept_hooks=False,
        )
    return Path(project)


def difference(old: Path, new: Path, name: str) -> str:
    """Return how a file differs, as git writes it."""
    sides = [
        (folder / name) if (folder / name).exists() else Path("/dev/null")
        for folder in (old, new)
    ]
    command = ["git", "diff", "--no-index", "--no-prefix", *map(str, sides)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    # The first lines name temporary folders.
    _, found, hunks = completed.stdout.partition("\n@@")
    return f"@@{hunks}" if found else completed.stdout


def differences(
    old_template: Path, variants: Iterable[Variant], folder: Path, kept: Path
) -> Differences:
    """Return the variants in which a file differs, by its name and difference."""
    found: Differences = {}
    for variant in variants:
        old = render(old_template, variant, folder / variant.id)
        new = render(ROOT, variant, kept / variant.id)
        before, after = tree_of(old), tree_of(new)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                text = difference(old, new, name)
                found.setdefault((name, text), []).append(variant)
    return found


def where(variants: Collection[Variant], chosen: Collection[Variant]) -> str:
    """Name some of the chosen variants: by the answers that only they share, or each."""
    shared = {
        name: answers.pop()
        for name in ANSWERS
        if len(answers := {getattr(variant, name) for variant in variants}) == 1
    }
    like = [v for v in chosen if all(getattr(v, n) == a for n, a in shared.items())]
    number = f"{len(variants)} of {len(chosen)} variants"
    if len(like) != len(variants):
        return f"{number}: {', '.join(map(str, variants))}"
    text = ", ".join(f"{name}={answer}" for name, answer in shared.items())
    return f"{number}: {text}" if text and len(chosen) > 1 else number


def main() -> None:
    """Render both revisions, and print what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {variant.id: variant for variant in VARIANTS}
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    parser.add_argument("--since", default="HEAD", metavar="REVISION")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if unknown := set(options.variants) - set(known):
        parser.error(f"no variant {min(unknown)}; there are: {' '.join(known)}")
    chosen = [known[name] for name in options.variants or known]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            template = export(options.since, Path(scratch, "template"))
        except subprocess.CalledProcessError as error:
            parser.error(f"--since: {error.stderr.decode().strip()}")
        kept = options.keep or Path(scratch, "new")
        found = differences(template, chosen, Path(scratch, "old"), kept)
    for (name, text), variants in found.items():
        print(f"{name}, in {where(variants, chosen)}\n{text}")
    print(f"{len(found)} differences in {len(chosen)} variants since {options.since}.")
    if options.keep:
        print(f"The rendered variants are in {options.keep}.")


if __name__ == "__main__":
    main()
