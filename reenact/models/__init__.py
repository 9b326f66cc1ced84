"""The networks, and the file that holds a model."""
