"""What the service can do, measured: `make bench` writes docs/benchmarks.md. Baselines are here, not in the product."""
