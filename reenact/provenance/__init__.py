"""What a rendering says about itself: a watermark in its frames, and signed metadata; and how both are read."""
