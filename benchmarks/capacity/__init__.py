"""How many calls a core carries: ``python -m benchmarks.capacity``."""
