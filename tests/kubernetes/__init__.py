"""Tests of a rendered service on Kubernetes."""
