"""The engine's own mutation test, tried on the scripted engine and, in a short slice, on the real one."""
