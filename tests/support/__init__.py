"""Helpers of the tests: toy runs, stand-in servers, faults, processes."""
