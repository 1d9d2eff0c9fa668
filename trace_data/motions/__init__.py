"""Recorded motions without pictures: read from AMASS, and what is fitted to them."""
