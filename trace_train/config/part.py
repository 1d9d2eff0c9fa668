"""Base class of all configuration parts: unknown keys are errors, instances are frozen, bools are not numbers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class ConfigPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, values: Any) -> Any:
        # pydantic accepts True as 1; here that is a mistake
        switches = {key for key, field in cls.model_fields.items() if field.annotation is bool}
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and key not in switches:
                raise ValueError(f"{key} is {value}, expected a number or a name")
        return values
