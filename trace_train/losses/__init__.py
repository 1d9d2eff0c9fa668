"""Every loss term, and their weighted sum."""
