"""Which pixels belong to the person."""
