"""The networks of the method, one per file, and `architecture`, which says how wide each is."""
