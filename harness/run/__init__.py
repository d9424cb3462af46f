"""One run: its directory, its stages, its verdict, and what is left of it when it was killed."""
