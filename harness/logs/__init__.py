"""What programs print: lines as records, the errors in them, and which of these is the cause."""
