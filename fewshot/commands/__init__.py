"""The commands of `fewshot`, one a file: a parser made of configurations, and what is done with what it parses."""
