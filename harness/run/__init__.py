"""Run orchestration: the only layer that knows policy and mechanism."""
