"""Temporary credentials of targets: where from, how long, how given back."""
