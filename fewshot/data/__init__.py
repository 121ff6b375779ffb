"""Data: data sets, the episodes drawn from them, and what networks expect of images."""
