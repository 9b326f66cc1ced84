"""Clips, shards, and the samples that training draws from them."""
