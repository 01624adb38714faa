"""Groups of commands, a file each; `cli` puts them together."""
