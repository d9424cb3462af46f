"""Programs of an engine's interpreter."""
