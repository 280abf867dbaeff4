"""What a decision is computed from: cells, scan, kernels, encoders, heads, distributions, policies."""
