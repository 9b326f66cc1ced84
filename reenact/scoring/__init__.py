"""Measuring avatars against the truth, and weighing what was measured."""
