"""What meta-learning and fine-tuning share: samples, losses, the loop, checkpoints."""
