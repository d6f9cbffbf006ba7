"""The benchmarking harness: workloads, engines, peers, plots, and the demo."""
