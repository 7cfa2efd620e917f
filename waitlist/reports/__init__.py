"""Delivery reports: what providers and mail servers say later of a mail that was taken."""
