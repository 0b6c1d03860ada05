"""What every part of the configuration is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration; an unknown key is a typing error and is refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
