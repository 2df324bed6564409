"""Tests of `compare.py` and the presets."""
