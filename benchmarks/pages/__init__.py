"""What the documentation shows of the results, page by page."""
