"""Containers and the engine that runs them: starting, removing, devices passed through, images in its store."""
