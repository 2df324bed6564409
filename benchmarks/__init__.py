"""Benchmarks: each module is one command, `uv run --group benchmarks -m benchmarks.X`.

Each prints its tables and writes them to its section of `docs/benchmarks.md`.
"""
