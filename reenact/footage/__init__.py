"""Reading videos and photos: upright RGB frames with their exact times."""
