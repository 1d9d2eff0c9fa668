"""The restricted pickle reader: values come out, nothing in the file runs."""
