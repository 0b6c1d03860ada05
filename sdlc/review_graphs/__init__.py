"""The four review panels (steps 3 to 6): one common graph, four declarations."""
