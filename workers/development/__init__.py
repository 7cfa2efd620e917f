"""The development stack: every part of the service on one machine, kept running."""
