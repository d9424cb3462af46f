"""Case files: one TOML file is one thing to be judged."""
