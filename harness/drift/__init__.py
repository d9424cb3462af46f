"""What the cases ask of an engine, against what a build's sources know. Sources are read as text, never imported."""
