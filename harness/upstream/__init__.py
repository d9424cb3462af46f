"""What the engines' own tests ask for: their tables, sweeps and bounds, read as text and compared with the cases."""
