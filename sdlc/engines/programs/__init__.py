"""Coding engines that are programs of others, a module each."""
