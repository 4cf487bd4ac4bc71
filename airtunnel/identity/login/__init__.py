"""Logging in at a gateway's OpenID provider, staying logged in, and logging out."""
