"""Tests of a rendered service whose servers fail, or are busy."""
