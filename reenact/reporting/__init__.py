"""What people look at once everything is made: plots, and the parts of the page."""
