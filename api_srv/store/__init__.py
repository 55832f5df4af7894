"""Where jobs, events, clusters, accounts and mails are kept: one interface, two implementations."""
