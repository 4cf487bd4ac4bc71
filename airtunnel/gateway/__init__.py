"""The server's end of a tunnel."""
