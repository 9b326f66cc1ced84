"""How far an avatar is from the person and from its driver."""
