"""From poses to files: composing, encoding, sound, screens."""
