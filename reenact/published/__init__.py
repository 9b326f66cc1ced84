"""The authors' checkpoints: how theirs become ours, and back."""
