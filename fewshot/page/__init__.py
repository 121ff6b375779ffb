"""The page of `fewshot serve`: draw on a photograph what is meant, and see where the network finds it in another."""
