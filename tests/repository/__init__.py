"""Tests of what this repository keeps beside the template."""
