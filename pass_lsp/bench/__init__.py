"""Measurements that a user can repeat: every figure in the README comes from a command here."""
