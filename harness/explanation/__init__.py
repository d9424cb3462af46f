"""From a red verdict to its cause: whose fault, where it stands, what it is not, and what to do next."""
