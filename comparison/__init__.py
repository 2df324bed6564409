"""Compare what this template renders for two environments. See `compare.py`."""


class UsageError(ValueError):
    """Something that the person gave cannot be used. The message is one line."""
