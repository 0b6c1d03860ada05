"""Where the world is reached: git, models, the sandbox, trackers, forges, the artifact store."""
