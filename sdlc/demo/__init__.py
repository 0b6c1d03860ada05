"""The demo: a small real repository, a ticket about it, and a model whose words are canned."""
