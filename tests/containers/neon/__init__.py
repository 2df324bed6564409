"""Tests of a rendered service on the Neon look-alike."""
