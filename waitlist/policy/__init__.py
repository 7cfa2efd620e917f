"""Pure decisions, a file for each question. Knows no Flask, Redis or SQL."""
