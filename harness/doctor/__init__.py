"""What this machine can run: facts gathered, rules over them, and a report."""
