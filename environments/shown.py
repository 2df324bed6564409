"""Write texts of other people's for a terminal or a page."""

import os
import shlex
from unicodedata import category

LINES_AND_TABS = "\n\t"
# Control characters, and bytes that are no text, which Python keeps as surrogates.
UNSAFE = ("Cc", "Cs")
BYTES = range(0xDC80, 0xDD00)
READABLE = frozenset(range(ord(" "), 0x7F)) - frozenset(b"'\\")


def shown(text: str, keep: str = "") -> str:
    """Escape what a terminal obeys, or cannot show."""
    if text.isprintable():
        return text
    return "".join(each if each in keep else escaped(each) for each in text)


def escaped(character: str) -> str:
    """Write a character as Python does in a string, if it is unsafe."""
    if category(character) not in UNSAFE:
        return character
    if ord(character) in BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def command(*words: str) -> str:
    """Write a command for a shell, with every word on one line and safe to show."""
    return " ".join(
        shlex.quote(word) if word.isprintable() else quoted(word) for word in words
    )


def quoted(word: str) -> str:
    """Quote a word with odd characters, as the shells of today read it."""
    pieces = (
        chr(byte) if byte in READABLE else f"\\x{byte:02x}"
        for byte in os.fsencode(word)
    )
    return f"$'{''.join(pieces)}'"
