"""Points side by side: which may start now, on which host and devices. Knows no clock and no process."""
