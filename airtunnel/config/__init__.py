"""Configuration of the client and of the gateway."""
