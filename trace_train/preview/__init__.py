"""Previews: a page that plays clips with joints and bodies, and pictures of predictions."""
