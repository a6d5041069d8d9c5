"""The workloads, one per file."""

__all__: list[str] = []
