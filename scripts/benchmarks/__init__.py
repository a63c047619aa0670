"""The suites of scripts.benchmark, a file each."""
