"""Types shared by the whole project: small frozen dataclasses for records, clips, cameras and bodies."""
