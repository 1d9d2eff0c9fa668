"""The types that flow through the project: one small frozen dataclass per arrow of the data's way."""
