"""The colours that figures share: sources, targets, and what is neither."""

SOURCE, TARGET, QUIET = "#1b6ca8", "#c8553d", "#b0b0b0"
CARRIED = "Greys"
"""The map of colours for what a pair carries."""
