"""What the attention looked at, whether it is worth believing, and the classical statistics beside it."""
