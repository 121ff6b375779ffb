"""Episodic training: everything after the frozen backbone learns to segment one task after another."""
