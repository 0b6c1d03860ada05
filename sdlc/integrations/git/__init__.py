"""Git: hardened, cached, and read without a worktree. Workspaces are in `sdlc.integrations.workspace`."""

from sdlc.integrations.git.diff import ChangedFile, DiffStat
from sdlc.integrations.git.objects import GitObjects
from sdlc.integrations.git.origin import OriginFacts, inspect_origin
from sdlc.integrations.git.runner import BOT, Answer, Git

__all__ = ["BOT", "Answer", "ChangedFile", "DiffStat", "Git", "GitObjects", "OriginFacts", "inspect_origin"]
