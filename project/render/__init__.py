"""Data to text: tables, pages, progress, JSON. Nothing here decides anything, and nothing heavy is imported at the top."""
