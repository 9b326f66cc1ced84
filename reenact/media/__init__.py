"""Video and photos as frames with exact times."""
