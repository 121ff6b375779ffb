"""CMNet: few-shot segmentation by partial optimal transport."""
