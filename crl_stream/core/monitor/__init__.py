"""One task's engine: an outcome or a command, what follows from it, and what is told."""
