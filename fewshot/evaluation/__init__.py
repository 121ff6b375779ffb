"""Evaluation: episodes of unseen classes, exact counts, and results that say what they depend on."""
