"""Reports: a result becomes a JUnit file and a table."""
