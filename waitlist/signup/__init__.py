"""Signup: from the join page, or an import, to a place in the line, and out of it again."""
