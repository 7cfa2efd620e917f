"""Onboarding: invitations, and the last step that they lead to."""
