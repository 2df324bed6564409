"""Tests of a rendered service in containers."""
