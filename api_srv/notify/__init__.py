"""Notifications: what a mail says (messages), when it goes (outbox), how it goes (smtp)."""
