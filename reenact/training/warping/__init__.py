"""How models of the warping family are trained."""
