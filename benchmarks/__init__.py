"""Measurements that need the network or a long time, and so are no part of the test suite."""
