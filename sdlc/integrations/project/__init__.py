"""A repository as a project of its own: what it declares, how it is set up, and the environment made from that."""
