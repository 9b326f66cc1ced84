"""Finding faces, following one person, and choosing who that is."""
