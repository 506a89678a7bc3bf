"""Tests of a bench in plain pytest; docs/hil.md is the page for the test engineer."""
