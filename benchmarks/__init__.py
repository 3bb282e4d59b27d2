"""Measures gradscope as ratios against plain JAX, each pair in one run: `python -m benchmarks`."""
