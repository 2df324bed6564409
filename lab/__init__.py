"""The laboratory: it runs real things, for the tests and for the benchmarks."""
