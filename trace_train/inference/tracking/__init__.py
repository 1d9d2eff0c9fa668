"""Identities of detected people: the default tracker and the published one."""
