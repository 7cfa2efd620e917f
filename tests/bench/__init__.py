"""What the service costs, measured: each figure beside a ceiling taken seconds before it."""
