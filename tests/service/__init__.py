"""Tests of a rendered service: its code, its settings, its own tests."""
