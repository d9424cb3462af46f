"""Ground layer: domain types, errors and the clock. Standard library only, no I/O."""
