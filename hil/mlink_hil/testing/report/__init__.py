"""Test reports: HTML page, timelines, VCD files, evidence of a failure."""
