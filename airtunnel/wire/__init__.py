"""Wire protocols as flows without I/O."""
