"""Who is this? What the gateway makes of a token."""
