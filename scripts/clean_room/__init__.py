"""A Debian 12 with nothing on it, in which the repository is set up and tested as on a computer that is new."""
