"""Compare what this template renders for two environments. See `compare.py`."""
