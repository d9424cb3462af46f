"""The engine's own mutation test: is an engine that is broken on purpose found broken?"""
