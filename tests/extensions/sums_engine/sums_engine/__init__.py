"""An engine that only knows sums, and the module by which the harness knows it."""
