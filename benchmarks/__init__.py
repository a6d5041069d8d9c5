"""Benchmarks: this project, its peers and the limit, measured in turns in one run."""

__all__: list[str] = []
