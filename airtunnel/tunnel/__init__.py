"""The client's end of a tunnel."""
