"""What goes back to the repository: work refs and the run's branch, and nothing else."""

from __future__ import annotations

import re

from sdlc.errors import BranchConflict, GuardRailViolation, PermissionDenied, ServiceUnavailable, WorkspaceBroken
from sdlc.integrations.git.address import full_address
from sdlc.integrations.git.clones import Clone, check_sha
from sdlc.integrations.git.failures import shown
from sdlc.integrations.git.runner import ASK_SECONDS, TRANSFER_SECONDS, Git

WORK_REFS = "refs/sdlc/"
BRANCH_PREFIX = "sdlc/"
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_+@=,#-]|\.(?!\.))*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*\Z")


async def publish(clone: Clone, ref: str, sha: str) -> None:
    """Bring a work ref (`refs/sdlc/…`) of the repository to `sha`; nothing if it is there.

    Raises GuardRailViolation for any other ref, PermissionDenied, ServiceUnavailable.
    """
    if not ref.startswith(WORK_REFS) or not _is_name(ref):
        raise GuardRailViolation(f"{ref!r} is not a work ref; only {WORK_REFS}<run>/<name> is published.")
    await clone.require(sha)
    with clone.watched():
        await clone.git.run(
            *("push", "--quiet", "--no-verify", "--force", "origin", f"{sha}:{ref}"),
            timeout=TRANSFER_SECONDS,
            remote=clone.address,
        )


async def push_branch(clone: Clone, branch: str, sha: str, *, expected: str | None, to: str = "") -> None:
    """Bring a branch `sdlc/…` to `sha`, if it is at `expected` (None: does not exist) or at `sha` already.

    `to` is another repository than the clone's own, such as the checkout of the person who works here.
    Raises BranchConflict if somebody moved the branch, GuardRailViolation for other branches.
    """
    if not branch.startswith(BRANCH_PREFIX) or not _is_name(branch):
        raise GuardRailViolation(f"The branch {branch!r} is not ours to push; ours are named {BRANCH_PREFIX}<ticket>.")
    check_sha(sha)
    ref, address = f"refs/heads/{branch}", full_address(to) if to else clone.address
    lease = f"--force-with-lease={ref}:{check_sha(expected) if expected else ''}"
    await clone.require(sha)
    answer = await clone.git.run(
        *("push", "--porcelain", "--no-verify", lease, address if to else "origin", f"{sha}:{ref}"),
        timeout=TRANSFER_SECONDS,
        accept=(0, 1),
        remote=address,
    )
    if answer.exit_code == 0:
        return
    if "stale info" in answer.text or "fetch first" in answer.text:
        raise BranchConflict(
            f"The branch {branch} of {shown(address)} is not where this run left it; somebody pushed to it. "
            "Look at their commits, then delete or rename the branch."
        )
    if "currently checked out" in answer.text:
        raise BranchConflict(
            f"The branch {branch} is checked out in {shown(address)}; switch to another branch there, then try again."
        )
    refused = next((line for line in answer.text.splitlines() if line.startswith("!")), answer.stderr)
    if "failed to update ref" in refused or "cannot lock ref" in refused:
        # Often our own push, whose connection was cut, and which git has sent again by itself.
        raise ServiceUnavailable(f"Somebody else is writing to {shown(address)}; {branch} is looked at again.")
    if "rejected" in refused:
        raise PermissionDenied(f"{shown(address)} refused the branch {branch} ({' '.join(refused.split())[:300]}).")
    raise WorkspaceBroken(f"Pushing {branch} to {shown(address)} failed: {' '.join(refused.split())[:300]}")


async def refs_of(git: Git, address: str, *patterns: str) -> dict[str, str]:
    """Full refs of the repository at `address` with their shas, as they stand now."""
    answer = await git.run("ls-remote", "--quiet", "--refs", address, *patterns, timeout=ASK_SECONDS, remote=address)
    pairs = (line.split("\t", 1) for line in answer.text.splitlines())
    return {ref: sha for sha, ref in pairs}


def _is_name(ref: str) -> bool:
    return _NAME.match(ref) is not None and not any(part.endswith((".lock", ".")) for part in ref.split("/"))
