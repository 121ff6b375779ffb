"""Data: the built-in synthetic world, episodes drawn from it, and what networks expect of images."""
