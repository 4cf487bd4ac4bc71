"""What happened, written down before it is allowed to."""
