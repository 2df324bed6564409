"""What a release is made of, from `cookiecutter.json` and `CHANGELOG.md`.

python3 -m lab.release version    the version, or nothing while something is unreleased
python3 -m lab.release notes      its part of the changelog
"""

import re
import sys

from lab.variants import QUESTIONS, ROOT

VERSION = str(QUESTIONS["_template_version"])
UNRELEASED = "Unreleased"


def part(changelog: str, heading: str) -> str:
    """Return what stands below a heading of the changelog; nothing if there is none."""
    pattern = rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)"
    found = re.search(pattern, changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def released_version(changelog: str) -> str:
    """Return the version, or nothing while what is there goes beyond it."""
    return "" if part(changelog, UNRELEASED) else VERSION


def notes(changelog: str) -> str:
    """Return what a release says of itself."""
    text = part(changelog, VERSION)
    if not text:
        message = f"CHANGELOG.md says nothing of {VERSION}"
        raise ValueError(message)
    return text


if __name__ == "__main__":
    CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    print({"version": released_version, "notes": notes}[sys.argv[1]](CHANGELOG))
