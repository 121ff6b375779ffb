"""Reports: pages of one file, made of results, losses, pictures and settings."""
