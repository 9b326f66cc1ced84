"""The published way of training and driving, which benchmarks compare with."""
