"""When Pythons, Nodes and distributions of Linux get no more fixes, and what an image's name says of them.

Dates from devguide.python.org/versions, github.com/nodejs/release, wiki.debian.org/LTS, and of standard support from
ubuntu.com/about/release-cycle. What is not listed is not judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from sdlc.review_graphs.checks.techstack.documents import read_yaml, table

END_OF_LIFE = {
    "python": {
        "2.7": date(2020, 1, 1),
        "3.5": date(2020, 9, 30),
        "3.6": date(2021, 12, 23),
        "3.7": date(2023, 6, 27),
        "3.8": date(2024, 10, 7),
        "3.9": date(2025, 10, 31),
        "3.10": date(2026, 10, 31),
        "3.11": date(2027, 10, 31),
        "3.12": date(2028, 10, 31),
        "3.13": date(2029, 10, 31),
        "3.14": date(2030, 10, 31),
    },
    "node": {
        "10": date(2021, 4, 30),
        "12": date(2022, 4, 30),
        "13": date(2020, 6, 1),
        "14": date(2023, 4, 30),
        "15": date(2021, 6, 1),
        "16": date(2023, 9, 11),
        "17": date(2022, 6, 1),
        "18": date(2025, 4, 30),
        "19": date(2023, 6, 1),
        "20": date(2026, 4, 30),
        "21": date(2024, 6, 1),
        "22": date(2027, 4, 30),
        "23": date(2025, 6, 1),
        "24": date(2028, 4, 30),
    },
    "debian": {
        "8": date(2020, 6, 30),
        "9": date(2022, 6, 30),
        "10": date(2024, 6, 30),
        "11": date(2026, 8, 31),
        "12": date(2028, 6, 30),
    },
    "ubuntu": {
        "14.04": date(2019, 4, 30),
        "16.04": date(2021, 4, 30),
        "18.04": date(2023, 5, 31),
        "20.04": date(2025, 5, 31),
        "22.04": date(2027, 6, 1),
    },
}
_CODE_NAMES = {
    "jessie": ("debian", "8"),
    "stretch": ("debian", "9"),
    "buster": ("debian", "10"),
    "bullseye": ("debian", "11"),
    "bookworm": ("debian", "12"),
    "xenial": ("ubuntu", "16.04"),
    "bionic": ("ubuntu", "18.04"),
    "focal": ("ubuntu", "20.04"),
    "jammy": ("ubuntu", "22.04"),
}
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*(?:#.*)?$", re.IGNORECASE)
_IMAGE = re.compile(r"\s*image:\s*[\"']?([^\s\"'#]+)")


@dataclass(frozen=True)
class Image:
    """An image, as a Dockerfile or a Compose file names it."""

    text: str
    line: int

    @property
    def name(self) -> str:
        """Without registry, tag and digest: `python` for `docker.io/library/python:3.12-slim`."""
        bare = self.text.partition("@")[0]
        folder, slash, last = bare.rpartition("/")
        name = last.partition(":")[0]
        official = folder in ("", "library", "docker.io", "docker.io/library", "public.ecr.aws/docker/library")
        return name if official else f"{folder}{slash}{name}"

    @property
    def tag(self) -> str:
        return self.text.partition("@")[0].rpartition("/")[2].partition(":")[2]

    @property
    def is_digest(self) -> bool:
        return "@" in self.text

    @property
    def runtimes(self) -> list[tuple[str, str]]:
        """What it brings, with versions such as ("python", "3.12"), as far as name and tag tell."""
        found = []
        if self.name in ("python", "node", "debian", "ubuntu"):
            version = re.match(r"v?(\d+)(?:\.(\d+))?", self.tag)
            if version:
                two = self.name in ("python", "ubuntu")
                if two and version[2]:
                    found.append((self.name, f"{version[1]}.{version[2]}"))
                elif not two:
                    found.append((self.name, version[1]))
        if self.name in ("python", "node", "debian", "ubuntu", "buildpack-deps"):
            found += [known for word, known in _CODE_NAMES.items() if word in re.split(r"[-.]", self.tag)]
        return found


def images(text: str) -> list[Image]:
    """The base images of a Dockerfile, without its own stages and without those that an argument names."""
    stages: set[str] = set()
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _FROM.match(line)
        if match:
            if match[1].lower() not in stages and match[1] != "scratch" and "$" not in match[1]:
                found.append(Image(match[1], number))
            if match[2]:
                stages.add(match[2].lower())
    return found


def compose_images(text: str) -> list[Image]:
    """The images of a Compose file, without those that it builds or that a variable names."""
    known = {
        service["image"]
        for service in table(read_yaml(text), "services").values()
        if isinstance(service, dict) and isinstance(service.get("image"), str) and "build" not in service
    }
    lines = enumerate(text.split("\n"), 1)
    found = [(number, match[1]) for number, line in lines if (match := _IMAGE.match(line))]
    return [Image(name, number) for number, name in found if name in known and "$" not in name]


def is_compose(path: str) -> bool:
    return bool(re.fullmatch(r"(docker-)?compose([.-].+)?\.ya?ml", path.rpartition("/")[2]))


def is_dockerfile(path: str) -> bool:
    name = path.rpartition("/")[2]
    return bool(re.fullmatch(r"(Docker|Container)file([.-].+)?|.+\.[Dd]ockerfile", name)) and not name.endswith(
        (".md", ".dockerignore", ".py", ".tpl", ".j2", ".jinja")
    )


def ended(runtime: str, version: str, today: date) -> date | None:
    """The day on which its fixes ended; None if they have not, or if it is not known."""
    end = END_OF_LIFE.get(runtime, {}).get(version)
    return end if end and end < today else None
