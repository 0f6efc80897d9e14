"""Measurements beside real peers: ``python -m bench [NAME]``."""
