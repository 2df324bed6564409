"""Tests of what the template renders, asks and refuses."""
