"""The supervised stage: a backbone learns to tell the held-in classes of a fold apart before it is frozen."""
