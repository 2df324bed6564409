"""Write texts of other people's for a terminal or a page."""

import os
import re
import shlex

LINES_AND_TABS = "\n\t"
# Control characters, and bytes that are no text, which Python keeps as surrogates.
UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(text: str, keep: str = "") -> str:
    """Write what a terminal obeys, or cannot show, as Python does in a string."""
    return UNSAFE.sub(
        lambda found: escaped(found[0]) if found[0] not in keep else found[0], text
    )


def escaped(character: str) -> str:
    """Write one character as Python does; a byte that is no text as the byte."""
    return repr(character)[1:-1].replace("\\udc", "\\x")


def command(*words: str) -> str:
    """Write a command for a shell, with every word on one line and safe to show."""
    return " ".join(
        shlex.quote(word) if word.isprintable() else quoted(word) for word in words
    )


def quoted(word: str) -> str:
    """Quote a word with odd characters, as the shells of today read it."""
    odd = re.compile(rb"[^\w ,./:@%+=-]")
    safe = odd.sub(lambda found: f"\\x{found[0][0]:02x}".encode(), os.fsencode(word))
    return f"$'{safe.decode()}'"
