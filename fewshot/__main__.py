"""`python -m fewshot` is `fewshot`."""

from fewshot.cli import main

if __name__ == "__main__":
    main()
