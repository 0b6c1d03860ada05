"""Servers of the services that runs talk to: they keep state, and can be told to fail."""
